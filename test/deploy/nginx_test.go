package deploy

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"

	"miniblog/test/harness"
)

// nginxAnnotation begins the names of ingress-nginx's annotations.
const nginxAnnotation = "nginx.ingress.kubernetes.io/"

// nginxServer is the part of ingress-nginx's own configuration that decides
// where a request goes and how it is passed on. Where nginx and ingress-nginx
// have different defaults it takes those that an annotation has to overcome.
const nginxServer = `
daemon off;
master_process off;
worker_processes 1;
pid %[1]s/pid;
error_log %[1]s/error.log warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	scgi_temp_path %[1]s/scgi;
	uwsgi_temp_path %[1]s/uwsgi;
	proxy_http_version 1.1;
	proxy_set_header Host $http_host;
	proxy_set_header Connection "";
	proxy_set_header X-Real-IP $remote_addr;
	proxy_set_header X-Forwarded-For $remote_addr;
	proxy_set_header X-Forwarded-Host $http_host;
	proxy_set_header X-Forwarded-Proto $scheme;
	proxy_connect_timeout 5s;
	proxy_redirect off;
	add_header Test-Upstream $upstream_addr always;
	server { listen %[2]s default_server; return 404; }
	server {
		listen %[2]s;
		server_name %[3]s;
%[4]s	}
}
`

// nginxLocations turns Ingresses into locations as ingress-nginx 1.15 does:
// an Exact path becomes one `location =`; a Prefix becomes one for what is
// below it and, unless there is an Exact for it, one `location =` for itself.
func nginxLocations(t *testing.T, ingresses map[string]*networkingv1.Ingress, backend func(service string, port int32) string) string {
	t.Helper()
	var locations strings.Builder
	exact := map[string]bool{}
	each := func(visit func(p networkingv1.HTTPIngressPath, annotations map[string]string)) {
		for _, name := range slices.Sorted(maps.Keys(ingresses)) {
			for _, p := range ingresses[name].Spec.Rules[0].HTTP.Paths {
				visit(p, ingresses[name].Annotations)
			}
		}
	}
	each(func(p networkingv1.HTTPIngressPath, _ map[string]string) {
		if *p.PathType == networkingv1.PathTypeExact {
			exact[p.Path] = true
		}
	})
	each(func(p networkingv1.HTTPIngressPath, annotations map[string]string) {
		var matches []string
		switch below := strings.TrimSuffix(p.Path, "/") + "/"; {
		case *p.PathType == networkingv1.PathTypeExact:
			matches = []string{"= " + p.Path}
		case *p.PathType != networkingv1.PathTypePrefix:
			t.Fatalf("%s has the path type %s, which every controller reads differently", p.Path, *p.PathType)
		case p.Path == "/" || exact[p.Path]:
			matches = []string{below}
		default:
			matches = []string{below, "= " + p.Path}
		}
		service := p.Backend.Service
		for _, match := range matches {
			fmt.Fprintf(&locations, "\t\tlocation %s {\n\t\t\tproxy_pass http://%s;\n", match, backend(service.Name, service.Port.Number))
			for name, value := range map[string]string{
				"client_max_body_size":    cmp.Or(annotations[nginxAnnotation+"proxy-body-size"], "1m"),
				"proxy_request_buffering": cmp.Or(annotations[nginxAnnotation+"proxy-request-buffering"], "on"),
				"proxy_buffering":         cmp.Or(annotations[nginxAnnotation+"proxy-buffering"], "on"),
				"proxy_read_timeout":      cmp.Or(annotations[nginxAnnotation+"proxy-read-timeout"], "60") + "s",
				"proxy_send_timeout":      cmp.Or(annotations[nginxAnnotation+"proxy-send-timeout"], "60") + "s",
			} {
				fmt.Fprintf(&locations, "\t\t\t%s %s;\n", name, value)
			}
			locations.WriteString("\t\t}\n")
		}
	})
	return locations.String()
}

// ingress is the real processes behind a real nginx with the Ingress's routes.
type ingress struct {
	addr     string            // of nginx
	services map[string]string // by service: its process's address
}

func startIngress(t *testing.T) *ingress {
	t.Helper()
	nginx := needs(t, "nginx", "nginx-light")
	blog := harness.NewBlog(t, harness.Config{})
	for _, name := range []string{"POSTS_URL", "COMMENTS_URL", "QUERY_URL"} {
		blog.Client.Setenv(name, "") // the page calls the host that it came from
	}
	for _, p := range blog.Processes() {
		p.Setenv("ALLOWED_HOSTS", "posts.com") // here they have loopback addresses, in the cluster not
		p.Start()
	}
	blog.AwaitReady()
	i := &ingress{addr: harness.FreeAddress(t), services: map[string]string{}}
	for service, url := range map[string]string{
		"client": blog.Client.URL, "posts": blog.Posts.URL, "comments": blog.Comments.URL,
		"query": blog.Query.URL, "moderation": blog.Moderation.URL, "event-bus": blog.Bus.URL,
	} {
		i.services[service] = strings.TrimPrefix(url, "http://")
	}

	m, dir := load(t, "k8s"), t.TempDir()
	locations := nginxLocations(t, m.ingresses, func(service string, port int32) string {
		return i.services[m.services[service].Spec.Selector["app"]]
	})
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxServer, dir, i.addr, "posts.com", locations), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginx, "-p", dir, "-c", config, "-e", filepath.Join(dir, "error.log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("nginx: %s", read(t, filepath.Join(dir, "error.log")))
		}
	})
	harness.Eventually(t, limit, func() error {
		resp, err := http.Get("http://" + i.addr)
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	return i
}

func TestLiveStreamIsNeitherBufferedNorCutOff(t *testing.T) {
	live := load(t, "k8s").ingresses["ingress-live-srv"]
	if live == nil || len(live.Spec.Rules) != 1 || len(live.Spec.Rules[0].HTTP.Paths) != 1 || live.Spec.Rules[0].HTTP.Paths[0].Path != "/posts/live" {
		t.Fatalf("the live stream needs an Ingress of its own: %+v", live)
	}
	timeout, err := time.ParseDuration(live.Annotations[nginxAnnotation+"proxy-read-timeout"] + "s")
	if err != nil || timeout < time.Hour || live.Annotations[nginxAnnotation+"proxy-buffering"] != "off" {
		t.Errorf("the live stream would be cut off or buffered: %v", live.Annotations)
	}
}

func TestIngressUsesNoRegularExpression(t *testing.T) {
	for name, ingress := range load(t, "k8s").ingresses {
		if *ingress.Spec.IngressClassName != "nginx" || len(ingress.Spec.Rules) != 1 || ingress.Spec.Rules[0].Host != "posts.com" {
			t.Errorf("Ingress %s must be of class nginx and for posts.com", name)
		}
		for annotation := range ingress.Annotations {
			if strings.Contains(annotation, "regex") || strings.Contains(annotation, "rewrite") || strings.Contains(annotation, "snippet") {
				t.Errorf("Ingress %s has the annotation %s", name, annotation)
			}
		}
		for _, p := range ingress.Spec.Rules[0].HTTP.Paths {
			if strings.ContainsAny(p.Path, `^$*?()[]{}|\+`) {
				t.Errorf("Ingress %s: ingress-nginx takes %s for a regular expression and refuses it", name, p.Path)
			}
		}
	}
}
