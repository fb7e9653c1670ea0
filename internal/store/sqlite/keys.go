package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
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
		metadata, state, created_at, expires_at, external_id, budget_id, status_list, status_index,
		reason, replaces, replaced_by, deleted_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateKey = `UPDATE keys SET (owner, name, permissions, audiences, metadata, state, expires_at, external_id,
		reason, replaces, replaced_by, deleted_at, version, changed_at)
		= (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, version + 1, ?14) WHERE id = ?1`
	selectKey       = `SELECT ` + recordColumns + ` FROM keys k` + recordJoins + ` WHERE k.id = ?`
	selectByDigest  = `SELECT ` + recordColumns + ` FROM keys k` + recordJoins + ` WHERE k.digest = ?`
	selectKeyRecord = `SELECT ` + recordColumns + `, ` + detailColumns + ` FROM keys k` + recordJoins + ` WHERE `
)

// Key implements manage.Reader.
func (s *Store) Key(ctx context.Context, id verifier.KeyID) (manage.KeyRecord, time.Time, error) {
	rec, err := scanKeyRecord(s.read.QueryRowContext(ctx, selectKeyRecord+`k.id = ?`, id))
	if err != nil {
		return manage.KeyRecord{}, time.Time{}, fmt.Errorf("key %s: %w", id, missing(err))
	}
	return rec, s.now(), nil
}

// KeyByDigest implements manage.Reader.
func (s *Store) KeyByDigest(ctx context.Context, digest verifier.Digest) (manage.KeyRecord, time.Time, error) {
	rec, err := scanKeyRecord(s.read.QueryRowContext(ctx, selectKeyRecord+`k.digest = ?`, digest[:]))
	if err != nil {
		return manage.KeyRecord{}, time.Time{}, fmt.Errorf("finding a key: %w", missing(err))
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

// Keys implements manage.Reader.
func (s *Store) Keys(ctx context.Context, filter manage.KeyFilter) ([]manage.KeyRecord, time.Time, error) {
	now := s.now()
	query, args, err := keysQuery(filter, now)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing keys: %w", err)
	}
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing keys: %w", err)
	}
	records, err := collect(rows, scanKeyRecord)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing keys: %w", err)
	}
	return records, now, nil
}

// keysQuery lists keys as they are at now.
func keysQuery(filter manage.KeyFilter, now time.Time) (string, []any, error) {
	if filter.Limit < 1 {
		return "", nil, errors.New("KeyFilter.Limit is required")
	}
	var where conditions
	where.add(`k.id > ?`, filter.After)
	where.add(`k.deleted_at IS NULL`)
	switch len(filter.Keyspaces) {
	case 0:
	case 1:
		where.add(`k.keyspace = ?`, filter.Keyspaces[0])
	default: // + keeps the order of ids, where an index would have every key sorted
		where.add(`+k.keyspace IN (SELECT value FROM json_each(?))`, jsonOf{filter.Keyspaces})
	}
	for _, field := range [][2]string{
		{`k.owner = ?`, filter.Owner},
		{`k.name = ? AND k.name <> ''`, filter.Name}, // or its index, which is partial, is not used
		{`k.external_id = ? AND k.external_id <> ''`, filter.ExternalID},
	} {
		if field[1] != "" {
			where.add(field[0], field[1])
		}
	}
	switch filter.State {
	case "":
	case manage.StateActive:
		where.add(`k.state = 'active' AND coalesce(k.expires_at > ?, TRUE)`, stamp(now))
	case manage.StateExpired:
		where.add(`k.state = 'active' AND k.expires_at <= ?`, stamp(now))
	case manage.StateDisabled, manage.StateRevoked:
		where.add(`k.state = ?`, filter.State)
	default:
		return "", nil, fmt.Errorf("KeyFilter.State %q does not exist", filter.State)
	}
	return selectKeyRecord + where.sql() + ` ORDER BY k.id LIMIT ?`, append(where.args, filter.Limit), nil
}

// conditions are parts of a WHERE, all of which must hold.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) add(part string, args ...any) {
	c.parts, c.args = append(c.parts, part), append(c.args, args...)
}

func (c *conditions) sql() string { return strings.Join(c.parts, ` AND `) }

