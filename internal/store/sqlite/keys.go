package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	insertBudget = `INSERT INTO budgets (id, counted, remaining, refill_amount, refill_interval, refill_anchor,
		refilled, rate_limit, rate_window, rate_burst, tat)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
	insertKey = `INSERT INTO keys (id, digest, start, keyspace, owner, name, permissions, audiences,
		metadata, state, created_at, expires_at, budget_id, status_list, status_index)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	selectKey      = `SELECT ` + recordColumns + ` FROM keys k` + recordJoins + ` WHERE k.id = ?`
	selectByDigest = `SELECT ` + recordColumns + ` FROM keys k` + recordJoins + ` WHERE k.digest = ?`
)

// CreateKey implements manage.KeyStore. A budget of that id which is there
// already is shared as it stands: it is never filled up by a new key.
func (s *Store) CreateKey(ctx context.Context, key verifier.Key, budget verifier.Budget) error {
	err := s.write.do(ctx, func(tx *transaction) error {
		if _, err := tx.exec(ctx, insertBudget, budgetArgs(&budget)...); err != nil {
			return fmt.Errorf("budget %s: %w", budget.ID, err)
		}
		status, err := s.newStatus(ctx, tx, key.Keyspace)
		if err != nil {
			return fmt.Errorf("a status: %w", taken(err))
		}
		_, err = tx.exec(ctx, insertKey, key.ID, key.Digest[:], key.Start, key.Keyspace, key.Owner, key.Name,
			jsonOf{key.Permissions}, jsonOf{key.Audiences}, rawOf(key.Metadata), key.State,
			stamp(key.CreatedAt), stamp(key.ExpiresAt), budget.ID, status.List, status.Index)
		return taken(err)
	})
	switch {
	case errors.Is(err, manage.ErrNotFound):
		return fmt.Errorf("creating key %s: keyspace %s: %w", key.ID, key.Keyspace, err)
	case err != nil:
		return fmt.Errorf("creating key %s: %w", key.ID, err)
	}
	return nil
}

// Key implements manage.KeyStore.
func (s *Store) Key(ctx context.Context, id verifier.KeyID) (verifier.Record, time.Time, error) {
	rec, err := scanRecord(s.read.QueryRowContext(ctx, selectKey, id))
	if err != nil {
		return verifier.Record{}, time.Time{}, fmt.Errorf("key %s: %w", id, missing(err))
	}
	return rec, s.now(), nil
}

// FindKey implements store.KeyFinder.
func (s *Store) FindKey(ctx context.Context, id verifier.KeyID) (*verifier.Record, time.Time, error) {
	return s.find(ctx, selectKey, id)
}

// FindDigest implements store.KeyFinder.
func (s *Store) FindDigest(ctx context.Context, digest verifier.Digest) (*verifier.Record, time.Time, error) {
	return s.find(ctx, selectByDigest, digest[:])
}

func (s *Store) find(ctx context.Context, query string, arg any) (*verifier.Record, time.Time, error) {
	rec, err := scanRecord(s.read.QueryRowContext(ctx, query, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, s.now(), nil
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("finding a key: %w", err)
	}
	return &rec, s.now(), nil
}

// Keys implements manage.KeyStore.
func (s *Store) Keys(ctx context.Context, filter manage.KeyFilter) ([]verifier.Record, time.Time, error) {
	if filter.Limit < 1 {
		return nil, time.Time{}, errors.New("listing keys: KeyFilter.Limit is required")
	}
	where, args := []string{`k.id > ?`}, []any{filter.After}
	if filter.Keyspace != "" {
		where, args = append(where, `k.keyspace = ?`), append(args, filter.Keyspace)
	}
	if filter.Owner != "" {
		where, args = append(where, `k.owner = ?`), append(args, filter.Owner)
	}
	query := `SELECT ` + recordColumns + ` FROM keys k` + recordJoins + //nolint:gosec // of constants
		` WHERE ` + strings.Join(where, ` AND `) + ` ORDER BY k.id LIMIT ?`
	rows, err := s.read.QueryContext(ctx, query, append(args, filter.Limit)...)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing keys: %w", err)
	}
	records, err := collect(rows, scanRecord)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing keys: %w", err)
	}
	return records, s.now(), nil
}

// ChangeKey implements manage.KeyStore. Of what change alters, the state alone
// is stored and returned.
func (s *Store) ChangeKey(ctx context.Context, id verifier.KeyID, change func(now time.Time, key *verifier.Key) error) (verifier.Record, time.Time, error) {
	var rec verifier.Record
	var now time.Time
	err := s.write.do(ctx, func(tx *transaction) error {
		rows, err := tx.query(ctx, selectKey, id)
		if err != nil {
			return err
		}
		found, err := collect(rows, scanRecord)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return manage.ErrNotFound
		}
		rec, now = found[0], s.now()
		changed := rec.Key
		if err := change(now, &changed); err != nil || changed.State == rec.Key.State {
			return err
		}
		rec.Key.State = changed.State
		if _, err := tx.exec(ctx, `UPDATE keys SET state = ? WHERE id = ?`, changed.State, id); err != nil {
			return err
		}
		return setStatus(ctx, tx, rec.Status, manage.StatusOf(changed.State))
	})
	if err != nil {
		return verifier.Record{}, time.Time{}, fmt.Errorf("changing key %s: %w", id, err)
	}
	return rec, now, nil
}
