package deploy

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"

	"miniblog/event-bus/push"
)

func composeProject(t *testing.T, envFiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "compose.yaml")},
		cli.WithEnvFiles(envFiles...), cli.WithDotEnv, cli.WithDefaultProfiles())
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestComposeRunsTheImagesOfTheManifests(t *testing.T) {
	project := composeProject(t)
	m := load(t, "k8s")
	if got := slices.Sorted(slices.Values(project.ServiceNames())); !slices.Equal(got, names) {
		t.Fatalf("compose.yaml has the services %q, want %q", got, names)
	}
	for name, service := range project.Services {
		_, container := m.deployment(t, name)
		program := readProgram(t, name)
		if service.Image != container.Image {
			t.Errorf("%s runs %s, in the cluster %s", name, service.Image, container.Image)
		}
		if service.Build == nil || service.Build.Dockerfile != name+"/Dockerfile" || !sameFolder(t, service.Build.Context, root) {
			t.Errorf("%s must be built from the repository's root with %s/Dockerfile: %+v", name, name, service.Build)
		}
		if check := service.HealthCheck; check == nil || !slices.Equal(check.Test, []string{"CMD", program.entrypoint, "ready"}) {
			t.Errorf("%s: its health check must be its own program's: %+v", name, check)
		}
		port := strconv.Itoa(program.port) // the page and people expect the services at their own ports
		if len(service.Ports) != 1 || service.Ports[0].Published != port || strconv.Itoa(int(service.Ports[0].Target)) != port || service.Ports[0].HostIP != "127.0.0.1" {
			t.Errorf("%s must be at 127.0.0.1:%s and nowhere else: %+v", name, port, service.Ports)
		}
		if int64(service.MemLimit) != container.Resources.Limits.Memory().Value() {
			t.Errorf("%s may use %d bytes, in the cluster %d", name, service.MemLimit, container.Resources.Limits.Memory().Value())
		}
		if limit := service.Environment["GOMEMLIMIT"]; limit == nil || *limit != valueOf(container, "GOMEMLIMIT") {
			t.Errorf("%s: GOMEMLIMIT differs from the cluster's %s", name, valueOf(container, "GOMEMLIMIT"))
		}
		if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) || !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may do more than it needs", name)
		}
	}
}

func TestComposeVariablesLeadSomewhere(t *testing.T) {
	project := composeProject(t)
	for name, service := range project.Services {
		program := readProgram(t, name)
		mounts := map[string]types.ServiceVolumeConfig{}
		for _, volume := range service.Volumes {
			mounts[volume.Target] = volume
			if _, declared := project.Volumes[volume.Source]; volume.Type == types.VolumeTypeVolume && !declared {
				t.Errorf("%s wants the volume %q, which is not declared", name, volume.Source)
			}
		}
		if data := mounts["/data"]; program.variables["DATA_DIR"] != (data.Type == types.VolumeTypeVolume) || data.Target != program.image["DATA_DIR"] {
			t.Errorf("%s keeps its data in %q, its volume is at %q", name, program.image["DATA_DIR"], data.Target)
		}
		for key, value := range service.Environment {
			if !program.variables[key] && key != "GOMEMLIMIT" {
				t.Errorf("%s is given %s, which it does not read", name, key)
			}
			if strings.HasSuffix(key, "_URL") && *value != "" {
				checkComposeURL(t, project, name+": "+key, *value)
			}
			if strings.HasSuffix(key, "_FILE") {
				mount := mounts[filepath.Dir(*value)]
				if _, err := os.Stat(filepath.Join(mount.Source, filepath.Base(*value))); err != nil || !mount.ReadOnly {
					t.Errorf("%s: %s=%s: %v; it must be mounted read-only", name, key, *value, err)
				}
			}
		}
		for variable := range program.variables {
			if _, set := service.Environment[variable]; variable == "EVENT_BUS_URL" && !set || variable == "SUBSCRIBERS_FILE" && !set {
				t.Errorf("%s reads %s, whose default is for a laptop: set it", name, variable)
			}
		}
	}
}

