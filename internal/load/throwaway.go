package load

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/store/postgres"
)

// Throwaway is an empty store to measure, on the disk or the server of a real one
// and with nothing of it.
type Throwaway struct {
	URL     string // not for logs: it may hold a password
	Version string // of the database
	Commit  time.Duration
	Others  int // connections of servers and commands to the real one, where that is known

	close func() error
}

// OpenThrowaway makes a store beside the one that url names, which it does not open:
// a directory beside the file, or a schema in the same database of PostgreSQL. Commit
// is the median of what small durable writes take there. Whoever makes one must close
// it. Errors are like those of store.Open.
func OpenThrowaway(ctx context.Context, url string) (*Throwaway, error) {
	path, err := store.File(url)
	if err != nil {
		return nil, err
	}
	var t *Throwaway
	var commit func() error
	if path == "" {
		t, commit, err = inSchema(ctx, url)
	} else {
		t, commit, err = inDirectory(ctx, filepath.Dir(path))
	}
	if err != nil {
		return nil, err
	}
	if t.Commit, err = medianOf(commit); err != nil {
		return nil, errors.Join(ctx.Err(), err, t.Close())
	}
	return t, nil
}

// Close removes the store.
func (t *Throwaway) Close() error { return t.close() }

func inSchema(ctx context.Context, url string) (*Throwaway, func() error, error) {
	s, err := postgres.OpenScratch(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	t := &Throwaway{URL: s.URL, Version: s.Version, Others: s.Others, close: s.Close}
	return t, func() error { return s.Commit(ctx) }, nil
}

func inDirectory(ctx context.Context, beside string) (_ *Throwaway, commit func() error, err error) {
	dir, err := os.MkdirTemp(beside, "cambio-bench-")
	if err != nil {
		return nil, nil, fmt.Errorf("CAMBIO_STORE: making a store beside the real one: %w", err)
	}
	file, err := os.Create(filepath.Join(dir, "commits"))
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	t := &Throwaway{
		URL:   "sqlite:" + filepath.Join(dir, "cambio.db"),
		close: func() error { return errors.Join(file.Close(), os.RemoveAll(dir)) },
	}
	if t.Version, err = sqliteVersion(ctx); err != nil {
		return nil, nil, errors.Join(err, t.Close())
	}
	block := make([]byte, 4<<10)
	return t, func() error {
		_, err := file.WriteAt(block, 0) // so that only the first write makes the file longer
		return errors.Join(ctx.Err(), err, file.Sync())
	}, nil
}

func sqliteVersion(ctx context.Context) (version string, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return "", err
	}
	err = db.QueryRowContext(ctx, `SELECT 'SQLite ' || sqlite_version()`).Scan(&version)
	return version, errors.Join(err, db.Close())
}

// medianOf commits for a fifth of a second, 100 times at most.
func medianOf(commit func() error) (time.Duration, error) {
	var took []time.Duration
	for began := time.Now(); len(took) == 0 || len(took) < 100 && time.Since(began) < 200*time.Millisecond; {
		before := time.Now()
		if err := commit(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(before))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
