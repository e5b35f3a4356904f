package deploy

import (
	"net"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// selects says whether a selector chooses the pods of a Deployment.
func selects(t *testing.T, selector *metav1.LabelSelector, podLabels map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(podLabels))
}

// selected returns the services whose pods the selector chooses.
func (m *manifests) selected(t *testing.T, selector *metav1.LabelSelector) []string {
	t.Helper()
	var found []string
	for _, name := range names {
		if d, _ := m.deployment(t, name); selects(t, selector, d.Spec.Template.Labels) {
			found = append(found, name)
		}
	}
	return found
}

func containerPort(c *corev1.Container, port intstr.IntOrString) int32 {
	for _, p := range c.Ports {
		if p.Name == port.StrVal && port.Type == intstr.String || p.ContainerPort == port.IntVal && port.Type == intstr.Int {
			return p.ContainerPort
		}
	}
	return 0
}

func TestServicesReachTheirPods(t *testing.T) {
	m := load(t, "k8s")
	for name, service := range m.services {
		pods := m.selected(t, &metav1.LabelSelector{MatchLabels: service.Spec.Selector})
		if len(pods) != 1 {
			t.Errorf("Service %s selects the pods of %q, want those of one service", name, pods)
			continue
		}
		_, container := m.deployment(t, pods[0])
		want := readProgram(t, pods[0]).port
		if name == pods[0]+"-snapshot-srv" {
			want = portOf(t, pods[0], container, "SNAPSHOT_ADDR")
		}
		for _, port := range service.Spec.Ports {
			if int(port.Port) != want || int(containerPort(container, port.TargetPort)) != want {
				t.Errorf("Service %s sends %d to %s of %s, which listens on %d", name, port.Port, port.TargetPort.String(), pods[0], want)
			}
		}
	}
	for name, d := range m.deployments {
		if pods := m.selected(t, d.Spec.Selector); !slices.Equal(pods, []string{strings.TrimSuffix(name, "-depl")}) {
			t.Errorf("Deployment %s selects the pods of %q", name, pods)
		}
		for _, spread := range d.Spec.Template.Spec.TopologySpreadConstraints {
			if !slices.Equal(m.selected(t, spread.LabelSelector), m.selected(t, d.Spec.Selector)) {
				t.Errorf("Deployment %s spreads other pods than its own", name)
			}
		}
	}
}

