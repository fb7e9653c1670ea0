package sqlite

import (
	"context"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
)

// change is a manage.Tx. It holds the write lock of the whole database, so that
// what it reads is locked by that.
type change struct {
	*transaction
	s   *Store
	now time.Time
}

// Change implements manage.Changer. It calls do once. If do panics, the
// transaction is rolled back and the panic goes on.
func (s *Store) Change(ctx context.Context, do func(ctx context.Context, tx manage.Tx) error) error {
	return s.write.do(ctx, func(tx *transaction) error {
		return do(ctx, s.newChange(tx))
	})
}

func (s *Store) newChange(tx *transaction) *change { return &change{tx, s, s.now()} }

// one reads the row that query finds. It fails with manage.ErrNotFound.
func one[T any](ctx context.Context, tx *transaction, scan func(scanner) (T, error), query string, args ...any) (row T, err error) {
	rows, err := tx.query(ctx, query, args...)
	if err != nil {
		return row, err
	}
	found, err := collect(rows, scan)
	if err == nil && len(found) == 0 {
		err = manage.ErrNotFound
	}
	if err != nil {
		return row, err
	}
	return found[0], nil
}

// Now implements manage.Tx.
func (c *change) Now() time.Time { return c.now }
