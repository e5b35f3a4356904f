package deploy

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func TestPodsMeetTheRestrictedStandard(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	m := load(t, "k8s", "backup", "import")
	pods := map[string]corev1.PodTemplateSpec{}
	for name, d := range m.deployments {
		pods[name] = d.Spec.Template
	}
	for name, p := range m.pods {
		pods[name] = corev1.PodTemplateSpec{ObjectMeta: p.ObjectMeta, Spec: p.Spec}
	}
	for name, pod := range pods {
		for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
		// What the standard leaves open.
		if c := pod.Spec.Containers[0].SecurityContext; c.ReadOnlyRootFilesystem == nil || !*c.ReadOnlyRootFilesystem {
			t.Errorf("%s: its root filesystem can be written to", name)
		}
		if token := pod.Spec.AutomountServiceAccountToken; token == nil || *token {
			t.Errorf("%s gets a token for the Kubernetes API, which it has no use for", name)
		}
		if user := pod.Spec.SecurityContext.RunAsUser; user == nil || *user != 65532 {
			t.Errorf("%s: its user must be the number that the images have", name)
		}
	}
}

func TestBackupPodSeesTheVolumeOfTheLog(t *testing.T) {
	m := load(t, "k8s", "backup")
	bus, _ := m.deployment(t, "event-bus")
	pod := m.pods["event-bus-volume"]
	if pod == nil {
		t.Fatal("infra/backup has no pod event-bus-volume")
	}
	claim := pod.Spec.Volumes[0].PersistentVolumeClaim
	if claim == nil || m.claims[claim.ClaimName] == nil || claim.ClaimName != bus.Spec.Template.Spec.Volumes[0].PersistentVolumeClaim.ClaimName {
		t.Errorf("the pod has the volume %+v, not that of the log", pod.Spec.Volumes[0])
	}
	if *pod.Spec.SecurityContext.FSGroup != *bus.Spec.Template.Spec.SecurityContext.FSGroup {
		t.Error("what the pod restores would not belong to the bus's group")
	}
}

// caller is who sends: a pod with its namespace, or an address outside.
type caller struct {
	labels    map[string]string
	namespace string // "" is that of the blog
	address   string // of a caller that is no pod
}

// TestOnlyTheServicesReachTheBus works out from the NetworkPolicies who may
// call whom, as a network that enforces them does.
func TestOnlyTheServicesReachTheBus(t *testing.T) {
	m := load(t, "k8s", "gateway")
	callers := map[string]caller{
		"ingress controller": {namespace: "ingress-nginx", labels: map[string]string{"app.kubernetes.io/name": "ingress-nginx"}},
		"gateway":            {namespace: "anywhere", labels: map[string]string{"gateway.networking.k8s.io/gateway-name": "miniblog"}},
		"another gateway":    {namespace: "anywhere", labels: map[string]string{"gateway.networking.k8s.io/gateway-name": "other"}},
		"stranger":           {namespace: "anywhere", labels: map[string]string{"app": "posts"}},
		"neighbour":          {labels: map[string]string{"app": "something-else"}},
		"node port":          {address: "192.168.49.1"},
		"pod behind a port":  {address: "10.244.0.7"}, // where the network takes pods for addresses
	}
	for _, name := range names {
		d, _ := m.deployment(t, name)
		callers[name] = caller{labels: d.Spec.Template.Labels}
	}
	page := map[string]bool{"posts": true, "comments": true, "query": true, "client": true}
	bus := map[string]bool{"event-bus": true}
	allowed := map[string]map[string]bool{
		"ingress controller": page, "gateway": page,
		"another gateway": {}, "stranger": {}, "neighbour": {}, "pod behind a port": {},
		"node port": {"posts": true},
		"posts":     bus, "comments": bus, "query": bus, "moderation": bus,
		"client":    {},
		"event-bus": {"posts": true, "comments": true, "query": true, "moderation": true},
	}
	for who, from := range callers {
		for _, to := range names {
			if got := m.mayCall(t, from, to); got != allowed[who][to] {
				t.Errorf("%s may call %s: %v, want %v", who, to, got, allowed[who][to])
			}
		}
	}
}

