package sqlite

import (
	"fmt"

	"github.com/cambio-auth/cambio/verifier"
)

// What a verifier.Record is made of; scanRecord reads the columns in this order.
const (
	recordColumns = `k.id, k.digest, k.start, k.keyspace, k.owner, k.name, k.permissions, k.audiences,
		k.metadata, k.state, k.created_at, k.expires_at, k.status_list, k.status_index, s.status_generation, ` + keyspaceColumns + `, ` + budgetColumns
	recordJoins = ` JOIN keyspaces s ON s.name = k.keyspace JOIN budgets b ON b.id = k.budget_id`
)

func scanRecord(row scanner) (verifier.Record, error) {
	rec := verifier.Record{Budget: new(verifier.Budget)}
	k := &rec.Key
	dest := []any{
		&k.ID, digestTo{&k.Digest}, &k.Start, &k.Keyspace, &k.Owner, &k.Name,
		jsonTo{&k.Permissions}, jsonTo{&k.Audiences}, rawTo{&k.Metadata}, &k.State,
		stampTo{&k.CreatedAt}, stampTo{&k.ExpiresAt}, &rec.Status.List, &rec.Status.Index, &rec.Status.Generation,
	}
	dest = append(dest, keyspaceDest(&rec.Keyspace)...)
	dest = append(dest, budgetDest(rec.Budget)...)
	if err := row.Scan(dest...); err != nil {
		return rec, fmt.Errorf("%w: %w", verifier.ErrBadRecord, err)
	}
	return rec, nil
}

const budgetColumns = `b.id, b.counted, b.remaining, b.refill_amount, b.refill_interval, b.refill_anchor,
	b.refilled, b.rate_limit, b.rate_window, b.rate_burst, b.tat`

func budgetDest(b *verifier.Budget) []any {
	return []any{
		&b.ID, &b.Counted, &b.Remaining, &b.Refill.Amount, intervalTo{&b.Refill.Interval}, stampTo{&b.Refill.Anchor},
		stampTo{&b.Refilled}, &b.Rate.Limit, &b.Rate.Window, &b.Rate.Burst, stampTo{&b.TAT},
	}
}

// budgetArgs are b's values in the order of budgetColumns.
func budgetArgs(b *verifier.Budget) []any {
	return []any{
		b.ID, b.Counted, b.Remaining, b.Refill.Amount, intervalOf(b.Refill.Interval), stamp(b.Refill.Anchor),
		stamp(b.Refilled), b.Rate.Limit, b.Rate.Window, b.Rate.Burst, stamp(b.TAT),
	}
}
