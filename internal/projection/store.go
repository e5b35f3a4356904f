package projection

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"miniblog/internal/bus"
	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// readers is how many reads may run at once; more of them wait.
const readers = 4

// store is one database file and its connections: one that writes, some that
// read. All of it is derived from the log, so a file that is of no use is
// removed, never repaired.
type store struct {
	pragmas []string // of each connection
	writer  *Tx
	reading chan struct{} // holds one for each read that runs

	idleMu sync.Mutex
	idle   []*Tx // to read with; the last was used last, and knows most of the data

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
	serving = []string{ // 8000 pages are as long as a log may stay
		"journal_mode = wal", "synchronous = normal", "cache_size = -16000",
		"wal_autocheckpoint = 8000", "journal_size_limit = 33554432", "temp_store = memory"}
	building = []string{
		"locking_mode = exclusive", "journal_mode = off", "synchronous = off", "cache_size = -16000", "temp_store = memory"}
)

func tryStore(dir, file, schema string, pragmas []string) (_ *store, err error) {
	path, err := filepath.Abs(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	s := &store{pragmas: pragmas, path: path, reading: make(chan struct{}, readers)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.writer, err = s.connect(); err != nil {
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
			return sqlitex.ExecuteScript(s.writer.conn, schema+checkpointSchema+"PRAGMA user_version = "+fmt.Sprint(version), nil)
		})
	case found != version:
		err = errSchema
	}
	if err != nil {
		return nil, err
	}
	ok, err := s.writer.Get("SELECT log, sequence, id FROM checkpoint", nil, &s.log, &s.applied.Sequence, &s.applied.ID)
	if err == nil && !ok {
		err = errSchema
	}
	s.saved = s.applied.Sequence
	return s, err
}

// busyWait is how long a connection waits for the lock of another.
const busyWait = 5 * time.Second

// connect opens a connection, with more pragmas after those of the database.
func (s *store) connect(more ...string) (*Tx, error) {
	conn, err := sqlite.OpenConn(s.path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(busyWait)
	for _, pragma := range slices.Concat(s.pragmas, more) {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+pragma, nil); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return &Tx{conn}, nil
}

// read runs f in a transaction that sees one state of the data.
func (s *store) read(ctx context.Context, f func(*Tx) error) error {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tx, err := s.reader()
	if err != nil {
		return err
	}
	defer func() {
		s.idleMu.Lock()
		defer s.idleMu.Unlock()
		s.idle = append(s.idle, tx)
	}()
	return tx.do("BEGIN", func() error { return f(tx) })
}

// reader returns the idle connection that was used last, or a new one.
func (s *store) reader() (*Tx, error) {
	s.idleMu.Lock()
	last := len(s.idle) - 1
	if last < 0 {
		s.idleMu.Unlock() // connecting may wait, and others give theirs back meanwhile
		return s.connect("cache_size = -4000", "query_only = 1")
	}
	defer s.idleMu.Unlock()
	tx := s.idle[last]
	s.idle = s.idle[:last]
	return tx, nil
}

// close gives everything back, once the reads that run have ended. None may begin
// after that.
func (s *store) close() error {
	for range readers {
		s.reading <- struct{}{}
	}
	if s.writer != nil {
		s.idle = append(s.idle, s.writer)
	}
	var errs []error
	for _, tx := range s.idle {
		errs = append(errs, tx.conn.Close())
	}
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
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultCantOpen {
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
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return true
	}
	return false
}
