package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	insertBudget = `INSERT INTO budgets (id, counted, remaining, refill_amount, refill_interval, refill_anchor,
		refilled, rate_limit, rate_window, rate_burst, tat)
		SELECT * FROM ` + unnestBudgets + ` ON CONFLICT (id) DO NOTHING`
	insertKey = `INSERT INTO keys (id, digest, start, keyspace, owner, name, permissions, audiences,
		metadata, state, created_at, expires_at, budget_id, status_list, status_index)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text[], $9, $10, $11, $12, $13, $14, $15)`
	selectKey      = `SELECT ` + recordColumns + ` FROM keys k` + recordJoins + ` WHERE k.id = $1`
	selectByDigest = `SELECT ` + recordColumns + ` FROM keys k` + recordJoins + ` WHERE k.digest = $1`
	selectKeys     = `SELECT ` + recordColumns + ` FROM keys k` + recordJoins + ` WHERE k.id > $1`
)

// CreateKey implements manage.KeyStore. A budget of that id which is there
// already is shared as it stands: it is never filled up by a new key.
func (s *Store) CreateKey(ctx context.Context, key verifier.Key, budget verifier.Budget) error {
	var budgets budgetArrays
	err := budgets.add(&budget)
	var args []any
	if err == nil {
		args, err = keyArgs(key, budget.ID)
	}
	if err == nil {
		err = taken(s.transact(ctx, func(tx *transaction) ([]statement, error) {
			status, err := tx.addBudget(ctx, &budgets, key.Keyspace)
			if err == nil && status.List == 0 {
				status, err = tx.newStatusOfNewList(ctx, s.listSize, key.Keyspace)
			}
			return []statement{{insertKey, append(slices.Clip(args), status.List, status.Index)}}, err
		}))
	}
	switch {
	case errors.Is(err, manage.ErrNotFound):
		return fmt.Errorf("creating key %s: keyspace %s: %w", key.ID, key.Keyspace, err)
	case err != nil:
		return fmt.Errorf("creating key %s: %w", key.ID, err)
	}
	return nil
}

// addBudget begins a transaction, and takes a status along if there is one to be
// had without more ado.
func (tx *transaction) addBudget(ctx context.Context, budgets *budgetArrays, keyspace string) (status verifier.StatusRef, err error) {
	err = tx.begin(ctx, []statement{{insertBudget, budgets.args()}, takeStatusIn(keyspace)}, func(results pgx.BatchResults) error {
		if _, err := results.Exec(); err != nil {
			return err
		}
		status, err = scanTaken(results)
		return err
	})
	return status, err
}

// keyArgs are the parameters of insertKey but for the status.
func keyArgs(key verifier.Key, budget verifier.BudgetID) ([]any, error) {
	permissions, err := permissionsText(key.Permissions)
	if err != nil {
		return nil, fmt.Errorf("permissions: %w", err)
	}
	created, err := stamp(key.CreatedAt)
	if err != nil {
		return nil, err
	}
	expires, err := stamp(key.ExpiresAt)
	if err != nil {
		return nil, err
	}
	return []any{
		string(key.ID), key.Digest[:], key.Start, key.Keyspace, key.Owner, key.Name, permissions, key.Audiences,
		rawText(key.Metadata), string(key.State), created, expires, string(budget),
	}, nil
}

// Key implements manage.KeyStore.
func (s *Store) Key(ctx context.Context, id verifier.KeyID) (verifier.Record, time.Time, error) {
	found, now, err := queryAt(ctx, s, scanRecord, selectKey, string(id))
	if err == nil && len(found) == 0 {
		err = manage.ErrNotFound
	}
	if err != nil {
		return verifier.Record{}, time.Time{}, fmt.Errorf("key %s: %w", id, err)
	}
	return found[0], now, nil
}

// FindKey implements store.KeyFinder.
func (s *Store) FindKey(ctx context.Context, id verifier.KeyID) (*verifier.Record, time.Time, error) {
	return s.find(ctx, selectKey, string(id))
}

// FindDigest implements store.KeyFinder.
func (s *Store) FindDigest(ctx context.Context, digest verifier.Digest) (*verifier.Record, time.Time, error) {
	return s.find(ctx, selectByDigest, digest[:])
}

func (s *Store) find(ctx context.Context, sql string, arg any) (*verifier.Record, time.Time, error) {
	found, now, err := queryAt(ctx, s, scanRecord, sql, arg)
	switch {
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("finding a key: %w", err)
	case len(found) == 0:
		return nil, now, nil
	}
	return &found[0], now, nil
}

// Keys implements manage.KeyStore.
func (s *Store) Keys(ctx context.Context, filter manage.KeyFilter) ([]verifier.Record, time.Time, error) {
	if filter.Limit < 1 {
		return nil, time.Time{}, errors.New("listing keys: KeyFilter.Limit is required")
	}
	sql, args := selectKeys, []any{string(filter.After), filter.Limit}
	if filter.Keyspace != "" {
		args = append(args, filter.Keyspace)
		sql += fmt.Sprintf(` AND k.keyspace = $%d`, len(args))
	}
	if filter.Owner != "" {
		args = append(args, filter.Owner)
		sql += fmt.Sprintf(` AND k.owner = $%d`, len(args))
	}
	records, now, err := queryAt(ctx, s, scanRecord, sql+` ORDER BY k.id LIMIT $2`, args...)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing keys: %w", err)
	}
	return records, now, nil
}

// ChangeKey implements manage.KeyStore. Of what change alters, the state alone
// is stored and returned. change may be called again if the transaction has to be
// run again.
func (s *Store) ChangeKey(ctx context.Context, id verifier.KeyID, change func(now time.Time, key *verifier.Key) error) (verifier.Record, time.Time, error) {
	var rec verifier.Record
	var now time.Time
	err := s.transact(ctx, func(tx *transaction) (_ []statement, err error) {
		rec, now, err = tx.lockKey(ctx, id)
		if err != nil {
			return nil, err
		}
		changed := rec.Key
		if err := change(now, &changed); err != nil || changed.State == rec.Key.State {
			return nil, err
		}
		rec.Key.State = changed.State
		return []statement{
			{`UPDATE keys SET state = $1 WHERE id = $2`, []any{string(changed.State), string(id)}},
			{nextRevision, nil},
			changeStatus(manage.StatusOf(changed.State), rec.Status),
		}, nil
	})
	if err != nil {
		return verifier.Record{}, time.Time{}, fmt.Errorf("changing key %s: %w", id, err)
	}
	return rec, now, nil
}

// lockKey begins a transaction with the row of a key locked, and its clock read
// afterwards.
func (tx *transaction) lockKey(ctx context.Context, id verifier.KeyID) (rec verifier.Record, now time.Time, err error) {
	statements := []statement{{selectKey + ` FOR NO KEY UPDATE OF k`, []any{string(id)}}, {`SELECT ` + clock, nil}}
	err = tx.begin(ctx, statements, func(results pgx.BatchResults) error {
		rows, err := results.Query()
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
		rec = found[0]
		now, err = scanClock(results.QueryRow())
		return err
	})
	return rec, now, err
}

// taken makes a violation of uniqueness manage.ErrExists, and one of a
// reference manage.ErrNotFound.
func taken(err error) error {
	switch codeOf(err) {
	case "23505":
		return manage.ErrExists
	case "23503":
		return manage.ErrNotFound
	}
	return err
}
