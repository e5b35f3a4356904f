package deploy

import (
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// overlay builds infra/cluster as `kubectl apply -k` does.
func overlay(t *testing.T) *manifests {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "infra/cluster"))
	if err != nil {
		t.Fatal(err)
	}
	m := newManifests()
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		m.add(t, "infra/cluster", text)
	}
	return m
}

// set returns a StatefulSet and its only container.
func (m *manifests) set(t *testing.T, name string) (*appsv1.StatefulSet, *corev1.Container) {
	t.Helper()
	s := m.sets[name]
	if s == nil || len(s.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("infra/cluster has no StatefulSet %s with one container", name)
	}
	return s, &s.Spec.Template.Spec.Containers[0]
}

func TestClusterIsTheBlogWithAnotherBus(t *testing.T) {
	base, m := load(t, "k8s"), overlay(t)
	delete(base.deployments, "event-bus-depl")
	delete(base.claims, "event-bus-data")
	services, budgets, policies, configMaps := maps.Clone(m.services), maps.Clone(m.budgets), maps.Clone(m.policies), maps.Clone(m.configMaps)
	front := services["event-bus-srv"]
	// The bus of infra/k8s may still run when this is applied: nobody may be led to it.
	if want := map[string]string{"app": "event-bus", "app.kubernetes.io/instance": "cluster"}; front == nil || !maps.Equal(front.Spec.Selector, want) {
		t.Fatalf("the Service event-bus-srv is %+v, and must select %v", front, want)
	}
	base.services["event-bus-srv"].Spec.Selector = front.Spec.Selector
	for _, added := range []string{"nats", "event-bus"} {
		if s := services[added]; s == nil || s.Spec.ClusterIP != corev1.ClusterIPNone {
			t.Errorf("the headless Service %s is missing", added)
		}
		if b := budgets[added]; b == nil || b.Spec.MaxUnavailable.IntValue() != 1 || !selects(t, b.Spec.Selector, m.sets[added].Spec.Template.Labels) {
			t.Errorf("the PodDisruptionBudget %s is %+v", added, b)
		}
		delete(services, added)
		delete(budgets, added)
	}
	delete(policies, "bus-to-nats")
	maps.DeleteFunc(configMaps, func(name string, _ *corev1.ConfigMap) bool { return strings.HasPrefix(name, "nats-config-") })
	for what, pair := range map[string][2]any{
		"Deployments":          {base.deployments, m.deployments},
		"Services":             {base.services, services},
		"ConfigMaps":           {base.configMaps, configMaps},
		"claims":               {base.claims, m.claims},
		"Ingresses":            {base.ingresses, m.ingresses},
		"NetworkPolicies":      {base.policies, policies},
		"PodDisruptionBudgets": {base.budgets, budgets},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s differ from those of infra/k8s:\n%+v\n%+v", what, pair[0], pair[1])
		}
	}
}

func TestEachCopyOfTheBusIsTheBusWithAVolumeOfItsOwn(t *testing.T) {
	deployment, one := load(t, "k8s").deployment(t, "event-bus")
	m := overlay(t)
	s, c := m.set(t, "event-bus")
	if *s.Spec.Replicas != 3 || s.Spec.ServiceName != "event-bus" || len(s.Spec.VolumeClaimTemplates) != 1 || s.Spec.VolumeClaimTemplates[0].Name != "data" {
		t.Errorf("the StatefulSet of the bus: %+v", s.Spec)
	}
	for _, serviceName := range []string{"event-bus-srv", "event-bus"} {
		if !mapsContain(s.Spec.Template.Labels, m.services[serviceName].Spec.Selector) {
			t.Errorf("the Service %s does not lead to the copies", serviceName)
		}
	}
	if c.Image != one.Image || !reflect.DeepEqual(c.Resources, one.Resources) || !reflect.DeepEqual(c.LivenessProbe, one.LivenessProbe) ||
		!reflect.DeepEqual(c.ReadinessProbe, one.ReadinessProbe) || !reflect.DeepEqual(c.SecurityContext, one.SecurityContext) {
		t.Errorf("a copy differs from the one bus: %+v", c)
	}
	for _, env := range one.Env {
		if !slices.ContainsFunc(c.Env, func(its corev1.EnvVar) bool { return reflect.DeepEqual(its, env) }) { // one from a Secret is a pointer
			t.Errorf("a copy lacks %s", env.Name)
		}
	}
	for _, url := range strings.Split(valueOf(c, "NATS_URL"), ",") {
		m.checkServer(t, url, "nats://", ":4222")
	}
	folder, file := filepath.Split(valueOf(c, "NATS_CREDENTIALS_FILE"))
	mounted := slices.ContainsFunc(c.VolumeMounts, func(v corev1.VolumeMount) bool {
		return v.Name == "credentials" && v.MountPath == filepath.Clean(folder)
	})
	brought := slices.ContainsFunc(s.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Name == "credentials" && v.Secret != nil && len(v.Secret.Items) == 1 && v.Secret.Items[0].Path == file
	})
	if !mounted || !brought {
		t.Errorf("no volume brings the credentials that the bus reads: %+v", s.Spec.Template.Spec.Volumes)
	}
	if sleep := c.Lifecycle.PreStop.Sleep.Seconds; *s.Spec.Template.Spec.TerminationGracePeriodSeconds < sleep+10 {
		t.Errorf("a copy is killed before it has stopped: it sleeps for %d s", sleep)
	}
	if deployment.Spec.Template.Labels["app"] != s.Spec.Template.Labels["app"] {
		t.Error("the NetworkPolicies do not know a copy for a bus")
	}
}