func TestVolumesAndConfigurationFilesExist(t *testing.T) {
	m := load(t, "k8s")
	for _, name := range names {
		d, container := m.deployment(t, name)
		files := map[string]bool{}    // that ConfigMaps put into the container
		writable := map[string]bool{} // folders
		var mounted []string
		for _, mount := range container.VolumeMounts {
			mounted = append(mounted, mount.Name)
			i := slices.IndexFunc(d.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
			if i < 0 {
				t.Errorf("%s mounts the volume %q, which it does not have", name, mount.Name)
				continue
			}
			switch volume := d.Spec.Template.Spec.Volumes[i]; {
			case volume.ConfigMap != nil:
				configMap := m.configMaps[volume.ConfigMap.Name]
				if configMap == nil {
					t.Errorf("%s wants the ConfigMap %q, which is not there", name, volume.ConfigMap.Name)
					continue
				}
				if mount.SubPath != "" {
					t.Errorf("%s mounts one file of the ConfigMap %s: it would never see a change", name, configMap.Name)
				}
				for key := range configMap.Data {
					files[path.Join(mount.MountPath, key)] = true
				}
			case volume.PersistentVolumeClaim != nil:
				if m.claims[volume.PersistentVolumeClaim.ClaimName] == nil {
					t.Errorf("%s wants the claim %q, which is not there", name, volume.PersistentVolumeClaim.ClaimName)
				}
				writable[mount.MountPath] = true
			case volume.EmptyDir != nil:
				if volume.EmptyDir.SizeLimit == nil {
					t.Errorf("%s: its volume %q may fill the node's disk: give it a sizeLimit", name, mount.Name)
				}
				writable[mount.MountPath] = true
			default:
				t.Errorf("%s: the volume %q is of a kind that nothing here checks", name, mount.Name)
			}
		}
		for _, volume := range d.Spec.Template.Spec.Volumes {
			if !slices.Contains(mounted, volume.Name) {
				t.Errorf("%s has the volume %q and does not mount it", name, volume.Name)
			}
		}
		reads := readProgram(t, name).variables
		for _, env := range container.Env {
			if strings.HasSuffix(env.Name, "_FILE") && !files[env.Value] {
				t.Errorf("%s: %s=%s, but its ConfigMaps bring %v", name, env.Name, env.Value, files)
			}
		}
		if reads["DATA_DIR"] != writable[valueOf(container, "DATA_DIR")] {
			t.Errorf("%s: DATA_DIR=%s must be where its volume is: %v", name, valueOf(container, "DATA_DIR"), writable)
		}
	}
	if m.claims["event-bus-data"] == nil {
		t.Error("the log needs the claim event-bus-data")
	}
}

// valueOf returns a container's environment variable, "" if it has none.
func valueOf(container *corev1.Container, name string) string {
	for _, env := range container.Env {
		if env.Name == name {
			return env.Value
		}
	}
	return ""
}

func TestServicesReadTheVariablesThatAreSet(t *testing.T) {
	m := load(t, "k8s")
	for _, name := range names {
		_, container := m.deployment(t, name)
		program := readProgram(t, name)
		for _, env := range container.Env {
			if !program.variables[env.Name] && env.Name != "GOMEMLIMIT" {
				t.Errorf("%s is given %s, which it does not read", name, env.Name)
			}
			if strings.HasSuffix(env.Name, "_URL") && env.Value != "" {
				m.checkURL(t, name+": "+env.Name, env.Value)
			}
		}
		for variable := range program.variables {
			set := slices.ContainsFunc(container.Env, func(env corev1.EnvVar) bool { return env.Name == variable })
			if strings.HasPrefix(variable, "NATS_") {
				continue // infra/k8s has one bus, on a disk of its own
			}
			if wanted := strings.HasSuffix(variable, "_URL") || strings.HasSuffix(variable, "_FILE") || variable == "ALLOWED_ORIGINS"; wanted && !set {
				t.Errorf("%s reads %s, whose default is for a laptop: set it", name, variable)
			}
		}
		if program.variables["ALLOWED_ORIGINS"] && valueOf(container, "ALLOWED_ORIGINS") != "http://posts.com" {
			t.Errorf("%s: ALLOWED_ORIGINS is %q", name, valueOf(container, "ALLOWED_ORIGINS"))
		}
	}
}

// checkURL fails unless the URL is that of a Service of ours, with its port.
func (m *manifests) checkURL(t *testing.T, what, text string) (service string) {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return ""
	}
	s := m.services[u.Hostname()]
	if s == nil || u.Scheme != "http" || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return strconv.Itoa(int(p.Port)) == u.Port() }) {
		t.Errorf("%s: %s leads to no Service", what, text)
		return ""
	}
	return s.Spec.Selector["app"]
}

