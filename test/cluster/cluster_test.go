// Package cluster runs the blog on the Kubernetes cluster that KUBECONFIG
// names, once with one bus and once with three, each time in a namespace of its
// own that it removes:
//
//	go test ./test/cluster -cluster -count=1 -v -timeout 40m
//
// Its law: what an operator does to a running blog, this does first.
package cluster

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var onCluster = flag.Bool("cluster", false, "run on the cluster that KUBECONFIG names")

var ports = map[string]int{"client": 3000, "posts": 4000, "comments": 4001, "query": 4002, "moderation": 4003, "event-bus": 4005}

func TestBlogOnACluster(t *testing.T) {
	if !*onCluster {
		t.Skip("runs only with -cluster, on the cluster that KUBECONFIG names")
	}
	b := &blog{kube: newKube(t, []string{"--filename", "../../infra/k8s"}), services: slices.Sorted(maps.Keys(ports))}
	b.steps(t, []step{
		{"everything becomes ready from one apply", b.applyOnce},
		{"a second apply changes nothing", b.applyAgain},
		{"post, comment and approval flow through the Services", b.writeAndApprove},
		{"nobody approves a comment by hand", b.decideByHand},
		{"three pods of each give the same answer", b.scaleOut},
		{"a deleted pod comes back and nothing is lost", b.deletePods},
		{"restarting everything under load loses nothing", b.restartUnderLoad},
		{"memory and CPU stay within what is set", b.resources},
		{"the bus moves into three copies, and nobody starts over", b.moveIn},
	})
}

type step struct {
	name string
	run  func(t *testing.T)
}

func (b *blog) steps(t *testing.T, steps []step) {
	for _, step := range steps {
		if !t.Run(step.name, step.run) {
			logs, _ := b.try("logs", "--selector=app.kubernetes.io/part-of=miniblog", "--prefix", "--tail=20", "--max-log-requests=20")
			t.Fatalf("the rest needs this. The last lines of the logs:\n%s", logs)
		}
	}
}

// blog is the blog in its namespace, and what was written to it.
type blog struct {
	*kube
	services []string // and what else has pods
	post     string   // the first one
	comments []string // of it
	load     *load
	busiest  map[string]usage // by service: the most that one pod was seen to use
}

func (b *blog) kubectl(t *testing.T, verb string) string {
	t.Helper()
	return b.run(t, append([]string{verb}, b.manifests...)...)
}

func (b *blog) applyOnce(t *testing.T) {
	b.kubectl(t, "apply")
	for _, service := range b.services {
		b.ready(t, service)
	}
}

// state returns what is asked of the cluster: every object without what the
// cluster itself notes on it.
func (b *blog) state(t *testing.T) any {
	var list struct{ Items []map[string]any }
	b.get(t, &list, b.manifests...)
	for _, object := range list.Items {
		delete(object, "status")
		metadata := object["metadata"].(map[string]any)
		delete(metadata, "managedFields")
		delete(metadata, "resourceVersion")
	}
	return list.Items
}

func (b *blog) applyAgain(t *testing.T) {
	before := b.state(t)
	out := b.kubectl(t, "apply")
	for line := range strings.Lines(out) {
		// kubectl always sends a PodDisruptionBudget's selector and a StatefulSet's claims again, and
		// says "configured"; that nothing has changed is what the rest of this looks at.
		again := strings.HasPrefix(line, "poddisruptionbudget.policy/") || strings.HasPrefix(line, "statefulset.apps/")
		if !strings.Contains(line, " unchanged") && !again {
			t.Errorf("the second apply says %q", strings.TrimSpace(line))
		}
	}
	if after := b.state(t); !reflect.DeepEqual(before, after) {
		t.Errorf("objects changed: before\n%v\nafter\n%v", before, after)
	}
	if out, err := b.try(append([]string{"diff"}, b.manifests...)...); err != nil {
		t.Errorf("kubectl diff: %v\n%s", err, out)
	}
}

type comment struct{ ID, Content, Status string }

// post is a post as query serves it.
type post struct {
	ID, Title    string
	Comments     []comment
	CommentCount int
}