// TestComposeRunsTheClusterFromOneFile loads compose.yaml as
// `docker compose --env-file infra/compose/cluster.env` does.
func TestComposeRunsTheClusterFromOneFile(t *testing.T) {
	alone, project := composeProject(t), composeProject(t, filepath.Join(root, "infra/compose/cluster.env"))
	servers := []string{"nats-1", "nats-2", "nats-3"}
	buses := []string{"event-bus", "event-bus-2", "event-bus-3"}
	want := slices.Concat(names, buses[1:], servers)
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(project.ServiceNames())); !slices.Equal(got, want) {
		t.Fatalf("the cluster has the services %q, want %q", got, want)
	}
	volumes := map[string]bool{}
	for _, name := range slices.Concat(buses, servers) {
		i := slices.IndexFunc(project.Services[name].Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == "/data" })
		if i < 0 || volumes[project.Services[name].Volumes[i].Source] {
			t.Fatalf("%s has no volume of its own: %+v", name, project.Services[name].Volumes)
		}
		volumes[project.Services[name].Volumes[i].Source] = true
	}
	if volumes["event-bus-data"] {
		t.Error("the log of the one bus would be taken for a copy's")
	}
	one := alone.Services["event-bus"]
	for _, name := range buses {
		bus := project.Services[name]
		if bus.Image != one.Image || bus.MemLimit != one.MemLimit || !bus.ReadOnly || !reflect.DeepEqual(bus.HealthCheck, one.HealthCheck) {
			t.Errorf("%s differs from the one bus: %+v", name, bus)
		}
		if !slices.Contains(bus.Networks["default"].Aliases, "event-bus-copies") || *bus.Environment["NATS_URL"] != "nats://nats-1:4222,nats://nats-2:4222,nats://nats-3:4222" {
			t.Errorf("%s is not one of the copies: %+v %+v", name, bus.Networks, bus.Environment)
		}
	}
	for name, service := range project.Services {
		if url := service.Environment["EVENT_BUS_URL"]; url != nil && *url != "http://event-bus-copies:4005" {
			t.Errorf("%s calls %s, not any of the copies", name, *url)
		}
		_, reaches := service.Networks["nats"]
		if isServer, isBus := slices.Contains(servers, name), slices.Contains(buses, name); reaches != (isServer || isBus) || isServer && len(service.Networks) != 1 {
			t.Errorf("%s is in the networks %v", name, service.Networks)
		}
	}
	for _, name := range servers {
		service := project.Services[name]
		t.Setenv("SERVER_NAME", *service.Environment["SERVER_NAME"])
		options, err := server.ProcessConfigFile(filepath.Join(root, "infra/compose/nats/nats.conf"))
		if err != nil {
			t.Fatal(err)
		}
		if options.ServerName != name || !options.SyncAlways || options.StoreDir != "/data" || options.JetStreamMaxStore <= 0 || len(options.Routes) != len(servers) {
			t.Errorf("%s: %+v", name, options)
		}
		if len(service.Ports) > 0 || !service.ReadOnly || service.StopSignal != "SIGUSR2" || service.Image != "nats:"+server.VERSION+"-alpine" {
			t.Errorf("%s is %s, may do more than it needs or ends without a warning: %+v", name, service.Image, service)
		}
	}
}

func checkComposeURL(t *testing.T, project *types.Project, what, text string) (service string) {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return ""
	}
	if _, exists := project.Services[u.Hostname()]; !exists || u.Port() != strconv.Itoa(readProgram(t, u.Hostname()).port) {
		t.Errorf("%s: %s leads to no service", what, text)
		return ""
	}
	return u.Hostname()
}

func sameFolder(t *testing.T, a, b string) bool {
	t.Helper()
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// TestTheBusPushesToTheSameSubscribersEverywhere compares the subscribers of
// the cluster and of compose with those that the bus has on a laptop.
func TestTheBusPushesToTheSameSubscribersEverywhere(t *testing.T) {
	m, project := load(t, "k8s"), composeProject(t)
	lists := map[string]struct {
		text  string
		check func(t *testing.T, what, url string) (service string)
	}{
		"cluster": {m.configMaps["event-bus-subscribers"].Data["subscribers.json"], m.checkURL},
		"compose": {string(read(t, filepath.Join(root, "infra/compose/subscribers.json"))), func(t *testing.T, what, url string) string {
			return checkComposeURL(t, project, what, url)
		}},
	}
	for where, list := range lists {
		t.Run(where, func(t *testing.T) {
			subscribers, err := push.Parse([]byte(list.text))
			if err != nil {
				t.Fatal(err)
			}
			if len(subscribers) != len(push.Defaults()) {
				t.Fatalf("%d subscribers, want %d", len(subscribers), len(push.Defaults()))
			}
			for i, want := range push.Defaults() {
				got := subscribers[i]
				if got.Name != want.Name || !slices.Equal(got.Types, want.Types) || !slices.Equal(got.Replies, want.Replies) || !strings.HasSuffix(got.URL, "/events") {
					t.Errorf("subscriber %+v, want one like %+v", got, want)
				}
				if service := list.check(t, "subscriber "+got.Name, got.URL); service != got.Name {
					t.Errorf("subscriber %s is pushed to %q", got.Name, service)
				}
			}
		})
	}
}
