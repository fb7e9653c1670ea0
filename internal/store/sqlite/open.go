package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cambio-auth/cambio/internal/store/schema"
	"github.com/cambio-auth/cambio/issuer"
)

// readers is how many queries run beside the writer.
const readers = 4

// What every connection runs first. A commit is on the disk before COMMIT
// returns. busy_timeout, in milliseconds, is only for contexts without a
// deadline: the driver stops waiting when the context ends.
var pragmas = []string{"busy_timeout(60000)", "synchronous(FULL)", "foreign_keys(ON)"}

// Open opens the database at path, makes it if it is not there, with mode 0600,
// and brings its schema up to date. Several processes may open one file at
// once. ctx bounds the opening alone.
//
// Its errors begin with the setting that names the path, CAMBIO_STORE, and say
// what to do. A file that is not ours or damaged is left as it is, and so is one of a
// newer schema, which is refused unless it takes binaries as old as this one.
func Open(ctx context.Context, path string, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.StatusListSize = cmp.Or(opts.StatusListSize, issuer.StatusListSize)
	store, err := open(ctx, path, opts)
	if err != nil {
		return nil, openError(path, err)
	}
	return store, nil
}

func openError(path string, err error) error {
	return fmt.Errorf("CAMBIO_STORE: sqlite:%s: %w", path, explain(path, err))
}

func open(ctx context.Context, path string, opts Options) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := prepareFile(ctx, path, opts.NoMigrate); err != nil {
		return nil, err
	}
	write, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", dsn(path, "query_only(ON)"))
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	store := &Store{path: path, clock: opts.Now, listSize: opts.StatusListSize, write: newWriter(write), read: read}
	if err := store.start(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// prepareFile makes the file if it is not there, and refuses one that is not for us
// before anything could write to it.
func prepareFile(ctx context.Context, path string, noMigrate bool) error {
	if noMigrate {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return schema.State{}.Ready()
		}
	} else if err := create(path); err != nil {
		return err
	}
	state, err := inspectFile(ctx, path)
	if err == nil && noMigrate {
		err = state.Ready()
	}
	return err
}

// start makes the database ready for use.
func (s *Store) start(ctx context.Context) error {
	if err := useWAL(ctx, s.write.db); err != nil {
		return err
	}
	if err := s.write.migrate(ctx); err != nil {
		return err
	}
	return s.Ping(ctx)
}

// creating keeps Opens of this process from making the same file at once. It
// matters because closing a file drops every lock that the process holds on it
// (POSIX), SQLite's included: nobody may have the new file open yet.
var creating sync.Mutex

// create makes an empty file with mode 0600 if there is none. An empty file is
// an empty database.
func create(path string) error {
	creating.Lock()
	defer creating.Unlock()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), syncDir(filepath.Dir(path)))
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// inspectFile is inspect through a connection that cannot write.
func inspectFile(ctx context.Context, path string) (schema.State, error) {
	db, err := sql.Open("sqlite", dsn(path)+"&mode=ro")
	if err != nil {
		return schema.State{}, err
	}
	state, err := inspect(ctx, db)
	return state, errors.Join(err, db.Close())
}

// useWAL sets the journal mode, which the file itself then remembers. Processes
// that do it at the same moment are in each other's way, and SQLite does not wait
// in every such case; hence the loop.
func useWAL(ctx context.Context, db *sql.DB) error {
	for {
		var mode string
		err := db.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode)
		switch {
		case err == nil && mode == "wal":
			return nil
		case err == nil:
			return fmt.Errorf("its file system cannot hold a write-ahead log (journal mode stays %q); choose a path on a local disk", mode)
		case codeOf(err)&0xff != sqlite3.SQLITE_BUSY:
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for another process: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// dsn is the driver's name for path. Error messages are of the failed call alone
// (_error_rc), and a misspelt column is an error, not a string (_dqs).
func dsn(path string, more ...string) string {
	query := url.Values{"_error_rc": {"1"}, "_dqs": {"0"}}
	for _, pragma := range append(pragmas[:len(pragmas):len(pragmas)], more...) {
		query.Add("_pragma", pragma)
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: query.Encode()}
	return u.String()
}
