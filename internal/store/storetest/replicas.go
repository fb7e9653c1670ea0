package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

var replicaPromises = []promise{
	{"three replicas grant what is owned, no less and no more", func(t *testing.T, db *database) {
		f := newFleet(t, db, 10, 2, 60)
		f.race(300, 4, func(int) int64 { return 1 }) // twice what is owned
		f.exactly(func(_ int) int64 { return 60 })
	}},
	{"three replicas refuse nobody while enough is left, and charge every cost once", func(t *testing.T, db *database) {
		f := newFleet(t, db, 5, 3, 1_000_000)
		asked := f.race(200, 3, func(caller int) int64 { return int64(1 + caller%3) })
		f.exactly(func(budget int) int64 { return asked[budget] })
	}},
	{"three replicas race for one key", func(t *testing.T, db *database) {
		f := newFleet(t, db, 1, 1, 150)
		f.race(200, 1, func(int) int64 { return 1 })
		f.exactly(func(int) int64 { return 150 })
	}},
	{"keys made, disabled and enabled meanwhile are in nobody's way", func(t *testing.T, db *database) {
		f := newFleet(t, db, 4, 2, 1_000_000)
		var done atomic.Bool
		var operator sync.WaitGroup
		operator.Go(func() { f.operate(&done) })
		f.race(200, 4, func(int) int64 { return 1 })
		done.Store(true)
		operator.Wait()
		f.exactly(func(budget int) int64 { return f.acknowledgedOf(budget) })
	}},
}

// fleet is three replicas on one database, with keys that share budgets.
type fleet struct {
	t        *testing.T
	db       *database
	stores   [3]store.Store
	replicas [3]*verifier.Verifier
	uses     int64
	keys     []fleetKey
}

type fleetKey struct {
	secret       verifier.Secret
	key          verifier.Key
	budget       int
	acknowledged atomic.Int64 // cost
	grants       atomic.Int64
}

// newFleet makes budgets of so many uses, each with so many keys.
func newFleet(t *testing.T, db *database, budgets, keys int, uses int64) *fleet {
	t.Helper()
	f := &fleet{t: t, db: db, stores: [3]store.Store{db.Store, db.again(), db.again()}, uses: uses}
	for i, s := range f.stores {
		v, err := verifier.New(verifier.Config{Store: s, Timeout: time.Minute, Groups: groupsInFlight})
		must(t, err)
		f.replicas[i] = v
	}
	f.keys = make([]fleetKey, budgets*keys)
	for i := range f.keys {
		k := &f.keys[i]
		k.budget = i % budgets
		k.secret, k.key = db.key(func(_ *verifier.Key, b *verifier.Budget) {
			b.ID, b.Remaining = f.budgetID(k.budget), uses
		})
	}
	return f
}

func (f *fleet) budgetID(i int) verifier.BudgetID {
	return verifier.BudgetID(fmt.Sprintf("budget_shared_%02d", i))
}

// race lets callers ask so many times each, for keys in an order of their own,
// so that every replica groups them differently. It returns the cost that was
// asked for, by budget. Nobody may be told anything but yes, or that a key is
// spent or disabled.
func (f *fleet) race(callers, times int, cost func(caller int) int64) map[int]int64 {
	asked := map[int]int64{}
	orders := make([][]int, callers)
	for i := range orders {
		for n := range times {
			orders[i] = append(orders[i], (i*times+n)%len(f.keys))
			asked[f.keys[orders[i][n]].budget] += cost(i)
		}
		rand.Shuffle(times, func(a, b int) { orders[i][a], orders[i][b] = orders[i][b], orders[i][a] })
	}
	race(f.t, callers, never, func(i int) error {
		for _, n := range orders[i] {
			k := &f.keys[n]
			_, err := f.replicas[i%3].Verify(f.t.Context(), verifier.Request{
				Key: k.secret, Cost: cost(i),
				Client: verifier.Allowance{ID: "orders", Audiences: []string{audience}, AllKeyspaces: true},
			})
			switch reason := verifier.Reason(err); {
			case err == nil:
				k.acknowledged.Add(cost(i))
				k.grants.Add(1)
			case reason != "spent" && reason != "disabled":
				return err
			}
		}
		return nil
	})
	return asked
}

// operate does what an operator may do at any time: it gives the budgets more
// keys, and disables and enables those that there are.
func (f *fleet) operate(done *atomic.Bool) {
	for i := 0; i == 0 || !done.Load(); i++ {
		k := &f.keys[i%len(f.keys)]
		for n, state := range []verifier.State{verifier.Disabled, verifier.Active} {
			if err := changeState(f.t.Context(), f.stores[(i+n)%3], k.key.ID, state); err != nil {
				f.t.Errorf("making a key %s: %v", state, err)
			}
		}
		more := verifier.Key{
			ID: verifier.KeyID(fmt.Sprintf("key_more_%04d", i)), Digest: digest(fmt.Sprint("more", i)),
			Keyspace: "default", State: verifier.Active, CreatedAt: noon,
		}
		if err := AddKey(f.t.Context(), f.stores[i%3], more, verifier.Budget{ID: f.budgetID(k.budget), Counted: true}); err != nil {
			f.t.Errorf("giving a budget another key: %v", err)
		}
	}
}

func (f *fleet) acknowledgedOf(budget int) (sum int64) {
	for i := range f.keys {
		if f.keys[i].budget == budget {
			sum += f.keys[i].acknowledged.Load()
		}
	}
	return sum
}

// exactly fails unless every budget was charged this much, as callers were told,
// as it has left, and as it is counted.
func (f *fleet) exactly(want func(budget int) int64) {
	f.t.Helper()
	for i := range f.keys {
		k := &f.keys[i]
		taken := f.uses - remaining(f.t, f.stores[i%3], k.key.ID)
		told := f.acknowledgedOf(k.budget)
		if taken != want(k.budget) || told != taken {
			f.t.Errorf("budget %d was charged %d, of which callers know %d, want %d", k.budget, taken, told, want(k.budget))
		}
		var counted, grants int64
		for _, p := range totals(f.t, f.stores[(i+1)%3], usage.Query{Key: k.key.ID}) {
			counted += p.Cost
			grants += p.Requests
		}
		if counted != k.acknowledged.Load() || grants != k.grants.Load() {
			f.t.Errorf("%s: %d counted in %d grants, %d acknowledged in %d",
				k.key.ID, counted, grants, k.acknowledged.Load(), k.grants.Load())
		}
	}
}
