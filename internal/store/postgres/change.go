package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/manage"
)

// change is a manage.Tx. Each of its methods takes a round trip or two.
type change struct {
	*transaction
	auditLog
	listSize int64
	now      time.Time
	added    int64 // keys
}

// Change implements manage.Changer. If do panics, the transaction is rolled back
// and the panic goes on.
func (s *Store) Change(ctx context.Context, do func(ctx context.Context, tx manage.Tx) error) error {
	var added int64
	err := s.changing(ctx, func(c *change) error {
		err := do(ctx, c)
		added = c.added
		return err
	})
	if err == nil && added > 0 {
		s.grow(ctx, added)
	}
	return err
}

// changing runs do in a transaction, and adds what it logged at its end.
func (s *Store) changing(ctx context.Context, do func(*change) error) error {
	return s.transact(ctx, func(tx *transaction) ([]statement, error) {
		c := &change{transaction: tx, listSize: s.listSize}
		err := tx.begin(ctx, []statement{{`SELECT ` + clock, nil}}, func(results pgx.BatchResults) (err error) {
			c.now, err = scanClock(results.QueryRow())
			return err
		})
		if err == nil {
			err = do(c)
		}
		return c.entries, err
	})
}

// analyzed is after how many new keys PostgreSQL is told to look at its tables, and
// after ten times as many, and so on. It plans a statement once for each connection
// and would do so for tables that it believes to be almost empty, until autovacuum
// finds the time: an import would take ever longer.
const analyzed = 10_000

// grow counts keys. That looking is not allowed, or fails, is of no consequence but
// for speed.
func (s *Store) grow(ctx context.Context, added int64) {
	grown := s.grown.Add(added)
	for mark := int64(analyzed); mark <= grown; mark *= 10 {
		if mark > grown-added {
			_, _ = s.pool.Exec(ctx, `ANALYZE keys, budgets, statuses`)
		}
	}
}

// Now implements manage.Tx.
func (c *change) Now() time.Time { return c.now }

// changed is manage.ErrNotFound unless a statement has affected a row.
func changed(affected int64, err error) error {
	if err == nil && affected == 0 {
		return manage.ErrNotFound
	}
	return err
}

// the returns the only row of a query by what is unique, or manage.ErrNotFound.
func the[T any](found []T, err error) (one T, _ error) {
	switch {
	case err != nil:
		return one, err
	case len(found) == 0:
		return one, manage.ErrNotFound
	}
	return found[0], nil
}
