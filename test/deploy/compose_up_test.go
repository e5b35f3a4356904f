package deploy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"miniblog/test/harness"
)

// compose runs compose.yaml on this machine's Docker, as a project of its own:
// with its own images and volumes, which go with it, and at free ports.
type compose struct {
	t    *testing.T
	args []string // before each command
}

var goImage = regexp.MustCompile(`(?m)^ARG GO_IMAGE=(\S+)$`)

// newCompose skips the test where Docker, Compose or an image is missing. In CI
// too: there is no Docker in a container that has none.
func newCompose(t *testing.T, name string, images []string, envFiles ...string) *compose {
	t.Helper()
	if host := os.Getenv("DOCKER_HOST"); strings.HasPrefix(host, "tcp:") || strings.HasPrefix(host, "ssh:") {
		t.Skipf("NOT CHECKED: compose.yaml on a real Docker: the one at %s, as minikube's, has no ports on this machine", host)
	}
	for _, check := range [][]string{{"compose", "version"}, {"info"}} {
		if out, err := exec.CommandContext(t.Context(), "docker", check...).CombinedOutput(); err != nil {
			t.Skipf("NOT CHECKED: compose.yaml on a real Docker: docker %s: %v: %s", strings.Join(check, " "), err, lastLine(out))
		}
	}
	for _, image := range images {
		if exec.CommandContext(t.Context(), "docker", "image", "inspect", image).Run() == nil {
			continue
		}
		if out, err := exec.CommandContext(t.Context(), "docker", "pull", "--quiet", image).CombinedOutput(); err != nil {
			t.Skipf("NOT CHECKED: compose.yaml on a real Docker: the image %s is not to be had: %v: %s", image, err, lastLine(out))
		}
	}
	var override strings.Builder
	override.WriteString("services:\n")
	for service, config := range composeProject(t, envFiles...).Services {
		fmt.Fprintf(&override, "  %s:\n    restart: \"no\"\n", service)
		if config.Build != nil {
			override.WriteString("    image: !reset null\n") // named after the project
		}
		for _, port := range config.Ports { // of which each service has at most one
			fmt.Fprintf(&override, "    ports: !override [\"127.0.0.1::%d\"]\n", port.Target)
		}
	}
	file := filepath.Join(t.TempDir(), "override.yaml")
	if err := os.WriteFile(file, []byte(override.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	c := &compose{t: t, args: []string{"compose", "-p", name, "-f", filepath.Join(root, "compose.yaml"), "-f", file}}
	for _, file := range envFiles {
		c.args = append(c.args, "--env-file", file)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.run("logs", "--tail", "40"))
		}
		c.run("down", "--volumes", "--rmi", "local")
	})
	return c
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// run runs a command of Compose, also while the test is cleaned up.
func (c *compose) run(args ...string) string {
	c.t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(c.t.Context()), "docker", slices.Concat(c.args, args)...).CombinedOutput()
	if err != nil {
		c.t.Errorf("docker compose %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// up brings the blog up and returns where it is: ports change when containers start.
func (c *compose) up() harness.API {
	c.t.Helper()
	c.run("up", "--build", "--wait", "--wait-timeout", "180")
	if c.t.Failed() {
		c.t.FailNow()
	}
	return harness.API{PostsURL: c.url("posts", "4000"), CommentsURL: c.url("comments", "4001"),
		QueryURL: c.url("query", "4002"), BusURL: c.url("event-bus", "4005")}
}

func (c *compose) url(service, port string) string {
	c.t.Helper()
	return "http://" + c.run("port", service, port)
}

// write creates a post and a comment, as often as it takes, and waits until the
// comment is approved.
func (c *compose) write(api harness.API, title string) {
	c.t.Helper()
	var post harness.Post
	c.eventually(func() (err error) {
		post, err = api.CreatePost(c.t.Context(), title, title)
		return err
	})
	c.eventually(func() error {
		_, err := api.CreateComment(c.t.Context(), post.ID, "Fine", title)
		return err
	})
	c.shows(api, title)
}

// shows waits until query has the post with its one comment, approved.
func (c *compose) shows(api harness.API, title string) {
	c.t.Helper()
	c.eventually(func() error {
		posts, err := api.ListBlog(c.t.Context())
		i := slices.IndexFunc(posts, func(p harness.Post) bool { return p.Title == title })
		if err == nil && (i < 0 || len(posts[i].Comments) != 1 || posts[i].Comments[0].Status != "approved") {
			err = fmt.Errorf("%q has no approved comment: %+v", title, posts)
		}
		return err
	})
}

// eventually waits for longer than an election of NATS and a handover to another bus take together.
func (c *compose) eventually(check func() error) {
	c.t.Helper()
	harness.Eventually(c.t, time.Minute, check)
}

// TestComposeBringsTheBlogUp runs the commands of README.md and docs/cluster.md.
func TestComposeBringsTheBlogUp(t *testing.T) {
	base := string(goImage.FindSubmatch(read(t, filepath.Join(root, "posts/Dockerfile")))[1])
	name := fmt.Sprintf("miniblog-test-%d", os.Getpid())

	t.Run("one bus", func(t *testing.T) {
		c := newCompose(t, name, []string{base})
		api := c.up()
		c.write(api, "first")
		page, err := harness.Send(t.Context(), "GET", c.url("client", "3000")+"/", "")
		if err != nil || page.Status != 200 || !strings.Contains(string(page.Body), "<title>Miniblog</title>") {
			t.Errorf("the page: %+v %v", page, err)
		}

		c.run("kill", "event-bus")
		api = c.up()
		c.write(api, "after the bus was killed")

		c.run("down")
		api = c.up()
		c.shows(api, "first")
		c.shows(api, "after the bus was killed")
		c.write(api, "after it was down")
	})

	t.Run("three buses on three NATS servers", func(t *testing.T) {
		file := filepath.Join(root, "infra/compose/cluster.env")
		c := newCompose(t, name+"-cluster", []string{base, composeProject(t, file).Services["nats-1"].Image}, file)
		api := c.up()
		c.write(api, "first")

		c.run("kill", "event-bus-2", "nats-2")
		c.write(api, "with a bus and a server lost")
		api = c.up()
		c.shows(api, "first")
		c.eventually(func() error { // every copy has the same log
			want, err := api.ListEvents(t.Context())
			if err != nil {
				return err
			}
			for _, bus := range []string{"event-bus-2", "event-bus-3"} {
				got, err := harness.API{BusURL: c.url(bus, "4005")}.ListEvents(t.Context())
				if err != nil || !reflect.DeepEqual(got, want) {
					return fmt.Errorf("%s has %d events (%v), event-bus %d", bus, len(got), err, len(want))
				}
			}
			return nil
		})
	})
}