// AddKeys implements manage.KeyTx.
func (c *change) AddKeys(ctx context.Context, recs []manage.KeyRecord) error {
	for i := range recs {
		if err := c.addKey(ctx, &recs[i]); err != nil {
			return fmt.Errorf("adding key %s: %w", recs[i].Key.ID, err)
		}
	}
	return nil
}

func (c *change) addKey(ctx context.Context, rec *manage.KeyRecord) error {
	if _, err := c.exec(ctx, insertBudget, budgetArgs(rec.Budget)...); err != nil {
		return fmt.Errorf("budget %s: %w", rec.Budget.ID, err)
	}
	k := &rec.Key
	status, err := c.newStatus(ctx, k.Keyspace)
	if err != nil {
		return fmt.Errorf("keyspace %s: %w", k.Keyspace, taken(err))
	}
	_, err = c.exec(ctx, insertKey, k.ID, k.Digest[:], k.Start, k.Keyspace, k.Owner, k.Name,
		jsonOf{k.Permissions}, jsonOf{k.Audiences}, rawOf(k.Metadata), k.State,
		stamp(k.CreatedAt), stamp(k.ExpiresAt), k.ExternalID, rec.Budget.ID, status.List, status.Index,
		rec.Reason, rec.Replaces, rec.ReplacedBy, stamp(rec.DeletedAt))
	return taken(err)
}

// LockKeys implements manage.KeyTx.
func (c *change) LockKeys(ctx context.Context, ids []verifier.KeyID) ([]manage.KeyRecord, error) {
	return c.keys(ctx, `k.id IN (SELECT value FROM json_each(?)) ORDER BY k.id`, ids)
}

// DigestsTaken implements manage.KeyTx.
func (c *change) DigestsTaken(ctx context.Context, digests []verifier.Digest) ([]manage.KeyRecord, error) {
	wanted := make([]string, len(digests))
	for i, d := range digests {
		wanted[i] = hex.EncodeToString(d[:])
	}
	return c.keys(ctx, `k.digest IN (SELECT unhex(value) FROM json_each(?)) ORDER BY k.id`, wanted)
}

// keys are those that the condition finds in a list, which it is given as JSON.
func (c *change) keys(ctx context.Context, condition string, list any) ([]manage.KeyRecord, error) {
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	rows, err := c.query(ctx, selectKeyRecord+condition, string(text))
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	found, err := collect(rows, scanKeyRecord)
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	return found, nil
}

// SaveKey implements manage.KeyTx.
func (c *change) SaveKey(ctx context.Context, rec manage.KeyRecord) error {
	k := &rec.Key
	found, err := c.LockKeys(ctx, []verifier.KeyID{k.ID})
	if err == nil && len(found) == 0 {
		err = manage.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("changing key %s: %w", k.ID, err)
	}
	_, err = c.exec(ctx, updateKey, k.ID, k.Owner, k.Name, jsonOf{k.Permissions}, jsonOf{k.Audiences}, rawOf(k.Metadata),
		k.State, stamp(k.ExpiresAt), k.ExternalID, rec.Reason, rec.Replaces, rec.ReplacedBy, stamp(rec.DeletedAt), stamp(c.now))
	before := manage.StatusOf(found[0].Key.State)
	if after := manage.StatusOf(k.State); err == nil && after != before {
		err = c.setStatus(ctx, found[0].Status, after)
	}
	if err != nil {
		return fmt.Errorf("changing key %s: %w", k.ID, err)
	}
	return nil
}

// LockBudget implements manage.KeyTx.
func (c *change) LockBudget(ctx context.Context, id verifier.BudgetID) (verifier.Budget, error) {
	b, err := one(ctx, c.transaction, scanBudget, `SELECT `+budgetColumns+` FROM budgets b WHERE b.id = ?`, id)
	if err != nil {
		return verifier.Budget{}, fmt.Errorf("budget %s: %w", id, err)
	}
	return b, nil
}

// SaveBudget implements manage.KeyTx.
func (c *change) SaveBudget(ctx context.Context, b verifier.Budget) error {
	if err := saveBudget(ctx, c.transaction, b.ID, &b); err != nil {
		return fmt.Errorf("writing budget %s: %w", b.ID, err)
	}
	return nil
}
