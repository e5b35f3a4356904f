package projection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"miniblog/internal/bus"
	"miniblog/internal/disk"
	"miniblog/internal/fault"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// Snapshots says how copies of a service help each other: a new one takes a copy of
// another's database, and follows the log from there.
type Snapshots struct {
	// Addr is where this copy gives snapshots, on a listener of their own: they hold
	// all that the database does. "": nowhere.
	Addr string
	// URL is the base URL of a copy that gives them, when this one begins with an
	// empty database. "": it builds from the log.
	URL string
}

// Headers of a snapshot, beside those of Tx.Describe.
const (
	schemaHeader  = "Projection-Schema"
	eventIDHeader = "Event-Id" // of the event at the checkpoint
)

const (
	snapshotLimit = 2 * time.Minute // how long giving one may take: until then the write-ahead log only grows
	snapshotBytes = 1 << 20         // what is handed to the connection at once
	peerSilence   = 5 * time.Second // after which a copy that sends one is given up
)

// serveSnapshots answers GET /snapshot at Snapshots.Addr until ctx ends.
func (p *Projection) serveSnapshots(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", p.config.Snapshots.Addr)
	if err != nil {
		return fmt.Errorf("SNAPSHOT_ADDR=%q: %w", p.config.Snapshots.Addr, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /snapshot", web.Handler(p.giveSnapshot))
	server := &http.Server{
		Handler:           web.Chain(mux, web.Observe),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		WriteTimeout: 30 * time.Second, // a snapshot sets its own, write by write
	}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving SNAPSHOT_ADDR %s: %w", listener.Addr(), err)
	}
	return nil
}

// giveSnapshot answers with the database as of one checkpoint: its file, byte by
// byte, as the kernel copies it. One is given at a time.
func (p *Projection) giveSnapshot(w http.ResponseWriter, r *http.Request) error {
	if err := p.Ready(); err != nil {
		return &fault.Fault{Kind: fault.Unavailable, Detail: "This copy is not ready itself.", Cause: err}
	}
	ctx, cancel := context.WithTimeout(r.Context(), snapshotLimit)
	defer cancel()
	select {
	case p.giving <- struct{}{}:
		defer func() { <-p.giving }()
	case <-ctx.Done():
		return ctx.Err()
	}
	frozen, err := p.freeze()
	if err != nil {
		return err
	}
	defer frozen.end()
	h := w.Header()
	if err := frozen.tx.Describe(h); err != nil {
		return err
	}
	h.Set(eventIDHeader, frozen.at.ID)
	h.Set(schemaHeader, fmt.Sprint(schemaVersion(p.config.Schema)))
	h.Set("Content-Type", "application/vnd.sqlite3")
	h.Set("Content-Length", fmt.Sprint(frozen.size))
	h.Set("Cache-Control", "no-store")
	out := web.NewStream(w)
	if _, err := frozen.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for left := frozen.size; left > 0 && err == nil && ctx.Err() == nil; {
		var n int64
		n, err = out.ReadFrom(io.LimitReader(frozen.file, min(left, snapshotBytes)))
		if left -= n; n == 0 {
			err = errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	if err != nil || ctx.Err() != nil {
		panic(http.ErrAbortHandler) // it is cut off, and so its reader notices
	}
	return nil
}

// frozen is a database file that does not change until its end.
type frozen struct {
	tx   *Tx
	file *os.File
	size int64
	at   bus.Checkpoint
}

// end ends the transaction before it gives the connection back, which others will
// use.
func (f *frozen) end() {
	f.tx.Exec("ROLLBACK")
	f.tx.conn.Close()
}

// freeze makes all that is committed part of the database file, and begins a read
// that finds it there. While it lasts, SQLite writes to the write-ahead log alone:
// a reader of the file itself keeps checkpoints from it (the lock WAL_READ_LOCK(0)
// of SQLite's WAL format).
func (p *Projection) freeze() (_ *frozen, err error) {
	p.write.Lock() // nothing is appended to the log in between
	defer p.write.Unlock()
	s := p.store
	if s == nil || p.outdated || named(s.log) == "" {
		return nil, errNoStore
	}
	var busy, logged, done int64
	for range 100 { // reads that began before an earlier change keep it in the log: they are short
		if _, err := s.writer.Get("PRAGMA wal_checkpoint(PASSIVE)", nil, &busy, &logged, &done); err != nil {
			return nil, err
		}
		if busy == 0 && logged == done {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if busy != 0 || logged != done {
		return nil, &fault.Fault{Kind: fault.Unavailable, Detail: "The database is read by others just now. Try again in a moment."}
	}
	f := &frozen{}
	if f.file, err = s.openFile(); err != nil {
		return nil, err
	}
	if f.tx, err = s.connect("query_only = 1"); err != nil {
		return nil, err
	}
	var pages, bytes int64
	err = f.tx.Exec("BEGIN")
	if err == nil {
		_, err = f.tx.Get("SELECT sequence, id FROM checkpoint", nil, &f.at.Sequence, &f.at.ID)
	}
	if err == nil {
		_, err = f.tx.Get("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size", nil, &pages, &bytes)
	}
	if err != nil {
		f.end()
		return nil, err
	}
	f.size = pages * bytes
	return f, nil
}

// join takes a snapshot, if the database is empty and somebody gives one.
func (p *Projection) join(ctx context.Context) {
	if log, _ := p.position(); log != "" || p.config.Snapshots.URL == "" {
		return
	}
	began := time.Now()
	if err := p.takeSnapshot(ctx); err != nil {
		slog.Info("no snapshot of another copy could be taken; the database is built from the log", "reason", err)
		return
	}
	_, at := p.position()
	slog.Info("a snapshot of another copy was taken", "sequence", at.Sequence.String(), "took", time.Since(began).Round(time.Millisecond))
}

var errSilent = fmt.Errorf("the other copy sent nothing for %v", peerSilence)

// errNoFit says that a snapshot is of no use here.
var errNoFit = errors.New("the snapshot does not fit")

// takeSnapshot puts a snapshot of another copy beside the empty database, from where
// it goes on like one that is built. It fails if there is none that fits, and leaves
// nothing of it then: a disk that it has filled must not stay full.
func (p *Projection) takeSnapshot(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotLimit)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	defer func() {
		if err != nil {
			err = errors.Join(err, removeStore(p.config.Dir, nextFile))
		}
	}()
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second}).DialContext, ResponseHeaderTimeout: 10 * time.Second}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.config.Snapshots.URL+"/snapshot", nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	h, schema := resp.Header, fmt.Sprint(schemaVersion(p.config.Schema))
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("asking for it: %s", resp.Status)
	case h.Get(schemaHeader) != schema:
		return fmt.Errorf("%w: it is of schema %q, and this copy has %s", errNoFit, h.Get(schemaHeader), schema)
	case resp.ContentLength < 0:
		return fmt.Errorf("%w: its length is not said", errNoFit)
	}
	if free, total := disk.Room(p.config.Dir); total > 0 && uint64(resp.ContentLength) > free/2 {
		return fmt.Errorf("%w: it has %d bytes, and the disk has room for %d: half is left for others", errNoFit, resp.ContentLength, free/2)
	}
	silent := time.AfterFunc(peerSilence, func() { giveUp(errSilent) })
	defer silent.Stop()
	if err := p.writeNext(heard{resp.Body, silent}); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	next, err := tryStore(p.config.Dir, nextFile, p.config.Schema, serving)
	if err != nil {
		return err
	}
	if next.log == "" || next.log != h.Get(wire.LogHeader) || next.applied.Sequence.String() != h.Get("Event-Sequence") || next.applied.ID != h.Get(eventIDHeader) {
		next.close()
		return fmt.Errorf("%w: its header and its content differ", errNoFit)
	}
	p.write.Lock()
	defer p.write.Unlock()
	p.next = next
	p.rolledBack()
	return nil
}

// heard is a body whose sender may be silent until the timer ends.
type heard struct {
	io.Reader
	silent *time.Timer
}

// Read implements io.Reader.
func (h heard) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	h.silent.Reset(peerSilence)
	return n, err
}

// writeNext writes the file of a database that is to be read from body.
func (p *Projection) writeNext(body io.Reader) error {
	if err := removeStore(p.config.Dir, nextFile); err != nil {
		return err
	}
	file, err := os.Create(p.nextPath())
	if err != nil {
		return err
	}
	_, err = io.Copy(file, body)
	return errors.Join(err, file.Close())
}
