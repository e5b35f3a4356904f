package deploy

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

var (
	watchers = []string{"grafana", "jaeger", "prometheus"}
	pinned   = regexp.MustCompile(`^[a-z]+/[a-z]+:v?\d+\.\d+\.\d+$`)
)

// TestComposeWatchesTheBlogFromOneFile loads compose.yaml as
// `docker compose --env-file infra/compose/observability.env` does, alone and
// with the cluster.
func TestComposeWatchesTheBlogFromOneFile(t *testing.T) {
	file := filepath.Join(root, "infra/compose/observability.env")
	plain, project := composeProject(t), composeProject(t, file)
	want := slices.Concat(names, watchers)
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(project.ServiceNames())); !slices.Equal(got, want) {
		t.Fatalf("the services are %q, want %q", got, want)
	}
	for name, service := range plain.Services {
		watched := project.Services[name]
		const variable = "OTEL_EXPORTER_OTLP_ENDPOINT"
		if unset, set := service.Environment[variable], watched.Environment[variable]; unset == nil || *unset != "" || set == nil || *set != "http://jaeger:4318" {
			t.Errorf("%s sends its spans to %v without the file, and to %v with it", name, unset, set)
			continue
		}
		watched.Environment = maps.Clone(watched.Environment)
		watched.Environment[variable] = service.Environment[variable]
		if !reflect.DeepEqual(service, watched) {
			t.Errorf("%s differs in more than where its spans go:\n%+v\n%+v", name, service, watched)
		}
	}
	published := map[string]string{}
	for name, service := range project.Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" || published[port.Published] != "" {
				t.Errorf("%s is at %s:%s, where %q is", name, port.HostIP, port.Published, published[port.Published])
			}
			published[port.Published] = name
		}
	}
	for _, name := range watchers {
		service := project.Services[name]
		if !pinned.MatchString(service.Image) || !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) || !slices.Contains(service.SecurityOpt, "no-new-privileges:true") || service.MemLimit == 0 {
			t.Errorf("%s is %s, or may do more than it needs", name, service.Image)
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind && (!volume.ReadOnly || !sameFolder(t, filepath.Dir(strings.TrimSuffix(volume.Source, "/grafana")), filepath.Join(root, "infra"))) {
				t.Errorf("%s gets %+v", name, volume)
			}
		}
	}
	if !slices.ContainsFunc(project.Services["jaeger"].Ports, func(p types.ServicePortConfig) bool { return p.Target == 4318 }) {
		t.Error("no port leads to Jaeger's receiver, for a blog that runs beside it")
	}
	profiles := filepath.Join(t.TempDir(), "profiles.env") // stands for the shell's variable, which wins over files, too
	if err := os.WriteFile(profiles, []byte("COMPOSE_PROFILES=cluster,observability\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	both := composeProject(t, filepath.Join(root, "infra/compose/cluster.env"), file, profiles)
	for _, name := range slices.Concat(watchers, names, []string{"event-bus-2", "event-bus-3", "nats-1"}) {
		if _, there := both.Services[name]; !there {
			t.Errorf("the cluster that is watched has no %s", name)
		}
	}
	if endpoint := both.Services["event-bus-3"].Environment["OTEL_EXPORTER_OTLP_ENDPOINT"]; endpoint == nil || *endpoint != "http://jaeger:4318" {
		t.Error("a copy of the bus sends no spans")
	}
}

// TestPrometheusAsksEveryService: each has a job of its own name, which the
// alerts rely on, at the port where compose has it; and Grafana asks those that
// are there.
func TestPrometheusAsksEveryService(t *testing.T) {
	project := composeProject(t, filepath.Join(root, "infra/compose/observability.env"))
	var config struct {
		Jobs []struct {
			Name   string `json:"job_name"`
			Static []struct {
				Targets []string `json:"targets"`
			} `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal(read(t, filepath.Join(root, "infra/observability/prometheus.yml")), &config); err != nil {
		t.Fatal(err)
	}
	var jobs []string
	for _, job := range config.Jobs {
		jobs = append(jobs, job.Name)
		want := job.Name + ":" + strconv.Itoa(readProgram(t, job.Name).port)
		if len(job.Static) != 1 || !slices.Equal(job.Static[0].Targets, []string{want}) {
			t.Errorf("the job %s asks %+v, not %s", job.Name, job.Static, want)
		}
	}
	if slices.Sort(jobs); !slices.Equal(jobs, names) {
		t.Errorf("the jobs are %q, want %q", jobs, names)
	}
	var grafana struct {
		Datasources []struct{ Type, URL string }
	}
	if err := yaml.Unmarshal(read(t, filepath.Join(root, "infra/observability/grafana/datasources/datasources.yaml")), &grafana); err != nil {
		t.Fatal(err)
	}
	if len(grafana.Datasources) != 2 {
		t.Errorf("Grafana has %d sources", len(grafana.Datasources))
	}
	for _, source := range grafana.Datasources {
		u, err := url.Parse(source.URL)
		if err != nil || u.Hostname() != source.Type || !slices.ContainsFunc(project.Services[u.Hostname()].Ports, func(p types.ServicePortConfig) bool {
			return strconv.Itoa(int(p.Target)) == u.Port()
		}) {
			t.Errorf("%s is asked at %s (%v)", source.Type, source.URL, err)
		}
	}
}

// TestPrometheusReachesMetricsAlone: with the policy that is for it, and from its
// own namespace.
func TestPrometheusReachesMetricsAlone(t *testing.T) {
	closed, m := load(t, "k8s"), load(t, "k8s", "observability")
	labels := map[string]string{"app.kubernetes.io/name": "prometheus"}
	itself := caller{namespace: "monitoring", labels: labels}
	for _, to := range names {
		_, container := m.deployment(t, to)
		metrics := int32(adminPort(t, to, container))
		if closed.mayCallPort(t, itself, to, metrics) || !m.mayCallPort(t, itself, to, metrics) || m.mayCall(t, itself, to) {
			t.Errorf("Prometheus must reach the metrics of %s by the policy, and nothing else of it", to)
		}
		for who, from := range map[string]caller{
			"a neighbour of Prometheus": {namespace: "monitoring", labels: map[string]string{"app.kubernetes.io/name": "grafana"}},
			"one of its name elsewhere": {namespace: "anywhere", labels: labels},
			"one of its name beside us": {labels: labels},
		} {
			if m.mayCallPort(t, from, to, metrics) {
				t.Errorf("%s reaches the metrics of %s", who, to)
			}
		}
	}
}