// TestSnapshotsAreForCopiesOfTheSameService: a snapshot has all that the database
// has, also text that nobody may read.
func TestSnapshotsAreForCopiesOfTheSameService(t *testing.T) {
	m := load(t, "k8s", "gateway")
	for _, to := range []string{"posts", "comments", "query"} {
		d, container := m.deployment(t, to)
		port := portOf(t, to, container, "SNAPSHOT_ADDR")
		if port == adminPort(t, to, container) {
			t.Errorf("%s gives snapshots where its metrics are", to)
		}
		callers := map[string]caller{
			"ingress controller": {namespace: "ingress-nginx", labels: map[string]string{"app.kubernetes.io/name": "ingress-nginx"}},
			"stranger":           {namespace: "anywhere", labels: d.Spec.Template.Labels},
			"node port":          {address: "192.168.49.1"},
		}
		for _, name := range names {
			d, _ := m.deployment(t, name)
			callers[name] = caller{labels: d.Spec.Template.Labels}
		}
		for who, from := range callers {
			if got := m.mayCallPort(t, from, to, int32(port)); got != (who == to) {
				t.Errorf("%s may take a snapshot of %s: %v", who, to, got)
			}
		}
		for name, service := range m.services { // which may be of type NodePort, or behind the ingress
			for _, p := range service.Spec.Ports {
				if service.Spec.Selector["app"] == to && int(containerPort(container, p.TargetPort)) == port && name != to+"-snapshot-srv" {
					t.Errorf("the Service %s leads to snapshots of %s", name, to)
				}
			}
		}
	}
}

// TestNobodySendsEventsPastTheBus: in a cluster the bus alone sends events, and no pod
// approves its own comment. What the variables do is held where they are read.
func TestNobodySendsEventsPastTheBus(t *testing.T) {
	m := load(t, "k8s")
	for _, name := range names {
		_, container := m.deployment(t, name)
		for variable, want := range map[string]string{"EVENTS_BY_HAND": "refuse", "REPLY_ONLY_TYPES": "CommentModerated,CommentUpdated"} {
			if got := valueOf(container, variable); readProgram(t, name).variables[variable] && got != want {
				t.Errorf("%s: %s is %q, want %q", name, variable, got, want)
			}
		}
	}
}

// mayCall says whether the policies let a caller reach the port of a service.
func (m *manifests) mayCall(t *testing.T, from caller, to string) bool {
	t.Helper()
	_, container := m.deployment(t, to)
	return m.mayCallPort(t, from, to, container.Ports[0].ContainerPort)
}

// mayCallPort is mayCall for one of the ports.
func (m *manifests) mayCallPort(t *testing.T, from caller, to string, wanted int32) bool {
	t.Helper()
	d, container := m.deployment(t, to)
	closed := false
	for name, policy := range m.policies {
		if len(policy.Spec.Egress) > 0 || len(policy.Spec.PolicyTypes) != 1 || policy.Spec.PolicyTypes[0] != "Ingress" {
			t.Fatalf("NetworkPolicy %s limits egress, which this test does not follow", name)
		}
		if !selects(t, &policy.Spec.PodSelector, d.Spec.Template.Labels) {
			continue
		}
		closed = true
		for _, rule := range policy.Spec.Ingress {
			port := false
			for _, p := range rule.Ports {
				port = port || *p.Protocol == corev1.ProtocolTCP && containerPort(container, *p.Port) == wanted
			}
			for _, peer := range rule.From {
				if port && from.is(t, peer) {
					return true
				}
			}
		}
	}
	return !closed
}

// is says whether the caller is one of a policy's peers.
func (c caller) is(t *testing.T, peer networkingv1.NetworkPolicyPeer) bool {
	t.Helper()
	if c.address != "" || peer.IPBlock != nil { // a block is for callers that are no pods
		return c.address != "" && peer.IPBlock != nil && within(t, c.address, peer.IPBlock)
	}
	if peer.NamespaceSelector == nil && c.namespace != "" {
		return false
	}
	if peer.NamespaceSelector != nil && !selects(t, peer.NamespaceSelector, map[string]string{"kubernetes.io/metadata.name": c.namespace}) {
		return false
	}
	return peer.PodSelector == nil || selects(t, peer.PodSelector, c.labels)
}

func within(t *testing.T, address string, block *networkingv1.IPBlock) bool {
	t.Helper()
	holds := func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			t.Fatal(err)
		}
		return prefix.Contains(netip.MustParseAddr(address))
	}
	return holds(block.CIDR) && !slices.ContainsFunc(block.Except, holds)
}
