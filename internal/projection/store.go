package projection

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"miniblog/internal/bus"
	"miniblog/internal/disk"
	"miniblog/internal/event"
	"miniblog/internal/wire"
)

// readers is how many reads may run at once; more of them wait.
const readers = 4

// store is one database file and its connections: one that writes, some that
// read. All of it is derived from the log, so a file that is of no use is
// removed, never repaired.
type store struct {
	db      *sql.DB
	writer  *Tx
	readers chan *Tx // idle; nil where none was opened yet

	// The projection's mutex write guards where the data is.
	log     string         // that the data is from; "" before the first event
	applied bus.Checkpoint // everything up to it is in the data, or does not matter to it
	saved   event.Sequence // the checkpoint in the file

	path string
	file *os.File // of snapshots; nil before the first
}

// openFile returns the database file. It is opened once, and closed after the last
// connection: closing it before would take SQLite's locks off the file.
func (s *store) openFile() (_ *os.File, err error) {
	if s.file == nil {
		s.file, err = os.Open(s.path)
	}
	return s.file, err
}

// schemaVersion names a schema: any change of its text is another version.
func schemaVersion(schema string) int64 {
	return int64(crc32.ChecksumIEEE([]byte(schema+checkpointSchema)) >> 1)
}

// checkpointSchema is part of every schema. id is that of the event at the
// checkpoint, "" if it is not known.
const checkpointSchema = `
	;
	CREATE TABLE checkpoint (log TEXT NOT NULL, sequence INTEGER NOT NULL, id TEXT NOT NULL);
	INSERT INTO checkpoint VALUES ('', 0, '');`

// Tx is a transaction. Its statements are prepared once per connection.
//
// A limit that is bound is written LIMIT +?. SQLite looks at the value of a plain ?
// there when it plans a statement, and so plans it anew each time that one is bound,
// which takes longer than most statements do.
type Tx struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// background is the context of statements: they are short, and one that can
// be interrupted costs a goroutine.
var background = context.Background()

func (tx *Tx) stmt(query string) (*sql.Stmt, error) {
	if s, ok := tx.stmts[query]; ok {
		return s, nil
	}
	s, err := tx.conn.PrepareContext(background, query)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, query)
	}
	tx.stmts[query] = s
	return s, nil
}

// close closes the connection; statements that are left open would keep the
// database open, unseen.
func (tx *Tx) close() error {
	for _, s := range tx.stmts {
		s.Close()
	}
	return tx.conn.Close()
}

// Exec runs a statement.
func (tx *Tx) Exec(query string, args ...any) (sql.Result, error) {
	s, err := tx.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(background, args...)
}

// Insert runs a statement that inserts one row, unless it is there, and returns
// the new row's id.
func (tx *Tx) Insert(query string, args ...any) (id int64, added bool, err error) {
	result, err := tx.Exec(query, args...)
	if err != nil {
		return 0, false, err
	}
	n, err := result.RowsAffected()
	if err != nil || n == 0 {
		return 0, false, err
	}
	id, err = result.LastInsertId()
	return id, err == nil, err
}

// Query runs a query; its rows must be closed before the transaction ends.
func (tx *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	s, err := tx.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(background, args...)
}

