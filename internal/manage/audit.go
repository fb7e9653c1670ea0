package manage

import (
	"context"
	"errors"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
)

// Audit lists entries of the log: a page of at most 1000, of 100 if no limit is
// given. A client that manages some keyspaces sees what was done in them.
func (m *Manager) Audit(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	q.Limit = min(q.Limit, maxListed)
	if err := span(q.From, q.To); err != nil {
		return nil, err
	}
	var some bool
	if q.Keyspaces, some = m.by.within(q.Keyspaces); !some {
		return []audit.Row{}, nil
	}
	return m.store.Audit(ctx, q)
}

// PageOfAudit is Audit, and tells the last number of a page that others follow, else 0.
func (m *Manager) PageOfAudit(ctx context.Context, q audit.Query) ([]audit.Row, int64, error) {
	rows, err := m.Audit(ctx, q)
	if err != nil || len(rows) == 0 || len(rows) < q.Limit {
		return rows, 0, err
	}
	last := rows[len(rows)-1].Seq
	q = q.Past(last)
	q.Limit = 1
	more, err := m.Audit(ctx, q)
	if err != nil || len(more) == 0 {
		return rows, 0, err
	}
	return rows, last, nil
}

// VerifyAudit looks for what was changed in the log behind our back. See
// audit.Verify.
func (m *Manager) VerifyAudit(ctx context.Context, known []audit.Head, progress func(seq, of int64)) (audit.Report, error) {
	return audit.Verify(ctx, m.store, known, progress)
}

// Refusals lists refused authentications. Only who manages every keyspace may see
// them: they are of none.
func (m *Manager) Refusals(ctx context.Context, from, to time.Time, limit int) ([]audit.Refusal, error) {
	if limit <= 0 {
		limit = 100
	}
	if err := span(from, to); err != nil {
		return nil, err
	}
	if !m.by.everywhere() {
		return []audit.Refusal{}, nil
	}
	if to.IsZero() {
		to = lastExpiry
	}
	return m.store.Refusals(ctx, from, to, min(limit, maxListed))
}

// span refuses times that a store could not hold against those it has.
func span(from, to time.Time) error {
	var bad fields
	bad.check("from", storable(from))
	bad.check("to", storable(to))
	if err := bad.err(); err != nil {
		return err
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return &InvalidError{"to", errors.New("must be after from")}
	}
	return nil
}
