package deploy

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"miniblog/test/harness"
)

// images are the six images, built by buildah into a store of their own.
type images struct {
	env    []string          // for buildah
	mounts map[string]string // by service: the folder with its image's files
}

// image is what buildah says about an image.
type image struct {
	OCIv1 struct {
		Config struct {
			User         string
			ExposedPorts map[string]struct{}
			Env          []string
			Entrypoint   []string
			Labels       map[string]string
		} `json:"config"`
	}
}

// buildImages builds the six images as `make images` does, but for the base of
// their build stage: this machine's own Go.
func buildImages(t *testing.T) *images {
	t.Helper()
	needs(t, "buildah", "buildah")
	if os.Getuid() != 0 {
		skip(t, "building images without a registry needs root")
	}
	store := t.TempDir()
	config := filepath.Join(store, "storage.conf")
	text := fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(store, "graph"), filepath.Join(store, "run"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	i := &images{env: append(os.Environ(), "CONTAINERS_STORAGE_CONF="+config, "BUILDAH_ISOLATION=chroot"), mounts: map[string]string{}}
	i.build(t)
	t.Cleanup(func() { i.buildah(t, "rm", "--all") }) // unmounts, too
	for _, name := range names {
		i.mounts[name] = i.mount(t, name)
	}
	return i
}

// build runs the script, without keeping layers for a next time.
func (i *images) build(t *testing.T, options ...string) {
	t.Helper()
	build := exec.Command(filepath.Join(root, "infra/images-offline.sh"), append([]string{"--layers=false"}, options...)...)
	build.Env = i.env
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("infra/images-offline.sh: %v\n%s", err, out)
	}
}

// mount returns a folder with the files of an image.
func (i *images) mount(t *testing.T, service string) string {
	t.Helper()
	container := strings.TrimSpace(i.buildah(t, "from", "--pull-never", "docker.io/miniblog/"+service+":1.0.0"))
	return strings.TrimSpace(i.buildah(t, "mount", container))
}

func (i *images) buildah(t *testing.T, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command("buildah", args...)
	cmd.Env, cmd.Stderr = i.env, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func (i *images) inspect(t *testing.T, service string) image {
	t.Helper()
	var found image
	if err := json.Unmarshal([]byte(i.buildah(t, "inspect", "--type", "image", "docker.io/miniblog/"+service+":1.0.0")), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// run is the image's program as its user, on the image's files and nothing
// else, all of which are read-only but for an empty folder at /data.
func (i *images) run(t *testing.T, service string, variables []string) *exec.Cmd {
	t.Helper()
	config := i.inspect(t, service).OCIv1.Config
	data, mounted := t.TempDir(), i.mounts[service]
	if err := os.Chown(data, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	for k, variable := range variables { // a file to read is put where the image can see it
		if name, file, _ := strings.Cut(variable, "="); strings.HasSuffix(name, "_FILE") {
			if err := os.WriteFile(filepath.Join(data, filepath.Base(file)), read(t, file), 0o644); err != nil {
				t.Fatal(err)
			}
			variables[k] = name + "=/data/" + filepath.Base(file)
		}
	}
	const script = `set -e; root=$1 data=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
[ ! -d "$root/data" ] || mount --bind "$data" "$root/data"
exec chroot --userspec="$user" "$root" "$@"`
	args := append([]string{"--mount", "sh", "-c", script, "sh", mounted, data, config.User}, config.Entrypoint...)
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(slices.Clone(config.Env), variables...)
	return cmd
}

func TestImagesHoldTheirProgramAndNothingElse(t *testing.T) {
	built := buildImages(t)
	for _, name := range names {
		config := built.inspect(t, name).OCIv1.Config
		program := readProgram(t, name)
		if config.User != "65532:65532" || !slices.Equal(config.Entrypoint, []string{"/" + name}) {
			t.Errorf("%s runs %q as %q", name, config.Entrypoint, config.User)
		}
		if _, exposed := config.ExposedPorts[fmt.Sprintf("%d/tcp", program.port)]; !exposed || len(config.ExposedPorts) != 1 {
			t.Errorf("%s exposes %v, want %d", name, config.ExposedPorts, program.port)
		}
		for _, label := range []string{"title", "description", "version", "revision"} {
			if config.Labels["org.opencontainers.image."+label] == "" {
				t.Errorf("%s has no label %s", name, label)
			}
		}
		size := int64(0)
		var files []string
		err := filepath.WalkDir(built.mounts[name], func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			size += info.Size()
			files = append(files, strings.TrimPrefix(path, built.mounts[name]))
			return err
		})
		if err != nil || !slices.Equal(files, []string{"/" + name}) {
			t.Errorf("%s holds the files %q (%v), want its program alone", name, files, err)
		}
		const most = 25 << 20
		t.Logf("%s: %.1f MB", name, float64(size)/1e6)
		if size > most {
			t.Errorf("%s has %d bytes, at most %d are allowed", name, size, most)
		}
	}

	// The same images, so that they are built once.
	t.Run("they run the blog, read-only and as their user", func(t *testing.T) {
		blog := startBlog(t, built.run)
		api := harness.API{PostsURL: "http://" + blog.addr["posts"], CommentsURL: "http://" + blog.addr["comments"], QueryURL: "http://" + blog.addr["query"]}
		post := api.MustPost(t, "From an image")
		api.MustComment(t, post.ID, "Fine")
		harness.Eventually(t, limit, func() error {
			posts, err := api.ListBlog(t.Context())
			if err != nil || len(posts) != 1 || len(posts[0].Comments) != 1 || posts[0].Comments[0].Status != "approved" {
				return fmt.Errorf("the comment is not approved: %+v %v", posts, err)
			}
			return nil
		})
		for _, name := range names {
			check := built.run(t, name, []string{"ADDR=" + blog.addr[name]})
			check.Args = append(check.Args, "ready")
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("the health check of %s: %v %s", name, err, out)
			}
		}
	})

	t.Run("skaffold's image of the client serves the page from a folder", func(t *testing.T) {
		built.env = append(built.env, "SERVICES=client")
		built.build(t, "--target", "dev")
		config := built.inspect(t, "client").OCIv1.Config
		page := filepath.Join(built.mount(t, "client"), "page")
		if info, err := os.Stat(filepath.Join(page, "index.html")); err != nil || !slices.Contains(config.Env, "PAGE_DIR=/page") {
			t.Fatalf("no page at /page: %v %v %q", info, err, config.Env)
		}
		owner, err := exec.Command("stat", "--format=%u:%g", page).Output()
		if err != nil || strings.TrimSpace(string(owner)) != config.User || config.User != "65532:65532" {
			t.Errorf("the page belongs to %s (%v), the program runs as %s: skaffold could not replace a file", owner, err, config.User)
		}
	})
}
