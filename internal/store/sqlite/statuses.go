package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// statusTries is how many entries of a list are tried before it counts as full,
// which it then is to four fifths or so.
const statusTries = 32

// statusList is a list that entries are handed out of.
type statusList struct{ number, size int64 }

// newStatus hands out an entry at random, of the keyspace's newest list or of
// another, if there is none or it is full.
func (c *change) newStatus(ctx context.Context, keyspace string) (verifier.StatusRef, error) {
	rows, err := c.query(ctx, `SELECT list, size FROM status_lists WHERE keyspace = ? ORDER BY list DESC LIMIT 1`, keyspace)
	if err != nil {
		return verifier.StatusRef{}, err
	}
	newest, err := collect(rows, func(row scanner) (l statusList, err error) {
		return l, row.Scan(&l.number, &l.size)
	})
	if err != nil {
		return verifier.StatusRef{}, err
	}
	if len(newest) > 0 {
		ref, err := newest[0].take(ctx, c.transaction)
		if err != nil || ref.List != 0 {
			return ref, err
		}
	}
	revision, err := c.nextRevision(ctx)
	if err != nil {
		return verifier.StatusRef{}, err
	}
	opened := statusList{revision, c.s.listSize}
	_, err = c.exec(ctx, `INSERT INTO status_lists (list, keyspace, size) VALUES (?, ?, ?)`, opened.number, keyspace, opened.size)
	if err != nil {
		return verifier.StatusRef{}, err
	}
	return opened.take(ctx, c.transaction)
}

// take returns the zero reference if it finds no entry that is free.
func (l statusList) take(ctx context.Context, tx *transaction) (verifier.StatusRef, error) {
	for range statusTries {
		index := randomBelow(l.size)
		n, err := tx.exec(ctx, `INSERT INTO statuses (list, idx, value, revision) VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING`, l.number, index)
		if err != nil {
			return verifier.StatusRef{}, err
		}
		if n == 1 {
			return verifier.StatusRef{List: l.number, Index: index}, nil
		}
	}
	return verifier.StatusRef{}, nil
}

func randomBelow(n int64) int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return int64(binary.NativeEndian.Uint64(b[:]) % uint64(n))
}

// nextRevision begins a change that replicas are to see.
func (c *change) nextRevision(ctx context.Context) (int64, error) {
	if _, err := c.exec(ctx, `UPDATE status_revision SET value = value + 1`); err != nil {
		return 0, err
	}
	scan := func(row scanner) (v int64, err error) { return v, row.Scan(&v) }
	return one(ctx, c.transaction, scan, `SELECT value FROM status_revision`)
}

func (c *change) setStatus(ctx context.Context, ref verifier.StatusRef, value int) error {
	revision, err := c.nextRevision(ctx)
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, `UPDATE statuses SET value = ?, revision = ? WHERE list = ? AND idx = ?`, value, revision, ref.List, ref.Index)
	return err
}

// VoidKeys implements manage.KeyTx.
func (c *change) VoidKeys(ctx context.Context, ids []verifier.KeyID) (int, error) {
	found, err := c.LockKeys(ctx, ids)
	if err != nil {
		return 0, fmt.Errorf("voiding tokens: %w", err)
	}
	voided := 0
	for i := range found {
		if found[i].Key.State == verifier.Revoked {
			continue
		}
		if err := c.voidKey(ctx, &found[i].Record); err != nil {
			return 0, fmt.Errorf("voiding tokens of key %s: %w", found[i].Key.ID, err)
		}
		voided++
	}
	return voided, nil
}

func (c *change) voidKey(ctx context.Context, rec *verifier.Record) error {
	fresh, err := c.newStatus(ctx, rec.Key.Keyspace)
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, `UPDATE keys SET status_list = ?, status_index = ? WHERE id = ?`, fresh.List, fresh.Index, rec.Key.ID)
	if err != nil {
		return err
	}
	return c.setStatus(ctx, rec.Status, wire.StatusInvalid)
}

// VoidKeyspaces implements manage.KeyspaceTx.
func (c *change) VoidKeyspaces(ctx context.Context, name string) (int, error) {
	revision, err := c.nextRevision(ctx)
	if err != nil {
		return 0, fmt.Errorf("voiding tokens of keyspace %q: %w", name, err)
	}
	voided, err := c.exec(ctx, `UPDATE keyspaces SET status_generation = status_generation + 1, status_revision = ?1
		WHERE ?2 IN ('', name)`, revision, name)
	if err == nil && voided == 0 {
		err = manage.ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("voiding tokens of keyspace %q: %w", name, err)
	}
	return int(voided), nil
}

// One statement, so that all of it is of one moment. Its rows are the revision, the
// lists that are new or of a new generation, and the statuses that were changed.
const selectStatusChanges = `SELECT 0, value, 0, 0, 0 FROM status_revision
	UNION ALL SELECT 1, k.status_revision, l.list, l.size, k.status_generation
		FROM status_lists l JOIN keyspaces k ON k.name = l.keyspace WHERE l.list > ?1 OR k.status_revision > ?1
	UNION ALL SELECT 2, revision, list, idx, value FROM statuses WHERE revision > 0 AND revision > ?1`

// StatusChanges implements issuer.StatusStore.
func (s *Store) StatusChanges(ctx context.Context, after int64, change func(issuer.StatusChange) error) (head int64, now time.Time, err error) {
	rows, err := s.read.QueryContext(ctx, selectStatusChanges, after)
	if err != nil {
		return 0, now, fmt.Errorf("reading statuses: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var kind, revision, list, a, b int64
		if err := rows.Scan(&kind, &revision, &list, &a, &b); err != nil {
			return 0, now, fmt.Errorf("reading statuses: %w", err)
		}
		switch kind {
		case 0:
			head = revision
		case 1:
			err = change(issuer.StatusChange{List: list, Revision: revision, Size: a, Generation: b})
		case 2:
			err = change(issuer.StatusChange{List: list, Revision: revision, Index: a, Value: uint8(b)})
		}
		if err != nil {
			return 0, now, err
		}
	}
	if err := rows.Err(); err != nil {
		return 0, now, fmt.Errorf("reading statuses: %w", err)
	}
	return head, s.now(), nil
}