func TestImportReadsTheVolumeOfTheOneBusAndReachesTheServers(t *testing.T) {
	m, base := overlay(t), load(t, "k8s", "import")
	copies, c := m.set(t, "event-bus")
	pod := base.pods["event-bus-import"]
	container := pod.Spec.Containers[0]
	if container.Image != c.Image || !slices.Equal(container.Args, []string{"import", "/from"}) {
		t.Errorf("it runs %s %q", container.Image, container.Args)
	}
	for _, name := range []string{"DATA_DIR", "NATS_URL", "NATS_CREDENTIALS_FILE"} {
		if valueOf(&container, name) != valueOf(c, name) {
			t.Errorf("%s is %s, for the copies %s", name, valueOf(&container, name), valueOf(c, name))
		}
	}
	for _, volume := range pod.Spec.Volumes {
		switch volume.Name {
		case "from":
			if base.claims[volume.PersistentVolumeClaim.ClaimName] == nil {
				t.Errorf("there is no claim %s", volume.PersistentVolumeClaim.ClaimName)
			}
		case "credentials":
			if !slices.ContainsFunc(copies.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return reflect.DeepEqual(v, volume) }) {
				t.Errorf("the copies have other credentials than %+v", volume)
			}
		}
	}
	if front := m.services["event-bus-srv"]; mapsContain(pod.Labels, front.Spec.Selector) || !mapsContain(pod.Labels, map[string]string{"app": "event-bus"}) {
		t.Errorf("its labels must open the servers to it and no request lead there: %v", pod.Labels)
	}
}

// mapsContain tells whether all holds every entry of part.
func mapsContain(all, part map[string]string) bool {
	for key, value := range part {
		if all[key] != value {
			return false
		}
	}
	return len(part) > 0
}

// checkServer fails unless the URL is that of a server of the StatefulSet.
func (m *manifests) checkServer(t *testing.T, url, scheme, port string) {
	t.Helper()
	if _, after, ok := strings.Cut(url, "@"); ok {
		url = scheme + after
	}
	want := []string{scheme + "nats-0.nats" + port, scheme + "nats-1.nats" + port, scheme + "nats-2.nats" + port}
	if !slices.Contains(want, url) || m.sets["nats"].Spec.ServiceName != "nats" {
		t.Errorf("%s is none of the servers %q", url, want)
	}
}

