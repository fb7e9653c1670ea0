package postgres

import (
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/verifier"
)

// What a verifier.Record is made of; scanRecord reads the columns in this order.
const (
	recordColumns = `k.id, k.digest, k.start, k.keyspace, k.owner, k.name, k.permissions, k.audiences,
		k.metadata, k.state, k.created_at, k.expires_at, k.status_list, k.status_index, s.status_generation, ` + keyspaceColumns + `, ` + budgetColumns
	recordJoins = ` JOIN keyspaces s ON s.name = k.keyspace JOIN budgets b ON b.id = k.budget_id`

	budgetColumns = `b.id, b.counted, b.remaining, b.refill_amount, b.refill_interval, b.refill_anchor,
		b.refilled, b.rate_limit, b.rate_window, b.rate_burst, b.tat`
)

// keyRow is a key as its columns hold it.
type keyRow struct {
	id, state        string
	digest, metadata []byte
	permissions      []byte
	created, expires pgtype.Int8
}

func (r *keyRow) dest(rec *verifier.Record) []any {
	k, status := &rec.Key, &rec.Status
	return []any{
		&r.id, &r.digest, &k.Start, &k.Keyspace, &k.Owner, &k.Name, &r.permissions, &k.Audiences,
		&r.metadata, &r.state, &r.created, &r.expires, &status.List, &status.Index, &status.Generation,
	}
}

func (r *keyRow) decode(k *verifier.Key) (err error) {
	k.ID, k.State, k.Metadata = verifier.KeyID(r.id), verifier.State(r.state), json.RawMessage(r.metadata)
	k.CreatedAt, k.ExpiresAt = stamped(r.created), stamped(r.expires)
	if k.Digest, err = digestOf(r.digest); err != nil {
		return err
	}
	k.Permissions, err = parsePermissions(r.permissions)
	return err
}

// budgetRow is a budget as its columns hold it.
type budgetRow struct {
	id                    string
	interval              pgtype.Text
	anchor, refilled, tat pgtype.Int8
}

func (r *budgetRow) dest(b *verifier.Budget) []any {
	return []any{
		&r.id, &b.Counted, &b.Remaining, &b.Refill.Amount, &r.interval, &r.anchor,
		&r.refilled, &b.Rate.Limit, (*int64)(&b.Rate.Window), &b.Rate.Burst, &r.tat,
	}
}

func (r *budgetRow) decode(b *verifier.Budget) (err error) {
	b.ID, b.Refill.Anchor = verifier.BudgetID(r.id), stamped(r.anchor)
	b.Refilled, b.TAT = stamped(r.refilled), stamped(r.tat)
	b.Refill.Interval, err = parseInterval(r.interval)
	return err
}

// scanRecord fails with verifier.ErrBadRecord for what should never have been
// stored.
func scanRecord(row pgx.CollectableRow) (verifier.Record, error) {
	rec := verifier.Record{Budget: new(verifier.Budget)}
	var k keyRow
	var s keyspaceRow
	var b budgetRow
	dest := append(k.dest(&rec), s.dest(&rec.Keyspace)...)
	err := row.Scan(append(dest, b.dest(rec.Budget)...)...)
	if err == nil {
		err = k.decode(&rec.Key)
	}
	if err == nil {
		err = b.decode(rec.Budget)
	}
	if err != nil {
		return rec, fmt.Errorf("%w: key %s: %w", verifier.ErrBadRecord, k.id, err)
	}
	s.decode(&rec.Keyspace)
	return rec, nil
}

// budgetArrays are the values of several budgets, by columns.
type budgetArrays struct {
	id                    []string
	counted               []bool
	remaining, amount     []int64
	interval              []*string
	anchor, refilled, tat []*int64
	limit, window, burst  []int64
}

// unnestBudgets are the rows of a budgetArrays' args, in the order of
// budgetColumns.
const unnestBudgets = `unnest($1::text[], $2::boolean[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[],
	$7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])`

func (a *budgetArrays) args() []any {
	return []any{
		a.id, a.counted, a.remaining, a.amount, a.interval, a.anchor,
		a.refilled, a.limit, a.window, a.burst, a.tat,
	}
}

// add fails for what cannot be stored.
func (a *budgetArrays) add(b *verifier.Budget) error {
	interval, err := intervalText(b.Refill.Interval)
	if err != nil {
		return err
	}
	anchor, err := stamp(b.Refill.Anchor)
	if err != nil {
		return err
	}
	refilled, err := stamp(b.Refilled)
	if err != nil {
		return err
	}
	tat, err := stamp(b.TAT)
	if err != nil {
		return err
	}
	a.id = append(a.id, string(b.ID))
	a.counted = append(a.counted, b.Counted)
	a.remaining = append(a.remaining, b.Remaining)
	a.amount = append(a.amount, b.Refill.Amount)
	a.interval = append(a.interval, interval)
	a.anchor = append(a.anchor, anchor)
	a.refilled = append(a.refilled, refilled)
	a.limit = append(a.limit, b.Rate.Limit)
	a.window = append(a.window, int64(b.Rate.Window))
	a.burst = append(a.burst, b.Rate.Burst)
	a.tat = append(a.tat, tat)
	return nil
}
