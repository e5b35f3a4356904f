package api

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"miniblog/test/openapi"
)

// load reads a document in docs/api.
func load(t *testing.T, name string) any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs/api", name))
	if err != nil {
		t.Fatal(err)
	}
	v, err := openapi.Value(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func TestDescriptionsAreWhatTheirStandardsSay(t *testing.T) {
	for name, meta := range map[string]string{"openapi.yaml": "openapi-3.1.json", "asyncapi.yaml": "asyncapi-3.0.json"} {
		schema, err := jsonschema.NewCompiler().Compile(filepath.Join("testdata", meta))
		if err != nil {
			t.Fatal(err)
		}
		document := load(t, name)
		if err := schema.Validate(document); err != nil {
			t.Errorf("docs/api/%s: %v", name, err)
		}
		object := document.(map[string]any)
		object["info"] = "none"
		if schema.Validate(object) == nil {
			t.Errorf("%s takes a document without a title", meta)
		}
	}
}

// TestReferencesLeadSomewhere is for what no meta-schema looks at.
func TestReferencesLeadSomewhere(t *testing.T) {
	for _, name := range []string{"openapi.yaml", "asyncapi.yaml"} {
		document := load(t, name)
		used := map[string]bool{}
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case []any:
				for _, v := range v {
					walk(v)
				}
			case map[string]any:
				if ref, ok := v["$ref"].(string); ok {
					used[ref] = true
				}
				for _, v := range v {
					walk(v)
				}
			}
		}
		walk(document)
		for ref := range used {
			if file, _, _ := strings.Cut(ref, "#"); file != "" {
				compile(t, strings.TrimPrefix(file, "schemas/"))
			} else if at(document, strings.Split(ref, "/")[1:]...) == nil {
				t.Errorf("docs/api/%s refers to %s, which is not there", name, ref)
			}
		}
		for kind, members := range at(document, "components").(map[string]any) {
			for member := range members.(map[string]any) {
				if !used["#/components/"+kind+"/"+member] {
					t.Errorf("nothing in docs/api/%s refers to components.%s.%s", name, kind, member)
				}
			}
		}
	}
}

// at returns a member of a member, nil if there is none.
func at(v any, keys ...string) any {
	for _, key := range keys {
		object, _ := v.(map[string]any)
		v = object[key]
	}
	return v
}

func TestEveryTypeIsAMessageWithItsSchema(t *testing.T) {
	document := load(t, "asyncapi.yaml")
	messages := at(document, "components", "messages").(map[string]any)
	want := []string{"any"}
	for typ, schema := range ofType {
		want = append(want, typ)
		if ref := at(messages, typ, "payload", "schema", "$ref"); ref != "schemas/"+schema {
			t.Errorf("the payload of %s is %v, not schemas/%s", typ, ref, schema)
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(messages)); !slices.Equal(got, want) {
		t.Errorf("the messages are %v, not %v", got, want)
	}
	if got := slices.Sorted(maps.Keys(at(document, "channels", "log", "messages").(map[string]any))); !slices.Equal(got, want) {
		t.Errorf("the log carries %v, not %v", got, want)
	}
}

func TestVendoredFilesAreUnchanged(t *testing.T) {
	table, err := os.ReadFile("testdata/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*")
	if err != nil || len(files) < 3 {
		t.Fatalf("testdata has %v, %v", files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		switch {
		case name == "README.md":
		case !strings.Contains(string(table), "`"+name+"`"):
			t.Errorf("testdata/README.md does not say where %s comes from", name)
		case strings.HasSuffix(name, ".json") && !strings.Contains(string(table), hex.EncodeToString(sum[:])):
			t.Errorf("%s is not the file that testdata/README.md names", name)
		}
	}
}
