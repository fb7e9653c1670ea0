package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	// One statement sees a key in one state, so it is in one half or the other.
	lockByDigests = `SELECT * FROM (SELECT ` + recordColumns + `, true FROM keys k` + recordJoins + `
			WHERE k.digest = ANY ($1::bytea[]) AND k.state = 'active' ORDER BY b.id FOR NO KEY UPDATE OF b) AS usable
		UNION ALL SELECT ` + recordColumns + `, false FROM keys k` + recordJoins + `
			WHERE k.digest = ANY ($1::bytea[]) AND k.state <> 'active'`

	// One row at least, for the clock.
	selectVersions = `SELECT now.micros, c.id, c.version FROM (SELECT ` + clock + ` AS micros) now
		LEFT JOIN clients c ON c.id = ANY ($1::text[])`

	updateBudgets = `UPDATE budgets b SET (counted, remaining, refill_amount, refill_interval, refill_anchor,
			refilled, rate_limit, rate_window, rate_burst, tat) = ROW (n.counted, n.remaining, n.refill_amount,
			n.refill_interval, n.refill_anchor, n.refilled, n.rate_limit, n.rate_window, n.rate_burst, n.tat)
		FROM ` + unnestBudgets + ` AS n (id, counted, remaining, refill_amount, refill_interval, refill_anchor,
			refilled, rate_limit, rate_window, rate_burst, tat)
		WHERE b.id = n.id`
)

// Update implements verifier.Store. If decide panics, the transaction is rolled
// back and the panic goes on.
func (s *Store) Update(ctx context.Context, lookup verifier.Lookup, decide func(now time.Time, found verifier.Found)) error {
	err := s.transact(ctx, func(tx *transaction) ([]statement, error) {
		g, err := tx.load(ctx, lookup)
		if err != nil {
			return nil, fmt.Errorf("loading keys: %w", err)
		}
		before := make([]verifier.Budget, len(g.budgets))
		for i, b := range g.budgets {
			before[i] = *b
		}
		chargedBefore := slices.Clone(g.found.Repeats)
		decide(g.now, g.found)
		return g.changes(before, chargedBefore)
	})
	if err != nil {
		return fmt.Errorf("updating keys: %w", badRecord(err))
	}
	return nil
}

// badRecord marks an error about a value that no column takes (classes 22, 23).
func badRecord(err error) error {
	if class := codeOf(err); strings.HasPrefix(class, "22") || strings.HasPrefix(class, "23") {
		return fmt.Errorf("%w: %w", verifier.ErrBadRecord, err)
	}
	return err
}

// errNotLocked is the fault of a decide that charges a key which is not active.
var errNotLocked = errors.New("the budget of a key that cannot be used was changed")

// group is what an Update has locked.
type group struct {
	now     time.Time
	found   verifier.Found
	records []*verifier.Record // each once
	budgets []*verifier.Budget // each once, those that are locked in id order
	locked  map[verifier.BudgetID]bool
	repeats [][32]byte // of the lookup
}

