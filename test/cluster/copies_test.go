package cluster

import (
	"fmt"
	"maps"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var copiesManifests = []string{"--kustomize", "../../infra/cluster"}

// TestCopiesOfTheBusOnACluster does the same with infra/cluster: three copies of
// the bus on three NATS servers. No restart may be seen, and no pod be missed.
func TestCopiesOfTheBusOnACluster(t *testing.T) {
	if !*onCluster {
		t.Skip("runs only with -cluster, on the cluster that KUBECONFIG names")
	}
	services := append(slices.Sorted(maps.Keys(ports)), "nats")
	b := &blog{kube: newKube(t, copiesManifests, "event-bus", "nats"), services: services}
	b.steps(t, []step{
		{"everything becomes ready from the Secret and one apply", func(t *testing.T) {
			b.makeCredentials(t)
			b.applyOnce(t)
		}},
		{"a second apply changes nothing", b.applyAgain},
		{"post, comment and approval flow through the Services", b.writeAndApprove},
		{"nobody approves a comment by hand", b.decideByHand},
		{"restarting everything under load loses nothing and refuses nothing", b.restartUnderLoad},
		{"every copy has the same log", b.equalLogs},
		{"any pod may be lost with its volume, under load", b.losePodsUnderLoad},
		{"every copy has the same log after that", b.equalLogs},
		{"memory and CPU stay within what is set", b.resources},
	})
}

func (b *blog) makeCredentials(t *testing.T) {
	secret, err := exec.Command("../../infra/cluster/credentials.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	apply := exec.Command("kubectl", "--namespace", b.namespace, "apply", "--filename", "-")
	apply.Stdin = strings.NewReader(string(secret))
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// moveIn does what docs/cluster.md says under "Moving in".
func (b *blog) moveIn(t *testing.T) {
	before, id := b.log(t), b.logID(t)
	b.makeCredentials(t)
	b.manifests, b.sets = copiesManifests, []string{"event-bus", "nats"}
	b.run(t, append([]string{"apply", "--selector=app=nats"}, b.manifests...)...)
	b.ready(t, "nats")
	b.run(t, "delete", "deployment", "event-bus-depl")
	b.run(t, "apply", "--filename", "../../infra/import")
	b.run(t, "wait", "pod/event-bus-import", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
	t.Logf("event-bus import said:\n%s", b.run(t, "logs", "event-bus-import"))
	b.run(t, "delete", "--filename", "../../infra/import")
	b.applyOnce(t)
	after := b.log(t)
	if len(after) < len(before) || !reflect.DeepEqual(after[:len(before)], before) || b.logID(t) != id {
		t.Errorf("the log %s with %d events has become %s with %d", id, len(before), b.logID(t), len(after))
	}
	b.intact(t, b.serviceURL(t, "query"))
	b.must(t, 201, "POST", b.serviceURL(t, "posts")+"/posts/create", `{"title":"In three copies"}`, nil)
	logs := b.run(t, "logs", "--selector=app=query", "--tail=-1")
	if started := strings.Count(logs, "dropped and built again"); started > 0 {
		t.Errorf("query dropped its projection %d times:\n%s", started, logs)
	}
	b.equalLogs(t)
}

func (b *blog) logID(t *testing.T) string {
	t.Helper()
	resp, err := client.Get(b.serviceURL(t, "event-bus") + "/events?limit=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("Event-Log")
}

// equalLogs asks each copy for its history.
func (b *blog) equalLogs(t *testing.T) {
	eventually(t, "the same log in every copy", func() error {
		logs := map[string]bool{}
		length := 0
		for _, pod := range b.pods(t, "event-bus") {
			history := text(t, b.podURL(pod, "event-bus")+"/events")
			logs[history] = true
			length = len(history)
		}
		if len(logs) != 1 {
			return fmt.Errorf("there are %d", len(logs))
		}
		t.Logf("%d copies have the same log of %d bytes", len(b.pods(t, "event-bus")), length)
		return nil
	})
}

// electionWithin is how long commands may go unanswered when a pod is lost: an
// election takes 4 to 9 s, and then a command is tried again.
const electionWithin = 15 * time.Second

// losePodsUnderLoad takes each pod away without warning, with its volume.
func (b *blog) losePodsUnderLoad(t *testing.T) {
	for _, service := range []string{"client", "comments", "moderation", "posts", "query"} {
		b.run(t, "scale", b.workload(service), "--replicas=2")
		b.ready(t, service)
	}
	l := startLoad(t, b.kube)
	b.load = l
	l.served(t, 100)
	for _, service := range b.services {
		for _, pod := range b.pods(t, service) {
			l.takeFailures()
			l.takeGap()
			b.lose(t, service, pod)
			l.served(t, 100)
			unavailable, wrong := l.takeFailures()
			gap := l.takeGap()
			t.Logf("loss of %s: %d answers 503, %d worse, %v at most without an answered command", pod.Metadata.Name, unavailable, len(wrong), gap.Round(time.Millisecond))
			if gap > electionWithin {
				t.Errorf("loss of %s: no command was answered for %v", pod.Metadata.Name, gap)
			}
			// A pod that is lost takes its connections along; behind the other services nobody notices.
			if behind := slices.Contains(b.sets, service); behind && len(wrong) > 0 {
				t.Errorf("loss of %s: %d requests failed, such as: %s", pod.Metadata.Name, len(wrong), wrong[0])
			}
			b.measure(t)
		}
	}
	l.end()
	b.everythingKept(t, l)
}

// lose kills a pod, forgets its volume, and waits until another one has taken
// its place.
func (b *blog) lose(t *testing.T, service string, lost pod) {
	t.Helper()
	name := lost.Metadata.Name
	if slices.Contains(b.sets, service) {
		b.run(t, "delete", "persistentvolumeclaim", "data-"+name, "--wait=false")
	}
	b.run(t, "delete", "pod", name, "--grace-period=0", "--force")
	eventually(t, "another pod in the place of "+name, func() error {
		pods := b.pods(t, service)
		for _, p := range pods {
			if p.Metadata.UID == lost.Metadata.UID || !p.ready() {
				return fmt.Errorf("%s is not ready", p.Metadata.Name)
			}
		}
		if want := b.replicas(t, service); len(pods) != want {
			return fmt.Errorf("%d of %d pods", len(pods), want)
		}
		return nil
	})
}