func TestProbesMeanWhatTheServicesAnswer(t *testing.T) {
	m := load(t, "k8s")
	for _, name := range names {
		d, container := m.deployment(t, name)
		// A port of its own, which nothing but the kubelet is led to.
		port := adminPort(t, name, container)
		for _, service := range m.services {
			for _, p := range service.Spec.Ports {
				if service.Spec.Selector["app"] == name && int(containerPort(container, p.TargetPort)) == port {
					t.Errorf("%s: the Service %s leads to its metrics and profiles", name, service.Name)
				}
			}
		}
		for path, probe := range map[string]*corev1.Probe{"/healthz": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || int(containerPort(container, probe.HTTPGet.Port)) != port {
				t.Errorf("%s: a probe must ask %s at port %d: %+v", name, path, port, probe)
			}
		}
		if start := container.StartupProbe; start == nil || !reflect.DeepEqual(start.HTTPGet, container.LivenessProbe.HTTPGet) {
			t.Errorf("%s: the startup probe must wait for what the liveness probe asks: %+v", name, start)
		}
		// A pod may stop its callers first, then has the 10 s that a service takes at most.
		grace, sleep := *d.Spec.Template.Spec.TerminationGracePeriodSeconds, int64(0)
		if container.Lifecycle != nil {
			sleep = container.Lifecycle.PreStop.Sleep.Seconds
		}
		if grace < sleep+10 {
			t.Errorf("%s is killed after %d s: it sleeps for %d and may take 10 more", name, grace, sleep)
		}
		if one := name == "event-bus"; one == (sleep > 0) || one != (d.Spec.Strategy.Type == "Recreate") || one != (d.Spec.Replicas != nil && *d.Spec.Replicas == 1) {
			t.Errorf("%s: only the bus has a fixed single pod, Recreate, and no sleep before it stops", name)
		}
	}
}

// adminPort returns the port of ADMIN_ADDR, which must not be the one of ADDR.
func adminPort(t *testing.T, name string, container *corev1.Container) int {
	t.Helper()
	return portOf(t, name, container, "ADMIN_ADDR")
}

// portOf returns the port of a variable that names an address, which must not be
// the one of ADDR.
func portOf(t *testing.T, name string, container *corev1.Container, variable string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(valueOf(container, variable))
	port, bad := strconv.Atoi(text)
	if err != nil || bad != nil || port == readProgram(t, name).port {
		t.Errorf("%s: %s is %q", name, variable, valueOf(container, variable))
	}
	return port
}

func TestMemoryLimitsLeaveRoomForWhatIsNotGo(t *testing.T) {
	m := load(t, "k8s")
	for _, name := range names {
		_, container := m.deployment(t, name)
		limit, percent := container.Resources.Limits.Memory().Value()>>20, int64(80)
		if name == "query" { // the most of it may be SQLite's
			percent = 65
		}
		if got, want := valueOf(container, "GOMEMLIMIT"), strconv.FormatInt(limit*percent/100, 10)+"MiB"; got != want {
			t.Errorf("%s: GOMEMLIMIT is %s, %d %% of its limit of %d MiB is %s", name, got, percent, limit, want)
		}
		for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := container.Resources.Requests[resource], container.Resources.Limits[resource]
			if request.IsZero() || limit.Cmp(request) < 0 {
				t.Errorf("%s: requests %s of %s, limit %s", name, request.String(), resource, limit.String())
			}
		}
	}
}

func TestBudgetsAndAutoscalersNameWhatExists(t *testing.T) {
	m := load(t, "k8s", "autoscaling")
	for name, budget := range m.budgets {
		if pods := m.selected(t, budget.Spec.Selector); !slices.Equal(pods, []string{name}) {
			t.Errorf("the PodDisruptionBudget %s is about the pods of %q", name, pods)
		}
		if budget.Spec.MaxUnavailable == nil || budget.Spec.MaxUnavailable.IntValue() != 1 {
			t.Errorf("the PodDisruptionBudget %s would let a drain hang when there is one pod", name)
		}
	}
	if len(m.budgets) != len(names)-1 || m.budgets["event-bus"] != nil {
		t.Errorf("%d PodDisruptionBudgets, want one for all but the bus, which has one pod by design", len(m.budgets))
	}
	for name, autoscaler := range m.autoscalers {
		target := m.deployments[autoscaler.Spec.ScaleTargetRef.Name]
		if target == nil || target.Spec.Replicas != nil {
			t.Errorf("the autoscaler %s needs a Deployment that leaves its replicas open: %+v", name, autoscaler.Spec.ScaleTargetRef)
		}
	}
	if m.autoscalers["query"] == nil || m.autoscalers["moderation"] == nil {
		t.Error("query and moderation need autoscalers")
	}
}
