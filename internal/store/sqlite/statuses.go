package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
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
func (s *Store) newStatus(ctx context.Context, tx *transaction, keyspace string) (verifier.StatusRef, error) {
	rows, err := tx.query(ctx, `SELECT list, size FROM status_lists WHERE keyspace = ? ORDER BY list DESC LIMIT 1`, keyspace)
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
		ref, err := newest[0].take(ctx, tx)
		if err != nil || ref.List != 0 {
			return ref, err
		}
	}
	revision, err := nextRevision(ctx, tx)
	if err != nil {
		return verifier.StatusRef{}, err
	}
	opened := statusList{revision, s.listSize}
	_, err = tx.exec(ctx, `INSERT INTO status_lists (list, keyspace, size) VALUES (?, ?, ?)`, opened.number, keyspace, opened.size)
	if err != nil {
		return verifier.StatusRef{}, err
	}
	return opened.take(ctx, tx)
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
func nextRevision(ctx context.Context, tx *transaction) (int64, error) {
	if _, err := tx.exec(ctx, `UPDATE status_revision SET value = value + 1`); err != nil {
		return 0, err
	}
	rows, err := tx.query(ctx, `SELECT value FROM status_revision`)
	if err != nil {
		return 0, err
	}
	values, err := collect(rows, func(row scanner) (v int64, err error) { return v, row.Scan(&v) })
	if err == nil && len(values) != 1 {
		err = errors.New("the row of status_revision is missing")
	}
	if err != nil {
		return 0, err
	}
	return values[0], nil
}

func setStatus(ctx context.Context, tx *transaction, ref verifier.StatusRef, value int) error {
	revision, err := nextRevision(ctx, tx)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `UPDATE statuses SET value = ?, revision = ? WHERE list = ? AND idx = ?`, value, revision, ref.List, ref.Index)
	return err
}

// VoidKeys implements manage.VoidStore.
func (s *Store) VoidKeys(ctx context.Context, ids []verifier.KeyID) (n int, err error) {
	err = s.write.do(ctx, func(tx *transaction) error {
		n = 0
		for _, id := range ids {
			voided, err := s.voidKey(ctx, tx, id)
			if err != nil {
				return fmt.Errorf("key %s: %w", id, err)
			}
			n += voided
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("voiding tokens: %w", err)
	}
	return n, nil
}

// voidKey returns how many keys it found to have tokens, which is one or none.
func (s *Store) voidKey(ctx context.Context, tx *transaction, id verifier.KeyID) (int, error) {
	rows, err := tx.query(ctx, selectKey, id)
	if err != nil {
		return 0, err
	}
	found, err := collect(rows, scanRecord)
	if err != nil || len(found) == 0 || found[0].Key.State == verifier.Revoked {
		return 0, err
	}
	fresh, err := s.newStatus(ctx, tx, found[0].Key.Keyspace)
	if err != nil {
		return 0, err
	}
	if _, err := tx.exec(ctx, `UPDATE keys SET status_list = ?, status_index = ? WHERE id = ?`, fresh.List, fresh.Index, id); err != nil {
		return 0, err
	}
	return 1, setStatus(ctx, tx, found[0].Status, wire.StatusInvalid)
}

// VoidKeyspaces implements manage.VoidStore.
func (s *Store) VoidKeyspaces(ctx context.Context, name string) (n int, err error) {
	err = s.write.do(ctx, func(tx *transaction) error {
		revision, err := nextRevision(ctx, tx)
		if err != nil {
			return err
		}
		voided, err := tx.exec(ctx, `UPDATE keyspaces SET status_generation = status_generation + 1, status_revision = ?1
			WHERE ?2 IN ('', name)`, revision, name)
		n = int(voided)
		if err == nil && n == 0 {
			err = manage.ErrNotFound
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("voiding tokens of keyspace %q: %w", name, err)
	}
	return n, nil
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
