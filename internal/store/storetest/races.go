package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

// race runs n callers at once and returns how many got nil. An error that is
// not expected fails the test.
func race(t *testing.T, n int, expected func(error) bool, call func(i int) error) int64 {
	t.Helper()
	var granted atomic.Int64
	var callers sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		callers.Go(func() {
			<-start
			switch err := call(i); {
			case err == nil:
				granted.Add(1)
			case !expected(err):
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	close(start)
	callers.Wait()
	return granted.Load()
}

var errNotActive = errors.New("not active")

var racePromises = []promise{
	{"ten callers of a key with five uses left: five are granted", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		if n := race(t, 10, spent, func(int) error { return exchange(t.Context(), db, secret) }); n != 5 {
			t.Errorf("%d granted, want 5", n)
		}
		if left := remaining(t, db, key.ID); left != 0 {
			t.Errorf("%d uses left, want 0", left)
		}
	}},
	{"fifty callers through two stores: five are granted", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		stores := [2]store.Store{db.Store, db.again()}
		if n := race(t, 50, spent, func(i int) error { return exchange(t.Context(), stores[i%2], secret) }); n != 5 {
			t.Errorf("%d granted, want 5", n)
		}
		for _, s := range stores {
			if left := remaining(t, s, key.ID); left != 0 {
				t.Errorf("%d uses left, want 0", left)
			}
		}
	}},
	{"two keys that share a budget never exceed it together", func(t *testing.T, db *database) {
		old, _ := db.key(nil)
		successor, _ := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.ID = "budget_0001" })
		secrets := [2]verifier.Secret{old, successor}
		stores := [2]store.Store{db.Store, db.again()}
		n := race(t, 20, spent, func(i int) error { return exchange(t.Context(), stores[i/2%2], secrets[i%2]) })
		if n != 5 {
			t.Errorf("%d granted, want 5", n)
		}
	}},
	{"concurrent updates never see each other half done", func(t *testing.T, db *database) {
		_, a := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.Remaining = 50 })
		_, b := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.Remaining = 50 })
		stores := [2]store.Store{db.Store, db.again()}
		race(t, 40, never, func(i int) error {
			digests := [2]verifier.Digest{a.Digest, b.Digest}
			from, to := i%2, 1-i%2
			return update(t.Context(), stores[i/2%2], digests[:], func(_ time.Time, found []*verifier.Record) {
				if sum := found[0].Budget.Remaining + found[1].Budget.Remaining; sum != 100 {
					t.Errorf("%d in both, want 100", sum)
				}
				found[from].Budget.Remaining--
				found[to].Budget.Remaining++
			})
		})
		if left := remaining(t, db, a.ID) + remaining(t, db, b.ID); left != 100 {
			t.Errorf("%d in both, want 100", left)
		}
	}},
	{"updates that name the same keys in opposite orders all succeed", func(t *testing.T, db *database) {
		var digests, reversed [8]verifier.Digest
		for i := range digests {
			_, key := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.Remaining = 1000 })
			digests[i], reversed[7-i] = key.Digest, key.Digest
		}
		stores := [2]store.Store{db.Store, db.again()}
		race(t, 40, never, func(i int) error {
			order := digests
			if i%2 == 1 {
				order = reversed
			}
			return update(t.Context(), stores[i%2], order[:], func(_ time.Time, found []*verifier.Record) {
				for _, rec := range found {
					rec.Budget.Remaining--
				}
			})
		})
		for i := range digests {
			if left := remaining(t, db, verifier.KeyID(fmt.Sprintf("key_%04d", i+1))); left != 960 {
				t.Errorf("key %d: %d left, want 960", i+1, left)
			}
		}
	}},
	{"a revocation that has returned is seen by every exchange that starts afterwards", revocationIsSeen},
	{"changes to one key take turns: of twenty that disable an active key, one does", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		stores := [2]store.Store{db.Store, db.again()}
		n := race(t, 20, func(err error) bool { return errors.Is(err, errNotActive) }, func(i int) error {
			return ChangeKey(t.Context(), stores[i%2], key.ID, func(_ time.Time, key *verifier.Key) error {
				if key.State != verifier.Active {
					return errNotActive
				}
				key.State = verifier.Disabled
				return nil
			})
		})
		if n != 1 {
			t.Errorf("%d disabled it, want 1", n)
		}
	}},
}

func never(error) bool { return false }

// revocationIsSeen revokes a key while callers exchange it in a loop.
func revocationIsSeen(t *testing.T, db *database) {
	secret, key := db.key(func(_ *verifier.Key, b *verifier.Budget) { *b = verifier.Budget{ID: b.ID} })
	stores := [2]store.Store{db.Store, db.again()}
	var revoked atomic.Bool
	var granted atomic.Int64
	underway := make(chan struct{})
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for {
				after := revoked.Load()
				err := exchange(t.Context(), stores[i%2], secret)
				if err != nil {
					wantErr(t, err, verifier.ErrRevoked)
					return
				}
				if after {
					t.Error("granted after the revocation had returned")
					return
				}
				if granted.Add(1) == 20 {
					close(underway)
				}
			}
		})
	}
	<-underway
	err := changeState(t.Context(), stores[1], key.ID, verifier.Revoked)
	revoked.Store(true)
	callers.Wait()
	must(t, err)
}
