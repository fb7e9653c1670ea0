// Package sqlite keeps everything in one SQLite file, the store that needs no
// server. It decides how the promises of verifier.Store, issuer.KeyStore,
// manage.Store and audit.Store are kept by SQLite; the rules about keys it leaves to
// verifier, and the chain of the log to audit.
//
// One process serves from a file, and commands may use it at the same time:
// a writer waits for the writers of other processes until its context ends.
//
// # Why BEGIN IMMEDIATE
//
// A transaction that reads first and asks for the write lock later fails if
// another wrote in between, and a charge decided on what was read would be
// lost or wrong. Every Update and every Change takes the write lock before it reads. There is one
// writing connection, so that waiters of this process queue in order in Go
// and only processes poll for the file's lock.
//
// # Why not database/sql's transactions
//
// Their COMMIT can be interrupted by the context, and then nobody can say
// what happened. Here the context bounds all that comes before COMMIT and never
// COMMIT itself; see writer.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Options changes how a store behaves.
type Options struct {
	Now            func() time.Time // the database's clock; zero: time.Now
	StatusListSize int64            // entries of lists that are opened; zero: issuer.StatusListSize
	NoMigrate      bool             // fail with schema.ErrBehind where a migration is due, and make no file
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	path     string
	clock    func() time.Time
	listSize int64
	write    *writer
	read     *sql.DB
}

// now is the database's clock: UTC, and without the monotonic reading that no
// stored time has.
func (s *Store) now() time.Time { return s.clock().Round(0).UTC() }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.read.QueryRowContext(ctx, `SELECT 1 FROM keyspaces LIMIT 1`).Scan(&one); err != nil {
		return fmt.Errorf("asking %s: %w", s.path, err)
	}
	return nil
}

// Close waits for the Update that is running, if one is, and closes the
// database. Every method fails afterwards; Close itself may be called again.
func (s *Store) Close() error {
	return errors.Join(s.write.close(), s.read.Close())
}

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// collect reads every row and closes rows.
func collect[T any](rows *sql.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