func (b *blog) writeAndApprove(t *testing.T) {
	var created post
	b.must(t, 201, "POST", b.serviceURL(t, "posts")+"/posts/create", `{"title":"From a cluster"}`, &created)
	b.post = created.ID
	for _, content := range []string{"Well said", "An orange one"} {
		var comments []comment
		b.must(t, 201, "POST", b.serviceURL(t, "comments")+"/posts/"+b.post+"/comments", fmt.Sprintf(`{"content":%q}`, content), &comments)
		b.comments = append(b.comments, comments[len(comments)-1].ID)
	}
	b.intact(t, b.serviceURL(t, "query"))
	b.must(t, 200, "GET", b.serviceURL(t, "client")+"/", "", nil)
}

func (b *blog) must(t *testing.T, want int, method, url, body string, into any) {
	t.Helper()
	if status, err := call(t.Context(), method, url, body, nil, into); err != nil || status != want {
		t.Fatalf("%s %s: %d %v, want %d", method, url, status, err, want)
	}
}

// intact waits until the query at the URL serves the first post with its
// comments: one approved, one rejected and withheld.
func (b *blog) intact(t *testing.T, url string) {
	t.Helper()
	want := post{b.post, "From a cluster", []comment{{b.comments[0], "Well said", "approved"}, {b.comments[1], "", "rejected"}}, 2}
	eventually(t, "the first post at "+url, func() error {
		var posts map[string]post
		status, err := call(t.Context(), "GET", url+"/posts?id="+b.post, "", nil, &posts)
		if err != nil || !reflect.DeepEqual(posts[b.post], want) {
			return fmt.Errorf("%d %v: %+v", status, err, posts)
		}
		return nil
	})
}

func (b *blog) scaleOut(t *testing.T) {
	scaled := []string{"client", "comments", "moderation", "posts", "query"}
	for _, service := range scaled {
		b.run(t, "scale", "deployment/"+service+"-depl", "--replicas=3")
	}
	for _, service := range scaled {
		b.ready(t, service)
	}
	paths := map[string]string{"client": "/style.css", "posts": "/posts", "comments": "/posts/" + b.post + "/comments", "query": "/posts"}
	for service, path := range paths {
		answers := map[string]bool{}
		for _, pod := range b.pods(t, service) {
			answers[text(t, b.podURL(pod, service)+path)] = true
		}
		if len(answers) != 1 {
			t.Errorf("the three pods of %s gave %d different answers: %v", service, len(answers), slices.Collect(maps.Keys(answers)))
		}
	}
	// Every pod of moderation answers the same event with the same one, which the bus stores once.
	cause := `{"id":"asked-of-each","type":"CommentCreated","subject":"nowhere","data":{"id":"asked-of-each","content":"fine","postId":"nowhere","status":"pending"}}`
	replies := map[event]bool{}
	for _, pod := range b.pods(t, "moderation") {
		var reply event
		status, err := call(t.Context(), "POST", b.podURL(pod, "moderation")+"/events", cause, map[string]string{"Accept": "application/cloudevents+json"}, &reply)
		if err != nil || status != 200 {
			t.Fatalf("%s: %d %v", pod.Metadata.Name, status, err)
		}
		replies[reply] = true
	}
	for reply := range replies {
		if len(replies) != 1 || reply.Type != "CommentModerated" || reply.Data.ID != "asked-of-each" || reply.Data.Status != "approved" {
			t.Errorf("three pods of moderation gave the replies %+v", replies)
		}
	}
}

// decideByHand tries what only the bus and its subscribers may do.
func (b *blog) decideByHand(t *testing.T) {
	approval := fmt.Sprintf(`{"type":"CommentUpdated","subject":%q,"data":{"id":%q,"postId":%[1]q,"content":"An orange one","status":"approved"}}`, b.post, b.comments[1])
	moderated := strings.Replace(approval, "CommentUpdated", "CommentModerated", 1)
	b.must(t, 403, "POST", b.serviceURL(t, "event-bus")+"/events", approval, nil)
	b.must(t, 403, "POST", b.serviceURL(t, "event-bus")+"/events", moderated, nil)
	b.must(t, 403, "POST", b.serviceURL(t, "comments")+"/events", moderated, nil)
	for _, service := range []string{"posts", "comments", "query"} {
		b.must(t, 403, "POST", b.serviceURL(t, service)+"/events", approval, nil)
	}
	b.intact(t, b.serviceURL(t, "query"))
}

// text returns what is at a URL.
func text(t *testing.T, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d %v", url, resp.StatusCode, err)
	}
	return string(body)
}

