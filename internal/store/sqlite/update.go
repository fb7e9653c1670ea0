package sqlite

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

// CROSS JOIN makes SQLite begin with the digests, however many keys there are.
const selectByDigests = `SELECT ` + recordColumns + `
	FROM json_each(?) d CROSS JOIN keys k ON k.digest = unhex(d.value)` + recordJoins

const updateBudget = `UPDATE budgets SET (id, counted, remaining, refill_amount, refill_interval, refill_anchor,
	refilled, rate_limit, rate_window, rate_burst, tat) = (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) WHERE id = ?1`

// Update implements verifier.Store. The write lock of the whole database is the
// one lock that it takes, before it reads. If decide panics, the transaction is
// rolled back and the panic goes on.
func (s *Store) Update(ctx context.Context, lookup verifier.Lookup, decide func(now time.Time, found verifier.Found)) error {
	err := s.write.do(ctx, func(tx *transaction) error {
		records, budgets, err := load(ctx, tx, lookup.Digests)
		if err != nil {
			return fmt.Errorf("loading keys: %w", err)
		}
		versions, err := clientVersions(ctx, tx, lookup.Clients)
		if err != nil {
			return fmt.Errorf("reading clients: %w", err)
		}
		charged, err := loadCharged(ctx, tx, lookup.Repeats)
		if err != nil {
			return fmt.Errorf("reading what was charged: %w", err)
		}
		before := make([]verifier.Budget, len(budgets))
		for i, b := range budgets {
			before[i] = *b
		}
		now := s.now()
		forgetOver(charged, now)
		chargedBefore := slices.Clone(charged)
		decide(now, verifier.Found{Records: records, Clients: versions, Repeats: charged})
		for i, b := range budgets {
			if b.Same(before[i]) {
				continue
			}
			if err := saveBudget(ctx, tx, before[i].ID, b); err != nil {
				return fmt.Errorf("writing budget %s: %w", before[i].ID, err)
			}
		}
		if err := saveCharged(ctx, tx, lookup.Repeats, chargedBefore, charged); err != nil {
			return fmt.Errorf("remembering a charge: %w", err)
		}
		return saveUses(ctx, tx, now, records)
	})
	if err != nil {
		return fmt.Errorf("updating keys: %w", err)
	}
	return nil
}

// clientVersions returns the version of each client, zero for one that is not
// there.
func clientVersions(ctx context.Context, tx *transaction, ids []string) ([]int64, error) {
	versions := make([]int64, len(ids))
	list, err := json.Marshal(ids)
	if err != nil || len(ids) == 0 {
		return versions, err
	}
	rows, err := tx.query(ctx, `SELECT want.key, c.version FROM json_each(?) want CROSS JOIN clients c ON c.id = want.value`, string(list))
	if err != nil {
		return nil, err
	}
	type found struct{ place, version int64 }
	all, err := collect(rows, func(row scanner) (found, error) {
		var f found
		return f, row.Scan(&f.place, &f.version)
	})
	for _, f := range all {
		versions[f.place] = f.version
	}
	return versions, err
}

// saveUses adds what decide counted to the hour that it is.
func saveUses(ctx context.Context, tx *transaction, now time.Time, records []*verifier.Record) error {
	for i, rec := range records {
		if rec == nil || slices.Contains(records[:i], rec) {
			continue
		}
		for _, use := range rec.Uses {
			err := addUsage(ctx, tx, hourOf(now), usage.Count{
				Key: rec.Key.ID, Client: use.Client, Audience: use.Audience,
				Outcome: usage.Granted, Requests: use.Grants, Cost: use.Cost,
			})
			if err != nil {
				return fmt.Errorf("counting the use of %s: %w", rec.Key.ID, err)
			}
		}
	}
	return nil
}

// load returns the record of each digest, nil for an unknown one, and every
// budget of theirs once. One digest has one record, however often it is
// asked for, and one budget one place in memory, however many keys share it.
func load(ctx context.Context, tx *transaction, digests []verifier.Digest) ([]*verifier.Record, []*verifier.Budget, error) {
	byDigest := make(map[verifier.Digest]*verifier.Record, len(digests))
	wanted := make([]string, 0, len(digests))
	for _, d := range digests {
		if _, listed := byDigest[d]; !listed {
			byDigest[d] = nil
			wanted = append(wanted, hex.EncodeToString(d[:]))
		}
	}
	list, err := json.Marshal(wanted)
	if err != nil {
		return nil, nil, err
	}
	rows, err := tx.query(ctx, selectByDigests, string(list))
	if err != nil {
		return nil, nil, err
	}
	records, err := collect(rows, scanRecord)
	if err != nil {
		return nil, nil, err
	}

	var budgets []*verifier.Budget
	byID := make(map[verifier.BudgetID]*verifier.Budget, len(records))
	for i := range records {
		rec := &records[i]
		if shared, ok := byID[rec.Budget.ID]; ok {
			rec.Budget = shared
		} else {
			byID[rec.Budget.ID] = rec.Budget
			budgets = append(budgets, rec.Budget)
		}
		byDigest[rec.Key.Digest] = rec
	}
	found := make([]*verifier.Record, len(digests))
	for i, d := range digests {
		found[i] = byDigest[d]
	}
	return found, budgets, nil
}

// saveBudget writes b over the budget that was loaded as id. Nothing in here
// waits, so it is not cut short: the caller looks at ctx before it commits.
func saveBudget(ctx context.Context, tx *transaction, id verifier.BudgetID, b *verifier.Budget) error {
	if b.ID != id {
		return fmt.Errorf("its id was changed to %s", b.ID)
	}
	n, err := tx.exec(context.WithoutCancel(ctx), updateBudget, budgetArgs(b)...)
	switch {
	case err != nil && (codeOf(err) == 0 || codeOf(err)&0xff == sqlite3.SQLITE_CONSTRAINT):
		return fmt.Errorf("%w: %w", verifier.ErrBadRecord, err) // a value that no column takes
	case err == nil && n != 1:
		return fmt.Errorf("%d rows written", n)
	}
	return err
}
