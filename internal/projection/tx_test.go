package projection_test

import (
	"strings"
	"testing"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/projection"
)

func TestAQueryEndsWithItsLoop(t *testing.T) {
	read(t, func(tx *projection.Tx) {
		for range 2 { // the second finds the statement as the first has left it
			var first string
			for row, err := range tx.Query("SELECT value FROM json_each('[\"a\",\"b\"]')") {
				if err != nil {
					t.Fatal(err)
				}
				if err := row.Scan(&first); err != nil {
					t.Fatal(err)
				}
				break
			}
			if first != "a" {
				t.Errorf("the first row is %q, want a", first)
			}
		}
	})
}

func TestAQueryThatFailsInTheMiddleSaysSo(t *testing.T) {
	read(t, func(tx *projection.Tx) {
		var rows int
		var failed error
		for row, err := range tx.Query("SELECT abs(value) FROM json_each('[1,-9223372036854775808,3]')") { // the second has no absolute value
			if failed = err; err == nil {
				var n int
				if err := row.Scan(&n); err != nil {
					t.Fatal(err)
				}
				rows++
			}
		}
		if rows != 1 || failed == nil || !strings.Contains(failed.Error(), "overflow") {
			t.Errorf("%d rows and then %v, want one and then integer overflow", rows, failed)
		}
		if _, err := tx.Get("SELECT abs(-9223372036854775808)", nil, &rows); err == nil {
			t.Error("Get of what fails says nothing")
		}
	})
}

func TestWhatIsBoundIsRead(t *testing.T) {
	read(t, func(tx *projection.Tx) {
		text, n, long, status, sequence := "", 0, int64(0), event.Status(""), event.Sequence(0)
		found, err := tx.Get("SELECT ?, ?, ?, ?, ?", []any{"ü\x00€", -1, int64(1) << 62, event.Approved, event.Sequence(7)}, &text, &n, &long, &status, &sequence)
		if !found || err != nil || text != "ü\x00€" || n != -1 || long != 1<<62 || status != event.Approved || sequence != 7 {
			t.Errorf("read %q, %d, %d, %q, %d, %v, %v", text, n, long, status, sequence, found, err)
		}
		if found, err := tx.Get("SELECT 1 WHERE ? = 'b'", []any{"a"}, &n); found || err != nil {
			t.Errorf("a query without a row: %v, %v", found, err)
		}
	})
}

func TestArgumentsAndColumnsThatDoNotFitAreErrors(t *testing.T) {
	read(t, func(tx *projection.Tx) {
		var n int
		for name, err := range map[string]error{
			"too few arguments":  get(tx, "SELECT ?, ?", []any{1}, &n, &n),
			"too many arguments": get(tx, "SELECT 1", []any{1}, &n),
			"another type":       get(tx, "SELECT ?", []any{1.5}, &n),
			"too few columns":    get(tx, "SELECT 1", nil, &n, &n),
			"a column too many":  get(tx, "SELECT 1, 2", nil, &n),
			"another column":     get(tx, "SELECT 1", nil, new(bool)),
			"no statement":       get(tx, "SELECT FROM", nil, &n),
			"two statements":     get(tx, "SELECT 1; SELECT 2", nil, &n),
		} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
}

func get(tx *projection.Tx, query string, args []any, dest ...any) error {
	_, err := tx.Get(query, args, dest...)
	return err
}

func read(t *testing.T, f func(*projection.Tx)) {
	t.Helper()
	v := start(t, bustest.New(t), t.TempDir())
	if err := v.Read(t.Context(), func(tx *projection.Tx) error { f(tx); return nil }); err != nil {
		t.Error(err)
	}
}
