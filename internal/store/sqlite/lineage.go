package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/restore"
)

const (
	selectLineage = `SELECT l.confirmed, l.copied_at, r.value, h.seq, h.hash
		FROM lineage l, status_revision r, audit_head h`
	selectInventory = `SELECT
		coalesce((SELECT max(at) FROM audit), 0),
		coalesce((SELECT max(hour) FROM usage), 0),
		count(*), coalesce(sum(b.counted OR b.rate_limit > 0), 0),
		coalesce(sum(k.changed_at >= (SELECT max(at) FROM audit) - 86400000000000), 0),
		(SELECT count(*) FROM clients WHERE NOT disabled)
		FROM keys k JOIN budgets b ON b.id = k.budget_id WHERE k.state = 'active'`
)

// Lineage implements restore.Store. What Backup has made counts as restored; a copy
// of the file that was made by other means cannot be told from the file.
func (s *Store) Lineage(ctx context.Context) (restore.Lineage, error) {
	l, err := scanLineage(s.read.QueryRowContext(ctx, selectLineage))
	if err != nil {
		return l, fmt.Errorf("reading where the data is from: %w", err)
	}
	return l, nil
}

func scanLineage(row scanner) (l restore.Lineage, err error) {
	var copied time.Time
	err = row.Scan(&l.Confirmed, stampTo{&copied}, &l.Revision, &l.Head.Seq, hashTo(l.Head.Hash[:]))
	if !copied.IsZero() {
		l.Why = "it is the copy that cambio backup made at " + copied.UTC().Format(time.RFC3339)
	}
	return l, err
}

// Settle implements store.Store. A file is at home wherever it is.
func (s *Store) Settle(context.Context) error { return nil }

// Inventory implements restore.Store.
func (s *Store) Inventory(ctx context.Context) (restore.Inventory, error) {
	i := restore.Inventory{At: s.now()}
	var change, hour int64
	err := s.read.QueryRowContext(ctx, selectInventory).Scan(&change, &hour, &i.Keys, &i.Counted, &i.ChangedLate, &i.Clients)
	if err != nil {
		return i, fmt.Errorf("counting what there is: %w", err)
	}
	if change != 0 {
		i.LastChange = time.Unix(0, change).UTC()
	}
	if hour != 0 {
		i.LastUse = time.Unix(hour*3600, 0).UTC()
	}
	return i, nil
}

// BeginAnew implements restore.Store.
func (s *Store) BeginAnew(ctx context.Context, b restore.Beginning) (begun restore.Begun, err error) {
	err = s.write.do(ctx, func(tx *transaction) error {
		c := s.newChange(tx)
		was, err := one(ctx, tx, scanLineage, selectLineage)
		switch {
		case err != nil:
			return err
		case was.Confirmed != b.After:
			return restore.ErrMeanwhile
		}
		if begun, err = c.beginAnew(ctx, restore.Next(was.Revision, c.now)); err != nil {
			return err
		}
		if err := c.changeSigningKeys(ctx, b.Change); err != nil {
			return err
		}
		_, err = c.Log(ctx, b.Entry)
		return err
	})
	if err != nil {
		return restore.Begun{}, fmt.Errorf("beginning anew: %w", err)
	}
	return begun, nil
}

func (c *change) beginAnew(ctx context.Context, revision int64) (restore.Begun, error) {
	begun := restore.Begun{Revision: revision}
	if _, err := c.exec(ctx, `UPDATE status_revision SET value = ?`, revision); err != nil {
		return begun, err
	}
	n, err := c.exec(ctx, `UPDATE keyspaces SET status_generation = ?1, status_revision = ?1`, revision)
	if err != nil {
		return begun, err
	}
	begun.Keyspaces = int(n)
	_, err = c.exec(ctx, `UPDATE lineage SET confirmed = ?, copied_at = NULL`, revision)
	return begun, err
}
