package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
)

// Copied is what Backup has made.
type Copied struct {
	At    time.Time // what the copy holds was committed by then
	Bytes int64
	Head  audit.Head // where its log ends
}

// progressEvery is how often Backup tells how far it is.
const progressEvery = 200 * time.Millisecond

// Backup copies the database as it is at one moment, while others write to it, into
// a new file with mode 0600, which counts as restored when it is opened as a store
// (see Lineage). It fails if the file is there already. progress, unless it is nil, is
// told how many bytes are written of about how many; Backup does not return before
// its last call has.
//
// The copy gets its name when it is complete, marked and on the disk. Until then it is
// in a file of that name with .partial at its end, which a Backup that is killed leaves
// behind.
func (s *Store) Backup(ctx context.Context, to string, progress func(done, of int64)) (Copied, error) {
	copied, err := s.backup(ctx, to, progress)
	if err != nil {
		return Copied{}, fmt.Errorf("backing up to %s: %w", to, err)
	}
	return copied, nil
}

func (s *Store) backup(ctx context.Context, to string, progress func(done, of int64)) (copied Copied, err error) {
	to, err = filepath.Abs(to) // SQLite takes a name that begins with "file:" for a URI
	if err != nil {
		return copied, err
	}
	if _, err := os.Lstat(to); err == nil {
		return copied, os.ErrExist
	}
	partial := to + ".partial"
	file, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return copied, fmt.Errorf("%w: another backup to it is under way, or one was cut short; remove that file then", err)
	}
	if err != nil {
		return copied, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(partial)) }()
	copied.At = s.now()
	if err := s.vacuumInto(ctx, partial, file, progress); err != nil {
		return copied, err
	}
	if copied.Head, err = markCopy(ctx, partial, copied.At); err != nil {
		return copied, err
	}
	info, err := file.Stat()
	if err != nil {
		return copied, err
	}
	copied.Bytes = info.Size()
	// Unlike a rename, a link never replaces what is there.
	return copied, errors.Join(file.Sync(), os.Link(partial, to), syncDir(filepath.Dir(to)))
}

// vacuumInto reads all of it in one transaction. Writers go on meanwhile; what they
// write stays in the write-ahead log until it ends.
func (s *Store) vacuumInto(ctx context.Context, partial string, file *os.File, progress func(done, of int64)) error {
	db, err := sql.Open("sqlite", dsn(s.path))
	if err != nil {
		return err
	}
	var size int64
	err = db.QueryRowContext(ctx, `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`).Scan(&size)
	if err == nil {
		stop := watchSize(file, size, progress)
		_, err = db.ExecContext(ctx, `VACUUM INTO ?`, partial)
		stop()
	}
	return errors.Join(err, db.Close())
}

// watchSize tells progress about the size of a file until stop is called.
func watchSize(file *os.File, of int64, progress func(done, of int64)) (stop func()) {
	if progress == nil {
		return func() {}
	}
	ended, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		ticks := time.NewTicker(progressEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticks.C:
				if info, err := file.Stat(); err == nil {
					progress(min(info.Size(), of), of)
				}
			}
		}
	}()
	return func() {
		close(ended)
		<-told
	}
}

// markCopy writes into a copy that it is one, and returns where its log ends.
func markCopy(ctx context.Context, path string, at time.Time) (head audit.Head, err error) {
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return head, err
	}
	if _, err = db.ExecContext(ctx, `UPDATE lineage SET copied_at = ?`, stamp(at)); err == nil {
		head, err = scanHead(db.QueryRowContext(ctx, selectHead))
	}
	return head, errors.Join(err, db.Close())
}
