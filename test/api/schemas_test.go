package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"miniblog/test/harness"
)

const schemas = "../../docs/api/schemas"

// ofType names the schema of each type of event that the blog publishes.
var ofType = map[string]string{
	"PostCreated":      "post-created.json",
	"CommentCreated":   "comment-created.json",
	"CommentModerated": "comment-moderated.json",
	"CommentUpdated":   "comment-updated.json",
}

// compile returns a schema by the name of its file. A schema that is not valid
// by its own meta-schema ends the test.
func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(filepath.Join(schemas, name))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// value decodes JSON as the schemas want it: numbers keep their digits.
func value(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
	return v
}

func TestSchemasAreValidAndSoAreTheirExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(schemas, "*.json"))
	if err != nil || len(files) < len(ofType) {
		t.Fatalf("the schemas are %v, %v", files, err)
	}
	for _, file := range files {
		schema := compile(t, filepath.Base(file))
		for _, example := range schema.Examples {
			if err := schema.Validate(example); err != nil {
				t.Errorf("%s: its example: %v", file, err)
			}
		}
	}
	for typ, name := range ofType {
		schema := compile(t, name)
		if schema.Title != typ || len(schema.Examples) == 0 {
			t.Errorf("%s is called %q and has %d examples; it is the schema of %s and needs one", name, schema.Title, len(schema.Examples), typ)
		}
	}
}

func TestEveryEventOfTheBlogFitsTheSchemaOfItsType(t *testing.T) {
	blog := harness.StartBlog(t, harness.Config{})
	post := blog.MustPost(t, "A post")
	for _, content := range []string{"A fine apple", "An orange", strings.Repeat("ä", 10_000)} {
		blog.MustComment(t, post.ID, content)
	}
	const events = 1 + 3*3 // a post; three comments, each created, moderated and updated
	var all []json.RawMessage
	harness.Eventually(t, 30*time.Second, func() error {
		answer, err := harness.Send(t.Context(), "GET", blog.BusURL+"/events", "")
		if err != nil {
			return err
		}
		if err := json.Unmarshal(answer.Body, &all); err != nil {
			return fmt.Errorf("%d %.300s: %w", answer.Status, answer.Body, err)
		}
		if len(all) != events {
			return fmt.Errorf("the log has %d events, not %d", len(all), events)
		}
		return nil
	})
	stored, seen := compile(t, "stored.json"), map[string]bool{}
	for _, text := range all {
		e := value(t, text)
		typ, _ := e.(map[string]any)["type"].(string)
		seen[typ] = true
		for what, schema := range map[string]*jsonschema.Schema{"stored.json": stored, ofType[typ]: compile(t, ofType[typ])} {
			if err := schema.Validate(e); err != nil {
				t.Errorf("%s does not describe %.400s: %v", what, text, err)
			}
		}
	}
	for typ := range ofType {
		if !seen[typ] {
			t.Errorf("no %s was in the log", typ)
		}
	}
}

func TestSchemasRefuseWhatTheBlogNeverPublishes(t *testing.T) {
	good := func(change string) []byte {
		from, to, _ := strings.Cut(change, " -> ")
		const event = `{"specversion":"1.0","sequence":"00000000000000000002","id":"c","type":"CommentCreated","source":"/comments","time":"2026-11-20T17:35:43.779Z","subject":"p","data":{"id":"c","content":"Well said.","postId":"p","status":"pending"}}`
		if !strings.Contains(event, from) {
			t.Fatalf("%q is not in the event", from)
		}
		return []byte(strings.Replace(event, from, to, 1))
	}
	schema := compile(t, "stored.json")
	if err := schema.Validate(value(t, good(" -> "))); err != nil {
		t.Fatalf("the event that is right is refused: %v", err)
	}
	for what, change := range map[string]string{
		"a sequence that is short":      `"00000000000000000002" -> "2"`,
		"a sequence that is a number":   `"00000000000000000002" -> 2`,
		"another version of the format": `"1.0" -> "0.3"`,
		"a time that is none":           `2026-11-20T17 -> yesterday`,
		"no id":                         `"id":"c","type" -> "type"`,
		"a status that is unknown":      `"pending" -> "maybe"`,
		"a comment that is decided":     `"pending" -> "approved"`,
		"no content":                    `"content":"Well said.", -> `,
		"a content that is no text":     `"Well said." -> 7`,
		"a type that it never has":      `"CommentCreated" -> "PostCreated"`,
	} {
		if err := schema.Validate(value(t, good(change))); err == nil {
			t.Errorf("%s is not noticed", what)
		}
	}
	stranger := []byte(`{"specversion":"1.0","sequence":"00000000000000000002","id":"c","type":"CommentCreated","source":"/elsewhere","time":"2026-11-20T17:35:43.779Z","data":[]}`)
	if err := schema.Validate(value(t, stranger)); err != nil {
		t.Errorf("an event of somebody else is refused, of which only the envelope is promised: %v", err)
	}
}
