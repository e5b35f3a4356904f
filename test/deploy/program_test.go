package deploy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// program is what a service's source and Dockerfile say about it.
type program struct {
	port       int               // its default one, in main.go
	variables  map[string]bool   // environment variables that it reads
	entrypoint string            // of its image
	exposed    int               // by its image
	image      map[string]string // environment variables that its image sets
	stages     map[string]bool   // named ones of its Dockerfile
}

var (
	mainCall   = regexp.MustCompile(`service\.Main\("([a-z-]+)", "localhost:(\d+)"`)
	variable   = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`)
	entrypoint = regexp.MustCompile(`(?m)^ENTRYPOINT \["([^"]+)"\]$`)
	expose     = regexp.MustCompile(`(?m)^EXPOSE (\d+)$`)
	imageEnv   = regexp.MustCompile(`(?m)^ENV (.*)$`)
	stage      = regexp.MustCompile(`(?m)^FROM .* AS (\S+)$`)
)

// readProgram reads the source of a service, with what it imports of this
// module, and its Dockerfile.
func readProgram(t *testing.T, name string) *program {
	t.Helper()
	p := &program{variables: map[string]bool{}, image: map[string]string{}, stages: map[string]bool{}}
	for _, dir := range packageFolders(t)[name] {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			source := read(t, path)
			if m := mainCall.FindSubmatch(source); m != nil {
				if string(m[1]) != name {
					t.Errorf("%s calls itself %s", path, m[1])
				}
				p.port, _ = strconv.Atoi(string(m[2]))
			}
			for _, literal := range stringLiterals(t, path, source) {
				if variable.MatchString(literal) {
					p.variables[literal] = true
				}
			}
		}
	}
	dockerfile := string(read(t, filepath.Join(root, name, "Dockerfile")))
	final := dockerfile[strings.LastIndex(dockerfile, "\nFROM "):]
	if m := entrypoint.FindStringSubmatch(final); m != nil {
		p.entrypoint = m[1]
	}
	if m := expose.FindStringSubmatch(final); m != nil {
		p.exposed, _ = strconv.Atoi(m[1])
	}
	for _, m := range imageEnv.FindAllStringSubmatch(final, -1) {
		for pair := range strings.FieldsSeq(m[1]) {
			key, value, _ := strings.Cut(pair, "=")
			p.image[key] = value
		}
	}
	for _, m := range stage.FindAllStringSubmatch(dockerfile, -1) {
		p.stages[m[1]] = true
	}
	return p
}

func stringLiterals(t *testing.T, path string, source []byte) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(node ast.Node) bool {
		if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				found = append(found, text)
			}
		}
		return true
	})
	return found
}

// packageFolders lists, by service, the folders of the packages that are built
// into it and belong to this module.
var packageFolders = func() func(*testing.T) map[string][]string {
	list := sync.OnceValues(func() (map[string][]string, error) {
		folders := map[string][]string{}
		for _, name := range names {
			out, err := exec.Command("go", "list", "-deps", "-f", `{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}`, "miniblog/"+name).Output()
			if err != nil {
				return nil, err
			}
			folders[name] = strings.Fields(string(out))
		}
		return folders, nil
	})
	return func(t *testing.T) map[string][]string {
		t.Helper()
		folders, err := list()
		if err != nil {
			t.Fatalf("listing the packages of the services: %v", err)
		}
		return folders
	}
}()

func TestImagesListenWhereTheirProgramSays(t *testing.T) {
	for _, name := range names {
		p := readProgram(t, name)
		if p.port == 0 || p.exposed != p.port || p.image["ADDR"] != ":"+strconv.Itoa(p.port) {
			t.Errorf("%s listens on %d by default, its Dockerfile exposes %d and sets ADDR=%s: these must agree", name, p.port, p.exposed, p.image["ADDR"])
		}
		if p.entrypoint != "/"+name {
			t.Errorf("%s/Dockerfile: ENTRYPOINT is %q, want /%s", name, p.entrypoint, name)
		}
		for key := range p.image {
			if !p.variables[key] {
				t.Errorf("%s/Dockerfile sets %s, which %s does not read", name, key, name)
			}
		}
		if _, set := p.image["DATA_DIR"]; set != p.variables["DATA_DIR"] {
			t.Errorf("%s/Dockerfile sets DATA_DIR: %v; %s reads it: %v", name, set, name, p.variables["DATA_DIR"])
		}
	}
}
