package postgres

import (
	"context"
	"fmt"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	insertBudgets = `INSERT INTO budgets (id, counted, remaining, refill_amount, refill_interval, refill_anchor,
		refilled, rate_limit, rate_window, rate_burst, tat)
		SELECT * FROM ` + unnestBudgets + ` ON CONFLICT (id) DO NOTHING`

	// Until the end none of them is deleted.
	holdKeyspaces = `SELECT 1 FROM keyspaces WHERE name = ANY ($1::text[]) ORDER BY name FOR KEY SHARE`

	// Rows of other tables are read by a statement of its own: one that had to wait
	// for a lock would have them as they were before.
	lockKeys       = `SELECT 1 FROM keys k WHERE k.id = ANY ($1::text[]) ORDER BY k.id FOR NO KEY UPDATE`
	selectByIDs    = selectKeyRecord + ` WHERE k.id = ANY ($1::text[]) ORDER BY k.id`
	selectByHashes = selectKeyRecord + ` WHERE k.digest = ANY ($1::bytea[]) ORDER BY k.id`

	updateKey = `UPDATE keys SET owner = $2, name = $3, permissions = $4, audiences = $5::text[], metadata = $6, state = $7,
		expires_at = $8, external_id = $9, reason = $10, replaces = $11, replaced_by = $12, deleted_at = $13,
		changed_at = $14, version = version + 1 WHERE id = $1`

	// Whether there is anything to tell is known by the key's lock.
	nextRevisionIf = nextRevision + ` WHERE EXISTS (SELECT 1 FROM keys k JOIN statuses s ON s.list = k.status_list AND s.idx = k.status_index
		WHERE k.id = $1 AND s.value <> $2::smallint)`
	followState = `UPDATE statuses s SET value = $2::smallint, revision = v.value FROM status_revision v, keys k
		WHERE k.id = $1 AND s.list = k.status_list AND s.idx = k.status_index AND s.value <> $2::smallint`
)

// AddKeys implements manage.KeyTx.
func (c *change) AddKeys(ctx context.Context, recs []manage.KeyRecord) error {
	if err := c.addKeys(ctx, recs); err != nil {
		return fmt.Errorf("adding keys: %w", err)
	}
	return nil
}

func (c *change) addKeys(ctx context.Context, recs []manage.KeyRecord) error {
	var budgets budgetArrays
	var keys keyArrays
	for i := range recs {
		err := budgets.add(recs[i].Budget)
		if err == nil {
			err = keys.add(&recs[i])
		}
		if err != nil {
			return fmt.Errorf("key %s: %w", recs[i].Key.ID, err)
		}
	}
	if len(recs) == 0 {
		return nil
	}
	refs, err := c.newStatuses(ctx, keys.keyspace, statement{holdKeyspaces, []any{keys.keyspace}}, statement{lockRevision, nil})
	if err != nil {
		return err
	}
	keys.took(refs)
	_, err = c.exec(ctx, statement{insertBudgets, budgets.args()}, statement{insertKeys, keys.args()})
	c.added += int64(len(recs))
	return taken(err)
}

// LockKeys implements manage.KeyTx.
func (c *change) LockKeys(ctx context.Context, ids []verifier.KeyID) ([]manage.KeyRecord, error) {
	wanted := []any{textsOf(ids)}
	found, err := rowsOf(ctx, c.transaction, scanKeyRecord, statement{lockKeys, wanted}, statement{selectByIDs, wanted})
	if err != nil {
		return nil, fmt.Errorf("locking keys: %w", err)
	}
	return found, nil
}

// DigestsTaken implements manage.KeyTx.
func (c *change) DigestsTaken(ctx context.Context, digests []verifier.Digest) ([]manage.KeyRecord, error) {
	found, err := rowsOf(ctx, c.transaction, scanKeyRecord, statement{selectByHashes, []any{bytesOf(digests)}})
	if err != nil {
		return nil, fmt.Errorf("looking for digests: %w", err)
	}
	return found, nil
}

// SaveKey implements manage.KeyTx.
func (c *change) SaveKey(ctx context.Context, rec manage.KeyRecord) error {
	k := &rec.Key
	args, err := c.keyArgs(&rec)
	if err == nil {
		status := []any{string(k.ID), manage.StatusOf(k.State)}
		var affected []int64
		affected, err = c.exec(ctx, statement{nextRevisionIf, status}, statement{followState, status}, statement{updateKey, args})
		err = changed(affected[2], err)
	}
	if err != nil {
		return fmt.Errorf("saving key %s: %w", k.ID, err)
	}
	return nil
}

// keyArgs are the parameters of updateKey.
func (c *change) keyArgs(rec *manage.KeyRecord) ([]any, error) {
	k := &rec.Key
	permissions, err := permissionsText(k.Permissions)
	if err != nil {
		return nil, fmt.Errorf("permissions: %w", err)
	}
	times, err := stamps(k.ExpiresAt, rec.DeletedAt, c.now)
	if err != nil {
		return nil, err
	}
	return []any{
		string(k.ID), k.Owner, k.Name, permissions, k.Audiences, rawText(k.Metadata), string(k.State),
		times[0], k.ExternalID, rec.Reason, string(rec.Replaces), string(rec.ReplacedBy), times[1], times[2],
	}, nil
}

// LockBudget implements manage.KeyTx.
func (c *change) LockBudget(ctx context.Context, id verifier.BudgetID) (verifier.Budget, error) {
	b, err := the(rowsOf(ctx, c.transaction, scanBudget,
		statement{`SELECT ` + budgetColumns + ` FROM budgets b WHERE b.id = $1 FOR NO KEY UPDATE`, []any{string(id)}}))
	if err != nil {
		return verifier.Budget{}, fmt.Errorf("locking budget %s: %w", id, err)
	}
	return b, nil
}

// SaveBudget implements manage.KeyTx.
func (c *change) SaveBudget(ctx context.Context, b verifier.Budget) error {
	var budgets budgetArrays
	err := budgets.add(&b)
	if err == nil {
		var affected []int64
		affected, err = c.exec(ctx, statement{updateBudgets, budgets.args()})
		err = changed(affected[0], err)
	}
	if err != nil {
		return fmt.Errorf("saving budget %s: %w", b.ID, err)
	}
	return nil
}

// taken makes a violation of uniqueness manage.ErrExists.
func taken(err error) error {
	if codeOf(err) == "23505" {
		return manage.ErrExists
	}
	return err
}

func textsOf(ids []verifier.KeyID) []string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	return texts
}
