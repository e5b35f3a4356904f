package projection

import (
	"fmt"
	"iter"
	"net/http"

	"zombiezen.com/go/sqlite"

	"miniblog/internal/event"
	"miniblog/internal/wire"
)

// Tx is a transaction of one connection, which one goroutine uses at a time. Its
// statements are prepared once per connection. Their arguments, and what columns are
// read into, are a string, an int, an int64, or an event's Status or Sequence.
//
// A limit that is bound is written LIMIT +?. SQLite looks at the value of a plain ?
// there when it plans a statement, and so plans it anew each time that one is bound,
// which takes longer than most statements do.
type Tx struct{ conn *sqlite.Conn }

// bind returns a statement that is ready to be stepped.
func (tx *Tx) bind(query string, args []any) (*sqlite.Stmt, error) {
	s, err := tx.conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	if n := s.BindParamCount(); n != len(args) {
		return nil, fmt.Errorf("%d arguments where %d belong in %s", len(args), n, query)
	}
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			s.BindText(i+1, v)
		case int:
			s.BindInt64(i+1, int64(v))
		case int64:
			s.BindInt64(i+1, v)
		case event.Status:
			s.BindText(i+1, string(v))
		case event.Sequence:
			s.BindInt64(i+1, int64(v))
		default:
			return nil, fmt.Errorf("argument %d cannot be a %T in %s", i+1, arg, query)
		}
	}
	return s, nil
}

// Exec runs a statement.
func (tx *Tx) Exec(query string, args ...any) error {
	s, err := tx.bind(query, args)
	if err != nil {
		return err
	}
	for more := true; more && err == nil; {
		more, err = s.Step()
	}
	if err != nil {
		return err // it has been reset
	}
	return s.Reset()
}

// Insert runs a statement that inserts one row, unless it is there, and returns
// the new row's id.
func (tx *Tx) Insert(query string, args ...any) (id int64, added bool, err error) {
	if err := tx.Exec(query, args...); err != nil || tx.conn.Changes() == 0 {
		return 0, false, err
	}
	return tx.conn.LastInsertRowID(), true, nil
}

// Query returns the rows of a query. It runs with each loop over them and ends with
// the loop, inside which it must not run again. What fails is an error in the place
// of a row.
func (tx *Tx) Query(query string, args ...any) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		s, err := tx.bind(query, args)
		if err != nil {
			yield(Row{}, err)
			return
		}
		defer s.Reset()
		for {
			more, err := s.Step()
			if !more && err == nil || !yield(Row{s}, err) || err != nil {
				return
			}
		}
	}
}

// Get scans the first row of a query into dest and tells whether there was one.
func (tx *Tx) Get(query string, args []any, dest ...any) (found bool, err error) {
	s, err := tx.bind(query, args)
	if err != nil {
		return false, err
	}
	defer s.Reset()
	if found, err = s.Step(); found {
		err = Row{s}.Scan(dest...)
	}
	return found && err == nil, err
}

// Row is a row of a query.
type Row struct{ stmt *sqlite.Stmt }

// Scan reads the columns of the row into dest.
func (r Row) Scan(dest ...any) error {
	if n := r.stmt.ColumnCount(); n != len(dest) {
		return fmt.Errorf("%d columns are read where there are %d", len(dest), n)
	}
	for i, d := range dest {
		switch d := d.(type) {
		case *string:
			*d = r.stmt.ColumnText(i)
		case *int:
			*d = r.stmt.ColumnInt(i)
		case *int64:
			*d = r.stmt.ColumnInt64(i)
		case *event.Status:
			*d = event.Status(r.stmt.ColumnText(i))
		case *event.Sequence:
			*d = event.Sequence(r.stmt.ColumnInt64(i))
		default:
			return fmt.Errorf("column %d cannot be read into a %T", i+1, d)
		}
	}
	return nil
}

// Checkpoint returns the log that the data is from, "" if that has none or is not
// known yet, and the sequence of the last event that the data reflects.
func (tx *Tx) Checkpoint() (log string, sequence event.Sequence, err error) {
	_, err = tx.Get("SELECT log, sequence FROM checkpoint", nil, &log, &sequence)
	return named(log), sequence, err
}

// Describe says in an answer's header which state of the data it reflects.
func (tx *Tx) Describe(header http.Header) error {
	log, sequence, err := tx.Checkpoint()
	header.Set("Event-Sequence", sequence.String())
	if log != "" {
		header.Set(wire.LogHeader, log)
	}
	return err
}

// do runs f between begin and COMMIT; an error of f or of the commit takes
// everything back.
func (tx *Tx) do(begin string, f func() error) error {
	if err := tx.Exec(begin); err != nil {
		return err
	}
	committed := false
	defer func() { // also when f panics: the connection is used again
		if !committed {
			tx.Exec("ROLLBACK") // fails if SQLite has rolled back by itself
		}
	}()
	if err := f(); err != nil {
		return err
	}
	if err := tx.Exec("COMMIT"); err != nil {
		return err
	}
	committed = true
	return nil
}
