package postgres_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/verifier"
)

func TestReplicasThatRaceChargeExactlyAndNeverDeadlock(t *testing.T) {
	const keys, uses, rounds, workers = 20, 100000, 60, 3
	url := database(t)
	replicas := []*postgres.Store{open(t, url), open(t, url)}
	digests := addKeys(t, replicas[0], keys, uses)
	var racing sync.WaitGroup
	var mu sync.Mutex
	var charged [keys]int64
	for i := range workers * len(replicas) {
		racing.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range rounds {
				chosen := r.Perm(keys)[:1+r.IntN(keys)]
				var some []verifier.Digest
				for _, k := range chosen {
					some = append(some, digests[k])
				}
				if err := update(t.Context(), replicas[i%2], some, take(1)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, k := range chosen {
					charged[k]++
				}
				mu.Unlock()
			}
		})
	}
	racing.Wait()
	conn := connect(t, url)
	for k, n := range charged {
		if left := ask[int64](t, conn, fmt.Sprintf(`SELECT remaining FROM budgets WHERE id = '%s'`, id(k))); left != uses-n {
			t.Errorf("key %d: %d left after %d charges of %d", k, left, n, uses)
		}
		if counted := ask[int64](t, conn, fmt.Sprintf(`SELECT sum(requests)::bigint FROM usage WHERE key_id = '%s'`, id(k))); counted != n {
			t.Errorf("key %d: %d counted, %d charged", k, counted, n)
		}
	}
	noDeadlock(t, conn, replicas...)
}

// twoKeys stores two keys whose digests are in the other order than their ids, and
// returns these.
func twoKeys(t *testing.T, s *postgres.Store) (ids [2]verifier.KeyID, digests []verifier.Digest) {
	t.Helper()
	all := addKeys(t, s, 20, 5)
	for i, d := range all {
		if j := i + 1 + slices.IndexFunc(all[i+1:], func(e verifier.Digest) bool { return bytes.Compare(e[:], d[:]) < 0 }); j > i {
			return [2]verifier.KeyID{id(i), id(j)}, []verifier.Digest{d, all[j]}
		}
	}
	t.Fatal("the digests of 20 keys are in the order of their ids")
	return ids, nil
}

func TestLocksAreTakenInIDOrder(t *testing.T) {
	url := database(t)
	s := open(t, url)
	ids, digests := twoKeys(t, s)
	rival, watch := connect(t, url), connect(t, url)
	run(t, rival, `BEGIN`, fmt.Sprintf(`SELECT 1 FROM budgets WHERE id = '%s' FOR UPDATE`, ids[0]))
	var updating sync.WaitGroup
	updating.Go(func() {
		if err := update(t.Context(), s, digests, take(1)); err != nil {
			t.Error(err)
		}
	})
	until(t, watch, waiting)
	// It waits for the first, so it does not hold the second.
	_, err := rival.Exec(t.Context(), fmt.Sprintf(`SELECT 1 FROM budgets WHERE id = '%s' FOR UPDATE NOWAIT`, ids[1]))
	run(t, rival, `ROLLBACK`)
	updating.Wait()
	must(t, err)
}

func TestWhatIsDecidedOnIsWhatTheLockWaitLeft(t *testing.T) {
	url := database(t)
	s := open(t, url)
	digests := addKeys(t, s, 1, 5)
	rival, watch := connect(t, url), connect(t, url)
	run(t, rival, `BEGIN`, `UPDATE budgets SET remaining = 3`)
	var updating sync.WaitGroup
	var left int64
	var at time.Time
	updating.Go(func() {
		err := update(t.Context(), s, digests, func(now time.Time, found []*verifier.Record) {
			left, at = found[0].Budget.Remaining, now
			take(1)(now, found)
		})
		if err != nil {
			t.Error(err)
		}
	})
	until(t, watch, waiting)
	before := ask[time.Time](t, watch, `SELECT clock_timestamp()`)
	run(t, rival, `COMMIT`)
	updating.Wait()
	if left != 3 || at.Before(before) {
		t.Errorf("decided on %d uses at %v, want 3 after %v", left, at, before)
	}
	if left := ask[int64](t, watch, `SELECT remaining FROM budgets`); left != 2 {
		t.Errorf("%d left, want 2", left)
	}
}

// A real deadlock: the rival holds a row of usage and wants the budgets, one of
// which the Update holds, which then wants the row of usage. A lock on the table is
// one that nobody can get before the rival who asked first.
func TestADeadlockIsSurvivedAndChargesOnce(t *testing.T) {
	url := database(t)
	s := open(t, url+"&deadlock_timeout=10ms")
	digests := addKeys(t, s, 1, 5)
	must(t, update(t.Context(), s, digests, take(1)))
	rival, watch := connect(t, url+"&deadlock_timeout=1h"), connect(t, url)
	run(t, rival, `BEGIN`, `SELECT 1 FROM usage FOR UPDATE`)
	var rivalling sync.WaitGroup
	decided := 0
	err := update(t.Context(), s, digests, func(now time.Time, found []*verifier.Record) {
		if decided++; decided == 1 {
			rivalling.Go(func() {
				if _, err := rival.Exec(t.Context(), `LOCK TABLE budgets IN EXCLUSIVE MODE; COMMIT`); err != nil {
					t.Errorf("the rival was the victim: %v", err)
				}
			})
			until(t, watch, waiting)
		}
		take(1)(now, found)
	})
	rivalling.Wait()
	must(t, err)
	if left := ask[int64](t, watch, `SELECT remaining FROM budgets`); left != 3 || decided != 2 {
		t.Errorf("%d left and decided %d times, want 3 and 2", left, decided)
	}
	if counted := ask[int64](t, watch, `SELECT sum(requests)::bigint FROM usage`); counted != 2 {
		t.Errorf("%d counted, want 2", counted)
	}
}

func TestOfAGroupOnlyTheChangedBudgetsAreWritten(t *testing.T) {
	url := database(t)
	s := open(t, url)
	digests := addKeys(t, s, 4, 5)
	conn := connect(t, url)
	const versions = `SELECT array_agg(xmin::text ORDER BY id) FROM budgets`
	before := ask[[]string](t, conn, versions)
	must(t, update(t.Context(), s, digests, func(_ time.Time, found []*verifier.Record) {
		found[0].Budget.Remaining-- // and back: as it was
		found[0].Budget.Remaining++
		found[2].Budget.TAT = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		found[3].Budget.Remaining--
	}))
	after := ask[[]string](t, conn, versions)
	for i, want := range []bool{false, false, true, true} {
		if written := after[i] != before[i]; written != want {
			t.Errorf("budget %d: written is %t, want %t", i, written, want)
		}
	}
}

func TestAChargeTouchesNoIndex(t *testing.T) {
	url := database(t)
	s := open(t, url)
	digests := addKeys(t, s, 1, 1000)
	for range 20 {
		must(t, update(t.Context(), s, digests, take(1)))
	}
	conn := connect(t, url)
	until(t, conn, `SELECT n_tup_upd >= 20 FROM pg_stat_user_tables WHERE relname = 'budgets'`)
	for _, table := range []string{"budgets", "usage"} {
		if n := ask[int64](t, conn, fmt.Sprintf(`SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = '%s'`, table)); n != 0 {
			t.Errorf("%d updates of %s were not HOT", n, table)
		}
	}
}
