package sqlite

import (
	"fmt"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// What a verifier.Record is made of; scanRecord reads the columns in this order.
const (
	recordColumns = `k.id, k.digest, k.start, k.keyspace, k.owner, k.name, k.permissions, k.audiences,
		k.metadata, k.state, k.created_at, k.expires_at, k.external_id, k.status_list, k.status_index, s.status_generation, ` + keyspaceColumns + `, ` + budgetColumns
	recordJoins = ` JOIN keyspaces s ON s.name = k.keyspace JOIN budgets b ON b.id = k.budget_id`
)

func scanRecord(row scanner) (verifier.Record, error) {
	rec := verifier.Record{Budget: new(verifier.Budget)}
	if err := row.Scan(recordDest(&rec)...); err != nil {
		return rec, fmt.Errorf("%w: %w", verifier.ErrBadRecord, err)
	}
	return rec, nil
}

// What a manage.KeyRecord has besides; scanKeyRecord reads these columns after
// recordColumns.
const detailColumns = `k.version, k.changed_at, k.reason, k.replaces, k.replaced_by, k.deleted_at`

func scanKeyRecord(row scanner) (manage.KeyRecord, error) {
	rec := manage.KeyRecord{Record: verifier.Record{Budget: new(verifier.Budget)}}
	dest := append(recordDest(&rec.Record), &rec.Version, stampTo{&rec.ChangedAt}, &rec.Reason,
		&rec.Replaces, &rec.ReplacedBy, stampTo{&rec.DeletedAt})
	if err := row.Scan(dest...); err != nil {
		return rec, fmt.Errorf("%w: %w", verifier.ErrBadRecord, err)
	}
	return rec, nil
}

func recordDest(rec *verifier.Record) []any {
	k := &rec.Key
	dest := []any{
		&k.ID, hashTo(k.Digest[:]), &k.Start, &k.Keyspace, &k.Owner, &k.Name,
		jsonTo{&k.Permissions}, jsonTo{&k.Audiences}, rawTo{&k.Metadata}, &k.State,
		stampTo{&k.CreatedAt}, stampTo{&k.ExpiresAt}, &k.ExternalID, &rec.Status.List, &rec.Status.Index, &rec.Status.Generation,
	}
	dest = append(dest, keyspaceDest(&rec.Keyspace)...)
	return append(dest, budgetDest(rec.Budget)...)
}

const budgetColumns = `b.id, b.counted, b.remaining, b.refill_amount, b.refill_interval, b.refill_anchor,
	b.refilled, b.rate_limit, b.rate_window, b.rate_burst, b.tat`

func budgetDest(b *verifier.Budget) []any {
	return []any{
		&b.ID, &b.Counted, &b.Remaining, &b.Refill.Amount, intervalTo{&b.Refill.Interval}, stampTo{&b.Refill.Anchor},
		stampTo{&b.Refilled}, &b.Rate.Limit, &b.Rate.Window, &b.Rate.Burst, stampTo{&b.TAT},
	}
}

func scanBudget(row scanner) (b verifier.Budget, err error) { return b, row.Scan(budgetDest(&b)...) }

// budgetArgs are b's values in the order of budgetColumns.
func budgetArgs(b *verifier.Budget) []any {
	return []any{
		b.ID, b.Counted, b.Remaining, b.Refill.Amount, intervalOf(b.Refill.Interval), stamp(b.Refill.Anchor),
		stamp(b.Refilled), b.Rate.Limit, b.Rate.Window, b.Rate.Burst, stamp(b.TAT),
	}
}
