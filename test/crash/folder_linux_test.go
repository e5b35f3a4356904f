package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"miniblog/test/harness"
)

// TestFolderThatCannotBeUsedIsSaid: a service whose DATA_DIR is of no use ends at once,
// with a sentence that names it and says what to do. Of files that belong to somebody
// else it said no more than that they cannot be opened.
func TestFolderThatCannotBeUsedIsSaid(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("setpriv"); err != nil || os.Getuid() != 0 {
		t.Skip("NOT CHECKED: other users and file systems need root, and setpriv of util-linux")
	}
	readOnly := t.TempDir()
	if err := unix.Mount("none", readOnly, "tmpfs", 0, "size=1m"); errors.Is(err, unix.EPERM) {
		t.Skip("NOT CHECKED: a file system that cannot be written to needs the right to mount one")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(readOnly, unix.MNT_DETACH) })
	if err := unix.Mount("none", readOnly, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"event-bus", "posts", "comments", "query"} {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		const usable = "name one that this user may write to"
		for what, c := range map[string]struct{ dir, say string }{
			"a file system that is read-only": {readOnly, usable},
			"a folder in one":                 {filepath.Join(readOnly, "below"), usable},
			"a file":                          {file, usable},
			"a folder below a file":           {filepath.Join(file, "below"), usable},
			"the kernel's":                    {"/proc", usable},
			"another user's":                  {another(t, 0o755, nil), usable},
			"another user's lock in it":       {another(t, 0o777, map[string]string{"lock": ""}), "belong to the user that runs this service"},
			"another user's data in it": {another(t, 0o777, map[string]string{
				"projection.db": "x", "id": "x", "00000000000000000001.active.zst": "x"}), "belong to the user that runs this service"},
		} {
			t.Run(program+" with "+what, func(t *testing.T) {
				out := ended(t, program, c.dir)
				if want := fmt.Sprintf("%s cannot run: ", program); !strings.Contains(out, want) || !strings.Contains(out, c.dir) || !strings.Contains(out, c.say) {
					t.Errorf("it says %q, want %q, the folder, and %q", out, want, c.say)
				}
			})
		}
	}
}

// another returns a folder with files, all of another user.
func another(t *testing.T, mode os.FileMode, files map[string]string) (dir string) {
	t.Helper()
	const user = 12345
	dir = t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chown(path, user, user)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chown(dir, user, user), os.Chmod(dir, mode)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ended runs a service that has to end by itself, without root's right to everybody's
// files, and returns what it wrote.
func ended(t *testing.T, program, dir string) string {
	t.Helper()
	run := harness.Command(t, program)
	rights := "-dac_override,-dac_read_search,-fowner,-chown"
	command := exec.CommandContext(t.Context(), "setpriv", "--bounding-set", rights, "--inh-caps", rights, run.Path)
	command.Env = append(os.Environ(), "DATA_DIR="+dir, "ADDR="+harness.FreeAddress(t), "EVENT_BUS_URL=http://"+harness.FreeAddress(t))
	command.Dir = t.TempDir()
	out, err := command.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	return string(out)
}
