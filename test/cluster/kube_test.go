package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// kube is a namespace of its own on the cluster that KUBECONFIG names, for one
// of the two ways to deploy the blog.
type kube struct {
	namespace string
	proxy     string   // base URL of the cluster's API, as `kubectl proxy` serves it
	manifests []string // kubectl's option that names them
	sets      []string // of the services, those that are StatefulSets
}

// newKube makes the namespace, which enforces the restricted Pod Security
// Standard and is removed when the test ends.
func newKube(t *testing.T, manifests []string, sets ...string) *kube {
	t.Helper()
	k := &kube{namespace: fmt.Sprintf("miniblog-test-%d", time.Now().Unix()), manifests: manifests, sets: sets}
	k.run(t, "create", "namespace", k.namespace)
	t.Cleanup(func() { k.run(t, "delete", "namespace", k.namespace, "--timeout=180s") })
	k.run(t, "label", "namespace", k.namespace,
		"pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/enforce-version=latest")
	k.proxy = startProxy(t)
	return k
}

var servesOn = regexp.MustCompile(`127\.0\.0\.1:\d+`)

func startProxy(t *testing.T) string {
	t.Helper()
	proxy := exec.Command("kubectl", "proxy", "--port=0")
	out, err := proxy.StdoutPipe()
	if err == nil {
		err = proxy.Start()
	}
	if err != nil {
		t.Fatalf("kubectl proxy: %v", err)
	}
	t.Cleanup(func() {
		proxy.Process.Kill()
		proxy.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if addr := servesOn.FindString(line); addr != "" {
		return "http://" + addr
	}
	t.Fatalf("kubectl proxy said %q (%v)", line, err)
	return ""
}

// run runs kubectl in the namespace and returns what it prints.
func (k *kube) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := k.try(args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (k *kube) try(args ...string) (string, error) {
	var stdout, stderr strings.Builder
	cmd := exec.Command("kubectl", append([]string{"--namespace", k.namespace}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%w: %s", err, stderr.String())
	}
	return stdout.String(), nil
}

// get decodes what `kubectl get` returns as JSON.
func (k *kube) get(t *testing.T, into any, args ...string) {
	t.Helper()
	out := k.run(t, append([]string{"get", "--output=json"}, args...)...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("kubectl get %s: %v", strings.Join(args, " "), err)
	}
}

// workload is what keeps the pods of a service running.
func (k *kube) workload(service string) string {
	if slices.Contains(k.sets, service) {
		return "statefulset/" + service
	}
	return "deployment/" + service + "-depl"
}

// ready waits until the service runs what it should and nothing else.
func (k *kube) ready(t *testing.T, service string) {
	t.Helper()
	if _, err := k.try("rollout", "status", k.workload(service), "--timeout=300s"); err != nil {
		pods, _ := k.try("get", "pods", "--output=wide")
		events, _ := k.try("get", "events", "--sort-by=.lastTimestamp")
		t.Fatalf("%v\n%s\n%s\nIf an image could not be pulled: build the images (infra/images.sh) where this cluster finds them; docs/kubernetes.md says how.", err, pods, events)
	}
	eventually(t, service+": pods that stop are gone", func() error {
		if pods := k.pods(t, service); len(pods) != k.replicas(t, service) {
			return fmt.Errorf("there are %d", len(pods))
		}
		return nil
	})
}

func (k *kube) replicas(t *testing.T, service string) int {
	t.Helper()
	var workload struct {
		Spec struct{ Replicas int }
	}
	k.get(t, &workload, k.workload(service))
	return workload.Spec.Replicas
}

type pod struct {
	Metadata struct {
		Name string
		UID  string
	}
	Spec struct {
		NodeName   string
		Containers []struct {
			Resources struct{ Requests, Limits map[string]string }
		}
	}
	Status struct {
		Conditions        []struct{ Type, Status string }
		ContainerStatuses []struct {
			RestartCount int
			LastState    map[string]struct {
				Reason   string
				ExitCode int
			}
		}
	}
}

func (p pod) ready() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

func (k *kube) pods(t *testing.T, service string) []pod {
	t.Helper()
	var list struct{ Items []pod }
	k.get(t, &list, "pods", "--selector=app="+service)
	return list.Items
}

// podURL leads to one pod, through the cluster's API.
func (k *kube) podURL(p pod, service string) string {
	return fmt.Sprintf("%s/api/v1/namespaces/%s/pods/%s:%d/proxy", k.proxy, k.namespace, p.Metadata.Name, ports[service])
}

// serviceURL leads to a Service: by its own address where that answers from
// here (on a node), else through the cluster's API.
func (k *kube) serviceURL(t *testing.T, service string) string {
	t.Helper()
	name := service + "-srv"
	if service == "posts" {
		name = "posts-clusterip-srv"
	}
	var object struct {
		Spec struct{ ClusterIP string }
	}
	k.get(t, &object, "service", name)
	direct := net.JoinHostPort(object.Spec.ClusterIP, fmt.Sprint(ports[service]))
	if conn, err := net.DialTimeout("tcp", direct, time.Second); err == nil {
		conn.Close()
		return "http://" + direct
	}
	return fmt.Sprintf("%s/api/v1/namespaces/%s/services/%s:%d/proxy", k.proxy, k.namespace, name, ports[service])
}

// call sends a request and decodes the answer, if into is not nil.
func call(ctx context.Context, method, url, body string, header map[string]string, into any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for key, value := range header {
		req.Header.Set(key, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if into == nil || resp.StatusCode >= 400 {
		return resp.StatusCode, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return resp.StatusCode, fmt.Errorf("%s %s: %w", method, url, err)
	}
	return resp.StatusCode, nil
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}

// eventually waits until check returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after two minutes: %v", what, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