// TestServersStoreBeforeTheyAcknowledge reads nats.conf as a NATS server does,
// with the environment of its pod and the Secret that credentials.sh makes.
func TestServersStoreBeforeTheyAcknowledge(t *testing.T) {
	m := overlay(t)
	s, c := m.set(t, "nats")
	out, err := exec.Command(filepath.Join(root, "infra/cluster/credentials.sh")).Output()
	if err != nil {
		t.Fatalf("infra/cluster/credentials.sh: %v", err)
	}
	var secret corev1.Secret
	if err := yaml.UnmarshalStrict(out, &secret); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"POD_NAME": "nats-0"}
	for _, env := range c.Env {
		value := env.Value
		if from := env.ValueFrom; from != nil && from.SecretKeyRef != nil {
			if value = secret.StringData[from.SecretKeyRef.Key]; value == "" || from.SecretKeyRef.Name != secret.Name {
				t.Errorf("credentials.sh makes no %s in %s", from.SecretKeyRef.Key, from.SecretKeyRef.Name)
			}
		}
		if value != "" {
			values[env.Name] = value
		}
	}
	for name, value := range values {
		t.Setenv(name, strings.ReplaceAll(value, "$(ROUTE_PASSWORD)", values["ROUTE_PASSWORD"]))
	}
	if secret.StringData["bus.nk"] == "" {
		t.Error("credentials.sh makes no bus.nk")
	}
	options, err := server.ProcessConfigFile(filepath.Join(root, "infra/cluster/nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	volume := s.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().Value()
	if !options.JetStream || !options.SyncAlways || options.StoreDir != "/data" || options.JetStreamMaxStore <= 0 || options.JetStreamMaxStore > volume*9/10 {
		t.Errorf("JetStream: sync always %t, in %s, %d bytes of a volume of %d", options.SyncAlways, options.StoreDir, options.JetStreamMaxStore, volume)
	}
	if options.ServerName != "nats-0" || options.Cluster.Username != "route" || options.Cluster.Password != values["ROUTE_PASSWORD"] || len(options.Routes) != 3 {
		t.Errorf("cluster: %s %+v %v", options.ServerName, options.Cluster, options.Routes)
	}
	for _, route := range options.Routes {
		m.checkServer(t, route.String(), "nats://", ":6222")
		if password, _ := route.User.Password(); password != values["ROUTE_PASSWORD"] {
			t.Errorf("the route to %s has another password than it asks for", route.Host)
		}
	}
	if len(options.Nkeys) != 1 || options.Nkeys[0].Nkey != values["BUS_NKEY"] || len(options.Users) != 0 || options.NoAuthUser != "" {
		t.Errorf("the bus's key alone must open the servers: %+v %+v %q", options.Nkeys, options.Users, options.NoAuthUser)
	}
	ports := map[string]int{"client": options.Port, "route": options.Cluster.Port, "monitor": options.HTTPPort}
	for _, p := range c.Ports {
		if ports[p.Name] != int(p.ContainerPort) {
			t.Errorf("the port %s is %d, nats.conf says %d", p.Name, p.ContainerPort, ports[p.Name])
		}
	}
	if grace := time.Duration(*s.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second; grace < options.LameDuckDuration+10*time.Second {
		t.Errorf("a server is killed after %v, its lame duck mode takes %v", grace, options.LameDuckDuration)
	}
	if !slices.Equal(c.Lifecycle.PreStop.Exec.Command, []string{"nats-server", "--signal", "ldm=1"}) || c.Command[0] != "nats-server" {
		t.Errorf("it stops with %q, and must be process 1: %q", c.Lifecycle.PreStop.Exec.Command, c.Command)
	}
	for probe, path := range map[*corev1.Probe]string{c.StartupProbe: "/healthz", c.ReadinessProbe: "/healthz?js-server-only=true", c.LivenessProbe: "/healthz?js-enabled-only=true"} {
		if probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "monitor" {
			t.Errorf("a probe asks %+v, want %s at the port monitor", probe.HTTPGet, path)
		}
	}
	if c.Image != "nats:"+server.VERSION+"-alpine" {
		t.Errorf("the servers run %s, the tests %s", c.Image, server.VERSION)
	}
}

func TestPodsOfTheClusterMeetTheRestrictedStandard(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := overlay(t)
	for name := range m.sets {
		s, c := m.set(t, name)
		pod := s.Spec.Template
		for _, result := range evaluator.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
		if !*c.SecurityContext.ReadOnlyRootFilesystem || *pod.Spec.AutomountServiceAccountToken {
			t.Errorf("%s may do more than it needs", name)
		}
		if affinity := pod.Spec.Affinity; affinity == nil || len(affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution) != 1 ||
			!selects(t, affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm.LabelSelector, pod.Labels) {
			t.Errorf("the pods of %s may all be put on one node", name)
		}
		if s.Spec.PodManagementPolicy != appsv1.ParallelPodManagement || !selects(t, s.Spec.Selector, pod.Labels) {
			t.Errorf("%s: its pods must start together: %+v", name, s.Spec)
		}
	}
}

func TestOnlyTheBusReachesTheServers(t *testing.T) {
	m := overlay(t)
	nats, c := m.set(t, "nats")
	rules := m.policies["bus-to-nats"].Spec.Ingress
	if len(rules) != 2 || !selects(t, &m.policies["bus-to-nats"].Spec.PodSelector, nats.Spec.Template.Labels) || !selects(t, &m.policies["closed"].Spec.PodSelector, nats.Spec.Template.Labels) {
		t.Fatalf("the servers are not closed but for two ways in: %+v", rules)
	}
	callers := map[string]map[string]string{"nats": nats.Spec.Template.Labels, "event-bus": m.sets["event-bus"].Spec.Template.Labels, "neighbour": {"app": "something-else"}}
	for name, d := range m.deployments {
		callers[name] = d.Spec.Template.Labels
	}
	want := map[string]int32{"event-bus": 4222, "nats": 6222}
	for who, labels := range callers {
		var may []int32
		for _, rule := range rules {
			for _, peer := range rule.From {
				if (caller{labels: labels}).is(t, peer) {
					may = append(may, containerPort(c, *rule.Ports[0].Port))
				}
			}
		}
		if port, some := want[who]; some != (len(may) > 0) || some && !slices.Equal(may, []int32{port}) {
			t.Errorf("%s may reach the ports %v of the servers, want %d alone", who, may, port)
		}
	}
}
