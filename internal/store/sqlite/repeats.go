package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/cambio-auth/cambio/internal/manage"
)

// Done implements manage.LogTx.
func (c *change) Done(ctx context.Context, id [32]byte) (*manage.Done, error) {
	done, err := one(ctx, c.transaction, scanDone,
		`SELECT id, request, answer, until FROM repeats WHERE id = ? AND until > ?`, id[:], stamp(c.now))
	if errors.Is(err, manage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was done: %w", err)
	}
	return &done, nil
}

func scanDone(row scanner) (d manage.Done, err error) {
	return d, row.Scan(hashTo(d.ID[:]), hashTo(d.Request[:]), &d.Answer, stampTo{&d.Until})
}

// Remember implements manage.LogTx.
func (c *change) Remember(ctx context.Context, d manage.Done) error {
	_, err := c.exec(ctx, `DELETE FROM repeats WHERE id = ? AND until <= ?`, d.ID[:], stamp(c.now))
	if err == nil {
		_, err = c.exec(ctx, `INSERT INTO repeats (id, request, answer, until) VALUES (?, ?, ?, ?)`,
			d.ID[:], d.Request[:], string(d.Answer), stamp(d.Until))
	}
	if err != nil {
		return fmt.Errorf("remembering what was done: %w", taken(err))
	}
	return nil
}

// ForgetRepeats implements manage.Forgetter.
func (s *Store) ForgetRepeats(ctx context.Context, limit int) (int, error) {
	var deleted int64
	err := s.write.do(ctx, func(tx *transaction) (err error) {
		deleted, err = tx.exec(ctx, `DELETE FROM repeats WHERE id IN
			(SELECT id FROM repeats WHERE until <= ? ORDER BY until LIMIT ?)`, stamp(s.now()), limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forgetting repeats: %w", err)
	}
	return int(deleted), nil
}
