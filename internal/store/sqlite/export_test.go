package sqlite

import (
	"context"
	"database/sql"
	"errors"
)

// SurelyUncommitted is tested by its codes.
var SurelyUncommitted = surelyUncommitted

// OnWriter calls f with the writing connection, outside any transaction.
func (s *Store) OnWriter(ctx context.Context, f func(*sql.Conn) error) error {
	s.write.turn <- struct{}{}
	defer func() { <-s.write.turn }()
	return errors.Join(s.write.connect(ctx), f(s.write.conn))
}

// Connections opens every connection that the store may have, and calls f with
// each.
func (s *Store) Connections(ctx context.Context, f func(*sql.Conn) error) error {
	err := s.OnWriter(ctx, f)
	for range readers {
		conn, connErr := s.read.Conn(ctx)
		if connErr != nil {
			return connErr
		}
		defer conn.Close()
		err = errors.Join(err, f(conn))
	}
	return err
}

// FailCommit makes a transaction whose COMMIT fails for a reason that is known.
func (s *Store) FailCommit(ctx context.Context) error {
	return s.write.do(ctx, func(tx *transaction) error {
		if _, err := tx.exec(ctx, `PRAGMA defer_foreign_keys = ON`); err != nil {
			return err
		}
		_, err := tx.exec(ctx, `UPDATE keys SET keyspace = 'nowhere'`)
		return err
	})
}

// SelectStatusChanges is a statement whose plan is tested.
const SelectStatusChanges = selectStatusChanges

// KeysQuery makes statements whose plans are tested.
var KeysQuery = keysQuery
