package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/internal/manage"
)

const (
	selectRepeat = `SELECT request, answer, until FROM repeats WHERE id = $1 AND until > $2`
	deleteRepeat = `DELETE FROM repeats WHERE id = $1 AND until <= $2`
	insertRepeat = `INSERT INTO repeats (id, request, answer, until) VALUES ($1, $2, $3, $4)`

	// What another transaction is about to replace, or forgets at the same time, is
	// left to it.
	forgetRepeats = `DELETE FROM repeats WHERE id IN
		(SELECT id FROM repeats WHERE until <= (SELECT ` + clock + ` * 1000) ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED)`
)

// Done implements manage.LogTx.
func (c *change) Done(ctx context.Context, id [32]byte) (*manage.Done, error) {
	found, err := rowsOf(ctx, c.transaction, func(row pgx.CollectableRow) (d manage.Done, err error) {
		var request []byte
		var until pgtype.Int8
		if err := row.Scan(&request, &d.Answer, &until); err != nil {
			return d, err
		}
		d.ID, d.Until = id, stamped(until)
		d.Request, err = digestOf(request)
		return d, err
	}, statement{selectRepeat, []any{id[:], c.now.UnixNano()}})
	if err != nil {
		return nil, fmt.Errorf("what was done before: %w", err)
	}
	return first(found), nil
}

// Remember implements manage.LogTx.
func (c *change) Remember(ctx context.Context, d manage.Done) error {
	until, err := stamp(d.Until)
	if err == nil {
		_, err = c.exec(ctx, statement{deleteRepeat, []any{d.ID[:], c.now.UnixNano()}},
			statement{insertRepeat, []any{d.ID[:], d.Request[:], string(d.Answer), until}})
	}
	if err != nil {
		return fmt.Errorf("remembering what was done: %w", taken(err))
	}
	return nil
}

// ForgetRepeats implements manage.Forgetter.
func (s *Store) ForgetRepeats(ctx context.Context, limit int) (int, error) {
	var deleted []int64
	err := s.transact(ctx, func(tx *transaction) (_ []statement, err error) {
		deleted, err = tx.write(ctx, statement{forgetRepeats, []any{limit}})
		return nil, err
	})
	if err != nil {
		return 0, fmt.Errorf("forgetting repeats: %w", err)
	}
	return int(deleted[0]), nil
}
