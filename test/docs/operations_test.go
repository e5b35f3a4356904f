package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"miniblog/test/harness"
)

// TestBackupAndRestore does what docs/operations.md says, on a blog in use.
func TestBackupAndRestore(t *testing.T) {
	blog := harness.StartBlog(t, harness.Config{})
	kept := blog.MustPost(t, "Before the backup")
	blog.MustComment(t, kept.ID, "A comment that is kept")
	awaitDecisions(t, blog)

	backup := filepath.Join(t.TempDir(), "backup")
	shell(t, "cp -a "+blog.Bus.Dir+" "+backup+" || { rm -r "+backup+" && cp -a "+blog.Bus.Dir+" "+backup+"; }") // a file may be replaced meanwhile
	verify(t, backup)

	lost := blog.MustPost(t, "After the backup")
	blog.MustComment(t, lost.ID, "A comment that is lost")
	awaitDecisions(t, blog)

	blog.Bus.Stop()
	shell(t, "mv "+blog.Bus.Dir+" "+blog.Bus.Dir+".broken && cp -a "+backup+" "+blog.Bus.Dir+" && rm "+blog.Bus.Dir+"/id")
	verify(t, blog.Bus.Dir)
	blog.Bus.Start()
	blog.Bus.AwaitReady()

	t.Run("everybody has what was in the backup, and no more", func(t *testing.T) {
		harness.Eventually(t, 20*time.Second, func() error {
			posts, err := blog.ListPosts(t.Context())
			shown, err2 := blog.ListBlog(t.Context())
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			if len(posts) != 1 || posts[0].ID != kept.ID || len(shown) != 1 || len(shown[0].Comments) != 1 || shown[0].Comments[0].Status != "approved" {
				return fmt.Errorf("posts has %v, query has %v", posts, shown)
			}
			return nil
		})
	})
	t.Run("reactions that are repeated change nothing", func(t *testing.T) {
		harness.Eventually(t, 20*time.Second, func() error {
			subscribers, err := blog.ListSubscribers(t.Context())
			for _, s := range subscribers {
				if s.Lag > 0 {
					err = fmt.Errorf("%s lags by %d", s.Name, s.Lag)
				}
			}
			return err
		})
		if events := harness.Must(blog.ListEvents(t.Context()))(t); len(events) != 4 {
			t.Errorf("the log has %d events, not the 4 of a post and a comment that was decided", len(events))
		}
	})
	t.Run("life goes on", func(t *testing.T) {
		post := blog.MustPost(t, "After the restore")
		blog.MustComment(t, post.ID, "A comment")
		awaitDecisions(t, blog)
	})
}

// TestFetchedBackupIsRestored takes the other way: over HTTP, into an empty bus.
func TestFetchedBackupIsRestored(t *testing.T) {
	for _, program := range []string{"curl", "paste", "sed", "split", "zstdcat"} {
		needs(t, program)
	}
	from, to := harness.StartBus(t), harness.StartBus(t)
	file, commands := filepath.Join(t.TempDir(), "events.zst"), map[string]string{} // of operations.md, by the bus
	ctx := context.Background()
	source := harness.API{BusURL: from.URL}
	for i := range 24 {
		harness.Must(source.Publish(ctx, "CoffeeBrewed", map[string]int{"cups": i}))(t)
	}
	const numbers = `[12345678901234567890123,0.1000,1e400,-0]` // which jq would change
	harness.Must(harness.Send(ctx, "POST", from.URL+"/events", `{"type":"Numbers","data":`+numbers+`}`, "Content-Type", "application/json"))(t)
	for start, bus := range map[string]string{"curl -sf -H 'Accept: application/x-ndjson' -H 'Accept-Encoding: zstd'": from.URL, "zstdcat events.zst |": to.URL} {
		command := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(start) + ".*$").FindString(read(t, "docs/operations.md"))
		if command == "" {
			t.Fatalf("operations.md has no command that begins with %s", start)
		}
		commands[bus] = strings.NewReplacer("localhost:4005", bus, "events.zst", file, "-l 1000", "-l 10").Replace(command)
	}
	shell(t, commands[from.URL])
	shell(t, commands[to.URL])
	want := harness.Must(source.ListEvents(ctx))(t)
	got := harness.Must(harness.API{BusURL: to.URL}.ListEvents(ctx))(t)
	if fmt.Sprint(got) != fmt.Sprint(want) || len(want) != 25 {
		t.Errorf("restored %v\nfrom %v", got, want)
	}
	if last := harness.Must(harness.Send(ctx, "GET", to.URL+"/events?type=Numbers", ""))(t); !strings.Contains(string(last.Body), numbers) {
		t.Errorf("numbers were changed: %s", last.Body)
	}
}

// TestDamageIsRepairedAsDescribed damages a log in its middle.
func TestDamageIsRepairedAsDescribed(t *testing.T) {
	bus := harness.StartBus(t)
	api := harness.API{BusURL: bus.URL}
	for i := range 20 {
		harness.Must(api.Publish(t.Context(), "CoffeeBrewed", map[string]int{"cups": i}))(t)
	}
	bus.Stop()
	segments, err := filepath.Glob(filepath.Join(bus.Dir, "*.zst"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	text, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(segments[0], text, 0o644); err != nil {
		t.Fatal(err)
	}

	const cure = `restore the log from a backup, or run "event-bus repair `
	if out, err := harness.Run(t, "event-bus", "verify", bus.Dir); err == nil || !strings.Contains(out, cure) {
		t.Errorf("verify says %q, %v", out, err)
	}
	out, err := harness.Run(t, "event-bus", "repair", bus.Dir)
	if err != nil || !strings.HasPrefix(out, "Kept the events up to ") {
		t.Fatalf("repair says %q, %v", out, err)
	}
	verify(t, bus.Dir)
	bus.Start()
	bus.AwaitReady()
	if events := harness.Must(api.ListEvents(t.Context()))(t); len(events) == 0 || len(events) >= 20 {
		t.Errorf("%d events are left of 20", len(events))
	}
}

func verify(t *testing.T, dir string) {
	t.Helper()
	if out, err := harness.Run(t, "event-bus", "verify", dir); err != nil || !strings.Contains(out, "events hold") {
		t.Errorf("verify says %q, %v", out, err)
	}
}

func awaitDecisions(t *testing.T, blog *harness.Blog) {
	t.Helper()
	harness.Eventually(t, 20*time.Second, func() error {
		posts, err := blog.ListBlog(t.Context())
		for _, post := range posts {
			for _, comment := range post.Comments {
				if comment.Status != "approved" {
					err = fmt.Errorf("comment %s is %s", comment.ID, comment.Status)
				}
			}
			if len(post.Comments) == 0 {
				err = fmt.Errorf("post %s has no comment yet", post.ID)
			}
		}
		return err
	})
}

func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// needs skips the test where a program is missing, and fails it in CI.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", program)
	}
	t.Skipf("SKIPPED, NOT CHECKED: %s is missing", program)
}