// load locks and reads. One digest has one record, however often it is asked for,
// and one budget one place in memory, however many keys share it.
func (tx *transaction) load(ctx context.Context, lookup verifier.Lookup) (*group, error) {
	g := group{repeats: lookup.Repeats}
	var records []lockedRecord
	var charged []*verifier.Charged
	versions := make(map[string]int64, len(lookup.Clients))
	statements := []statement{
		{lockByDigests, []any{bytesOf(lookup.Digests)}},
		{selectVersions, []any{slices.Concat([]string{}, lookup.Clients)}},
	}
	if len(lookup.Repeats) > 0 {
		statements = append(statements, statement{selectCharged, []any{bytesOf(lookup.Repeats)}})
	}
	err := tx.begin(ctx, statements, func(results pgx.BatchResults) error {
		rows, err := results.Query()
		if err != nil {
			return err
		}
		if records, err = collect(rows, scanLocked); err != nil {
			return err
		}
		if rows, err = results.Query(); err != nil {
			return err
		}
		if g.now, err = scanVersions(rows, versions); err != nil || len(lookup.Repeats) == 0 {
			return err
		}
		if rows, err = results.Query(); err == nil {
			charged, err = readCharged(rows, lookup.Repeats, g.now)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	g.found = verifier.Found{Records: g.index(records, lookup.Digests), Clients: make([]int64, len(lookup.Clients)), Repeats: charged}
	for i, id := range lookup.Clients {
		g.found.Clients[i] = versions[id]
	}
	return &g, nil
}

// scanVersions reads the versions of clients, and the clock.
func scanVersions(rows pgx.Rows, versions map[string]int64) (now time.Time, err error) {
	defer rows.Close()
	for rows.Next() {
		var micros int64
		var id *string
		var version *int64
		if err := rows.Scan(&micros, &id, &version); err != nil {
			return now, err
		}
		now = instant(micros)
		if id != nil {
			versions[*id] = *version
		}
	}
	return now, rows.Err()
}

// lockedRecord is a record, and whether its budget is locked.
type lockedRecord struct {
	verifier.Record
	locked bool
}

func scanLocked(row pgx.CollectableRow) (rec lockedRecord, err error) {
	return rec, readRecord(row, &rec.Record, &rec.locked)
}

// index returns the record of each digest, nil for an unknown one. A budget that is
// locked for one key is that for others that share it.
func (g *group) index(records []lockedRecord, digests []verifier.Digest) []*verifier.Record {
	byDigest := make(map[verifier.Digest]*verifier.Record, len(records))
	place := make(map[verifier.BudgetID]*verifier.Budget, len(records))
	g.locked = make(map[verifier.BudgetID]bool, len(records))
	for i := range records { // the locked ones first, in the order of their budgets
		rec := &records[i].Record
		if there := place[rec.Budget.ID]; there != nil {
			rec.Budget = there
		} else {
			place[rec.Budget.ID], g.locked[rec.Budget.ID] = rec.Budget, records[i].locked
			g.budgets = append(g.budgets, rec.Budget)
		}
		g.records = append(g.records, rec)
		byDigest[rec.Key.Digest] = rec
	}
	found := make([]*verifier.Record, len(digests))
	for i, d := range digests {
		found[i] = byDigest[d]
	}
	return found
}

// changes are the statements that write what decide left on the records.
func (g *group) changes(before []verifier.Budget, chargedBefore []*verifier.Charged) ([]statement, error) {
	var statements []statement
	var changed budgetArrays
	for i, b := range g.budgets {
		if b.ID != before[i].ID {
			return nil, fmt.Errorf("id of budget %s was changed to %s", before[i].ID, b.ID)
		}
		if b.Same(before[i]) {
			continue
		}
		if !g.locked[b.ID] {
			return nil, fmt.Errorf("budget %s: %w", b.ID, errNotLocked)
		}
		if err := changed.add(b); err != nil {
			return nil, fmt.Errorf("%w: budget %s: %w", verifier.ErrBadRecord, b.ID, err)
		}
	}
	if len(changed.id) > 0 {
		statements = append(statements, statement{updateBudgets, changed.args()})
	}
	if uses := g.uses(); len(uses.key) > 0 {
		statements = append(statements, statement{insertUses, append(uses.args(), hourOf(g.now))})
	}
	var rows []chargedRow
	for i, c := range g.found.Repeats {
		if c != nil && chargedBefore[i] == nil {
			rows = append(rows, chargedRow{g.repeats[i], c})
		}
	}
	charged, err := saveCharged(rows, g.now)
	return append(statements, charged...), err
}

// uses are what decide counted.
func (g *group) uses() *usageArrays {
	var counts []usage.Count
	for _, rec := range g.records {
		for _, use := range rec.Uses {
			counts = append(counts, usage.Count{
				Key: rec.Key.ID, Client: use.Client, Audience: use.Audience,
				Outcome: usage.Granted, Requests: use.Grants, Cost: use.Cost,
			})
		}
	}
	return arraysOf(counts)
}

// byKey is the order of usage's primary key, the names compared by their bytes.
func byKey(a, b usage.Count) int {
	return cmp.Or(
		cmp.Compare(a.Key, b.Key), cmp.Compare(a.Client, b.Client),
		cmp.Compare(a.Audience, b.Audience), cmp.Compare(a.Outcome, b.Outcome),
	)
}