// event is an event of the log.
type event struct {
	ID, Type, Sequence string
	Data               struct{ ID, PostID, Status string }
}

func (b *blog) log(t *testing.T) []event {
	t.Helper()
	var events []event
	b.must(t, 200, "GET", b.serviceURL(t, "event-bus")+"/events", "", &events)
	return events
}

func (b *blog) deletePods(t *testing.T) {
	before := b.log(t) // that the log outlives its pod is the last of these
	for _, service := range []string{"client", "comments", "moderation", "posts", "query", "event-bus"} {
		pod := b.pods(t, service)[0]
		b.run(t, "delete", "pod", pod.Metadata.Name)
		b.ready(t, service)
		for _, left := range b.pods(t, service) {
			if left.Metadata.UID == pod.Metadata.UID {
				t.Errorf("%s: the pod %s is still there", service, pod.Metadata.Name)
			}
		}
		for _, pod := range b.pods(t, "query") {
			b.intact(t, b.podURL(pod, "query"))
		}
	}
	if after := b.log(t); !reflect.DeepEqual(after[:len(before)], before) {
		t.Errorf("the log has changed: %d events before, %d after", len(before), len(after))
	}
	b.must(t, 201, "POST", b.serviceURL(t, "posts")+"/posts/create", `{"title":"After all that"}`, nil)
}

func (b *blog) restartUnderLoad(t *testing.T) {
	for _, service := range []string{"client", "comments", "moderation", "posts", "query"} {
		b.run(t, "scale", b.workload(service), "--replicas=1") // the harder case
		b.ready(t, service)
	}
	l := startLoad(t, b.kube)
	b.load = l
	l.served(t, 200)
	b.measure(t)
	for _, service := range b.services {
		l.takeFailures()
		b.run(t, "rollout", "restart", b.workload(service))
		b.ready(t, service)
		l.served(t, 50)
		unavailable, wrong := l.takeFailures()
		t.Logf("restart of %s: %d answers 503, %d worse", service, unavailable, len(wrong))
		if len(wrong) > 0 {
			t.Errorf("restart of %s: %d requests failed, such as: %s", service, len(wrong), wrong[0])
		}
		if oneBus := service == "event-bus" && !slices.Contains(b.sets, service); unavailable > 0 && !oneBus {
			t.Errorf("restart of %s: %d answers 503 while a bus was there", service, unavailable)
		}
		b.measure(t)
	}
	l.end()
	b.everythingKept(t, l)
}

// everythingKept checks the log and query against what the load was told.
func (b *blog) everythingKept(t *testing.T, l *load) {
	posts, comments := map[string]int{}, map[string]int{}
	decided := map[string]bool{}
	eventually(t, "a decision on every comment", func() error {
		clear(posts)
		clear(comments)
		for _, e := range b.log(t) {
			switch e.Type {
			case "PostCreated":
				posts[e.Data.ID]++
			case "CommentCreated":
				comments[e.Data.ID]++
			case "CommentUpdated":
				decided[e.Data.ID] = true
			}
		}
		for id := range comments {
			if !decided[id] {
				return fmt.Errorf("comment %s is undecided", id)
			}
		}
		return nil
	})
	written := 0
	for id, ids := range l.acknowledged {
		if posts[id] != 1 {
			t.Errorf("the acknowledged post %s is %d times in the log", id, posts[id])
		}
		for _, comment := range ids {
			written++
			if comments[comment] != 1 {
				t.Errorf("the acknowledged comment %s is %d times in the log", comment, comments[comment])
			}
		}
	}
	t.Logf("%d requests, %d posts and %d comments acknowledged, all of them stored once", l.requests, len(l.acknowledged), written)
	for _, pod := range b.pods(t, "query") {
		for id, ids := range l.acknowledged {
			eventually(t, "post "+id+" in "+pod.Metadata.Name, func() error {
				var found map[string]post
				_, err := call(context.Background(), "GET", b.podURL(pod, "query")+"/posts?id="+id, "", nil, &found)
				if p := found[id]; err != nil || p.CommentCount < len(ids) || slices.ContainsFunc(p.Comments, func(c comment) bool { return c.Status != "approved" }) {
					return fmt.Errorf("%v: %+v, want %d approved comments", err, p, len(ids))
				}
				return nil
			})
		}
	}
}
