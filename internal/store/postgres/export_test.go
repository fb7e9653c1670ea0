package postgres

import (
	"context"
	"errors"

	"github.com/cambio-auth/cambio/internal/manage"
)

// SurelyUncommitted is tested by its codes.
var SurelyUncommitted = surelyUncommitted

// CommitAborted commits a transaction that PostgreSQL has given up meanwhile.
func (s *Store) CommitAborted(ctx context.Context) error {
	return s.transact(ctx, func(tx *transaction) ([]statement, error) {
		if _, err := tx.write(ctx); err != nil {
			return nil, err
		}
		if _, err := tx.conn.Exec(ctx, `SELECT 1/0`); err == nil {
			return nil, errors.New("the statement that should abort it has succeeded")
		}
		return nil, nil
	})
}

// Connections is how many there are.
func (s *Store) Connections() int32 { return s.pool.Stat().TotalConns() }

// MaxConnections is how many there may be.
func (s *Store) MaxConnections() int32 { return s.pool.Config().MaxConns }

// Setting is what a connection of the pool has.
func (s *Store) Setting(ctx context.Context, name string) (value string, err error) {
	return value, s.pool.QueryRow(ctx, `SELECT current_setting($1::text)`, name).Scan(&value)
}

// Prepared is how many statements a connection of the pool has prepared.
func (s *Store) Prepared(ctx context.Context) (n int64, err error) {
	return n, s.pool.QueryRow(ctx, `SELECT count(*) FROM pg_prepared_statements`).Scan(&n)
}

// KeysQuery is the statement of Keys.
func KeysQuery(filter manage.KeyFilter) (string, error) {
	sql, _, err := keysQuery(filter)
	return sql, err
}

// Statements whose plans are tested.
const (
	SelectStatusChanges = selectStatusChanges
	TakeStatuses        = takeStatuses
)

// Grow pretends that n keys were added.
func (s *Store) Grow(n int64) { s.grown.Add(n) }

// SameHome is tested by its cases.
var SameHome = sameHome
