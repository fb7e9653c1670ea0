package postgres

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// What a verifier.Record is made of; scanRecord reads the columns in this order.
const (
	recordColumns = `k.id, k.digest, k.start, k.keyspace, k.owner, k.name, k.permissions, k.audiences, k.metadata, k.state,
		k.created_at, k.expires_at, k.external_id, k.status_list, k.status_index, s.status_generation, ` + keyspaceColumns + `, ` + budgetColumns
	recordJoins = ` JOIN keyspaces s ON s.name = k.keyspace JOIN budgets b ON b.id = k.budget_id`

	budgetColumns = `b.id, b.counted, b.remaining, b.refill_amount, b.refill_interval, b.refill_anchor,
		b.refilled, b.rate_limit, b.rate_window, b.rate_burst, b.tat`

	// What a manage.KeyRecord has beside, for scanKeyRecord.
	detailColumns   = `k.version, k.changed_at, k.reason, k.replaces, k.replaced_by, k.deleted_at`
	selectKeyRecord = `SELECT ` + recordColumns + `, ` + detailColumns + ` FROM keys k` + recordJoins
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
		&r.metadata, &r.state, &r.created, &r.expires, &k.ExternalID, &status.List, &status.Index, &status.Generation,
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
func scanRecord(row pgx.CollectableRow) (rec verifier.Record, err error) {
	err = readRecord(row, &rec)
	return rec, err
}

func scanKeyRecord(row pgx.CollectableRow) (rec manage.KeyRecord, err error) {
	var changed, deleted pgtype.Int8
	var replaces, replacedBy string
	err = readRecord(row, &rec.Record, &rec.Version, &changed, &rec.Reason, &replaces, &replacedBy, &deleted)
	rec.Replaces, rec.ReplacedBy = verifier.KeyID(replaces), verifier.KeyID(replacedBy)
	rec.ChangedAt, rec.DeletedAt = stamped(changed), stamped(deleted)
	return rec, err
}

// readRecord reads recordColumns, and more columns that follow them.
func readRecord(row pgx.CollectableRow, rec *verifier.Record, more ...any) error {
	rec.Budget = new(verifier.Budget)
	var k keyRow
	var s keyspaceRow
	var b budgetRow
	err := row.Scan(slices.Concat(k.dest(rec), s.dest(&rec.Keyspace), b.dest(rec.Budget), more)...)
	if err == nil {
		err = k.decode(&rec.Key)
	}
	if err == nil {
		err = b.decode(rec.Budget)
	}
	if err != nil {
		return fmt.Errorf("%w: key %s: %w", verifier.ErrBadRecord, k.id, err)
	}
	s.decode(&rec.Keyspace)
	return nil
}

func scanBudget(row pgx.CollectableRow) (b verifier.Budget, err error) {
	var r budgetRow
	if err := row.Scan(r.dest(&b)...); err != nil {
		return b, err
	}
	err = r.decode(&b)
	return b, err
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
	times, err := stamps(b.Refill.Anchor, b.Refilled, b.TAT)
	if err != nil {
		return err
	}
	a.id = append(a.id, string(b.ID))
	a.counted = append(a.counted, b.Counted)
	a.remaining = append(a.remaining, b.Remaining)
	a.amount = append(a.amount, b.Refill.Amount)
	a.interval = append(a.interval, interval)
	a.anchor, a.refilled, a.tat = append(a.anchor, times[0]), append(a.refilled, times[1]), append(a.tat, times[2])
	a.limit = append(a.limit, b.Rate.Limit)
	a.window = append(a.window, int64(b.Rate.Window))
	a.burst = append(a.burst, b.Rate.Burst)
	return nil
}

// keyArrays are the values of several keys, by columns.
type keyArrays struct {
	id, start, keyspace, owner, name []string
	digest                           [][]byte
	permissions, audiences, metadata []*string
	state                            []string
	created, expires                 []*int64
	external, budget                 []string
	list, index                      []int64
	reason, replaces, replacedBy     []string
	deleted                          []*int64
}

// insertKeys has the args of a keyArrays. An array of arrays would need all of one
// length, hence the audiences as text.
const insertKeys = `INSERT INTO keys (id, digest, start, keyspace, owner, name, permissions, audiences, metadata, state,
		created_at, expires_at, external_id, budget_id, status_list, status_index, reason, replaces, replaced_by, deleted_at)
	SELECT n.id, n.digest, n.start, n.keyspace, n.owner, n.name, n.permissions, n.audiences::text[], n.metadata, n.state,
		n.created_at, n.expires_at, n.external_id, n.budget_id, n.list, n.idx, n.reason, n.replaces, n.replaced_by, n.deleted_at
	FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
		$11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::text[], $18::text[], $19::text[], $20::bigint[])
		AS n (id, digest, start, keyspace, owner, name, permissions, audiences, metadata, state,
		created_at, expires_at, external_id, budget_id, list, idx, reason, replaces, replaced_by, deleted_at)`

func (a *keyArrays) args() []any {
	return []any{
		a.id, a.digest, a.start, a.keyspace, a.owner, a.name, a.permissions, a.audiences, a.metadata, a.state,
		a.created, a.expires, a.external, a.budget, a.list, a.index, a.reason, a.replaces, a.replacedBy, a.deleted,
	}
}

// add leaves out the status. It fails for what cannot be stored.
func (a *keyArrays) add(rec *manage.KeyRecord) error {
	k := &rec.Key
	permissions, err := permissionsText(k.Permissions)
	if err != nil {
		return fmt.Errorf("permissions: %w", err)
	}
	times, err := stamps(k.CreatedAt, k.ExpiresAt, rec.DeletedAt)
	if err != nil {
		return err
	}
	a.id = append(a.id, string(k.ID))
	a.digest = append(a.digest, k.Digest[:])
	a.start = append(a.start, k.Start)
	a.keyspace = append(a.keyspace, k.Keyspace)
	a.owner = append(a.owner, k.Owner)
	a.name = append(a.name, k.Name)
	a.permissions = append(a.permissions, permissions)
	a.audiences = append(a.audiences, arrayText(k.Audiences))
	a.metadata = append(a.metadata, rawText(k.Metadata))
	a.state = append(a.state, string(k.State))
	a.created, a.expires, a.deleted = append(a.created, times[0]), append(a.expires, times[1]), append(a.deleted, times[2])
	a.external = append(a.external, k.ExternalID)
	a.budget = append(a.budget, string(rec.Budget.ID))
	a.reason = append(a.reason, rec.Reason)
	a.replaces = append(a.replaces, string(rec.Replaces))
	a.replacedBy = append(a.replacedBy, string(rec.ReplacedBy))
	return nil
}

// took sets the statuses of all keys that were added.
func (a *keyArrays) took(refs []verifier.StatusRef) {
	for _, ref := range refs {
		a.list, a.index = append(a.list, ref.List), append(a.index, ref.Index)
	}
}