// Get scans the first row of a query into dest and tells whether there was one.
func (tx *Tx) Get(query string, args []any, dest ...any) (bool, error) {
	s, err := tx.stmt(query)
	if err != nil {
		return false, err
	}
	err = s.QueryRowContext(background, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Checkpoint returns the log that the data is from, "" if that has none or is not
// known yet, and the sequence of the last event that the data reflects.
func (tx *Tx) Checkpoint() (log string, sequence event.Sequence, err error) {
	var n int64
	_, err = tx.Get("SELECT log, sequence FROM checkpoint", nil, &log, &n)
	return named(log), event.Sequence(n), err
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
	if _, err := tx.Exec(begin); err != nil {
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
	if _, err := tx.Exec("COMMIT"); err != nil {
		return err
	}
	committed = true
	return nil
}

const databaseFile = "projection.db"

// openStore opens the database in dir, made for schema; one that was made for
// another schema or cannot be read is replaced by an empty one.
func openStore(dir, schema string) (s *store, replaced error, err error) {
	s, err = tryStore(dir, databaseFile, schema, serving)
	if errors.Is(err, errSchema) || damaged(err) {
		replaced = err
		if err = removeStore(dir, databaseFile); err == nil {
			s, err = tryStore(dir, databaseFile, schema, serving)
		}
	}
	return s, replaced, err
}

var errSchema = errors.New("it was made by another version of this service")

// What a database is opened for: to be read while it changes, or to be filled, by
// this process alone and without a way back. A page in a cache takes twice its size:
// this driver's memory comes in powers of two, and a page has a header.
var (
	serving = url.Values{"_pragma": { // 8000 pages are as long as a log may stay
		"busy_timeout(5000)", "journal_mode(wal)", "synchronous(normal)", "cache_size(-16000)",
		"wal_autocheckpoint(8000)", "journal_size_limit(33554432)", "temp_store(memory)"}}
	building = url.Values{"_pragma": {
		"locking_mode(exclusive)", "journal_mode(off)", "synchronous(off)", "cache_size(-32000)", "temp_store(memory)"}}
)

func tryStore(dir, file, schema string, pragmas url.Values) (_ *store, err error) {
	path, err := filepath.Abs(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: pragmas.Encode()}).String())
	if err != nil {
		return nil, err
	}
	s := &store{db: db, path: path, readers: make(chan *Tx, readers)}
	for range readers {
		s.readers <- nil
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.writer, err = s.connect(""); err != nil {
		return nil, err
	}
	version := schemaVersion(schema)
	var found, tables int64
	if _, err = s.writer.Get("PRAGMA user_version", nil, &found); err != nil {
		return nil, err
	}
	if _, err = s.writer.Get("SELECT count(*) FROM sqlite_schema", nil, &tables); err != nil {
		return nil, err
	}
	switch {
	case tables == 0:
		err = s.writer.do("BEGIN IMMEDIATE", func() error {
			_, err := s.writer.conn.ExecContext(background, schema+checkpointSchema+"PRAGMA user_version = "+fmt.Sprint(version))
			return err
		})
	case found != version:
		err = errSchema
	}
	if err != nil {
		return nil, err
	}
	var n int64
	ok, err := s.writer.Get("SELECT log, sequence, id FROM checkpoint", nil, &s.log, &n, &s.applied.ID)
	if err == nil && !ok {
		err = errSchema
	}
	s.applied.Sequence, s.saved = event.Sequence(n), event.Sequence(n)
	return s, err
}

func (s *store) connect(pragmas string) (*Tx, error) {
	conn, err := s.db.Conn(background)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(background, pragmas); err != nil {
		conn.Close()
		return nil, err
	}
	return &Tx{conn: conn, stmts: make(map[string]*sql.Stmt)}, nil
}

// read runs f in a transaction that sees one state of the data.
func (s *store) read(ctx context.Context, f func(*Tx) error) (err error) {
	var tx *Tx
	select {
	case tx = <-s.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.readers <- tx }()
	if tx == nil {
		if tx, err = s.connect("PRAGMA cache_size = -4000; PRAGMA query_only = 1"); err != nil {
			return err
		}
	}
	return tx.do("BEGIN", func() error { return f(tx) })
}

// close gives everything back, once the reads that run have ended.
func (s *store) close() error {
	var errs []error
	for range readers {
		if tx := <-s.readers; tx != nil {
			errs = append(errs, tx.close())
		}
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	errs = append(errs, s.db.Close())
	if s.file != nil {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}

// removeStore removes a database's files. The data goes before its write-ahead
// log: SQLite empties a log whose database is missing, but a database may be of no
// use without its log.
func removeStore(dir, file string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := remove(filepath.Join(dir, file+suffix)); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a file that may not be there.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// unusable is the error for a folder whose database cannot be opened. SQLite does
// not say why; opening the files does.
func unusable(dir string, err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_CANTOPEN {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			f, why := os.OpenFile(filepath.Join(dir, databaseFile+suffix), os.O_RDWR, 0)
			if why == nil {
				f.Close()
			} else if !errors.Is(why, fs.ErrNotExist) {
				err = fmt.Errorf("%w: %w", err, why)
				break
			}
		}
	}
	return fmt.Errorf("opening the database in DATA_DIR=%q: %w", dir, disk.OfOwner(err))
}

// damaged tells whether err says that the file itself is of no use.
func damaged(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}
