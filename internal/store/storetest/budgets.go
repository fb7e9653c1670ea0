package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

var budgetPromises = []promise{
	{"two keys that are added with one budget share what the first brought", func(t *testing.T, db *database) {
		secrets, keys := unstored(t, 2)
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
			return tx.AddKeys(ctx, []manage.KeyRecord{
				keyRecord(keys[0], verifier.Budget{ID: "shared", Counted: true, Remaining: 5}),
				keyRecord(keys[1], verifier.Budget{ID: "shared", Counted: true, Remaining: 1000}),
			})
		})
		spendAll(t, db, secrets, 5)
	}},
	{"keys that are added at once with one budget have its uses once, while it is charged", func(t *testing.T, db *database) {
		stores := [2]store.Store{db.Store, db.again()}
		secrets, keys := unstored(t, 10)
		var granted atomic.Int64
		race(t, len(keys), never, func(i int) error {
			err := AddKey(t.Context(), stores[i%2], keys[i], verifier.Budget{ID: "shared", Counted: true, Remaining: 5})
			if err != nil {
				return err
			}
			if err := exchange(t.Context(), stores[(i+1)%2], secrets[i]); err == nil {
				granted.Add(1)
			} else if !spent(err) {
				return err
			}
			return nil
		})
		if granted.Load() != 5 {
			t.Errorf("%d granted, want 5", granted.Load())
		}
		spendAll(t, db, secrets, 0)
	}},
	{"what is given while a budget is charged is there exactly", func(t *testing.T, db *database) {
		secret, key := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.Remaining = 20 })
		stores := [2]store.Store{db.Store, db.again()}
		var granted, given atomic.Int64
		given.Store(20)
		race(t, 120, never, func(i int) error {
			if i%6 == 0 {
				given.Add(3)
				return give(t.Context(), stores[i/6%2], key.ID, 3)
			}
			switch err := exchange(t.Context(), stores[i%2], secret); {
			case err == nil:
				granted.Add(1)
			case !spent(err):
				return err
			}
			return nil
		})
		if left := remaining(t, db, key.ID); granted.Load()+left != given.Load() || granted.Load() < 20 {
			t.Errorf("%d granted and %d left of %d", granted.Load(), left, given.Load())
		}
	}},
	{"every field of a budget that is saved is stored, and no other budget", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		_, other := db.key(nil)
		want := fullBudget(noon)
		want.ID = "budget_0001"
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
			_, err := lockKey(ctx, tx, key.ID)
			must(t, err)
			b, err := tx.LockBudget(ctx, want.ID)
			must(t, err)
			same(t, b, verifier.Budget{ID: want.ID, Counted: true, Remaining: 5})
			return tx.SaveBudget(ctx, want)
		})
		same(t, *mustKey(t, db.again(), key.ID).Budget, want)
		same(t, remaining(t, db, other.ID), 5)
	}},
	{"a budget that cannot be kept is not saved", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		err := db.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			return tx.SaveBudget(ctx, verifier.Budget{ID: "budget_0001", Counted: true, Remaining: -1})
		})
		if err == nil {
			t.Error("no error")
		}
		same(t, remaining(t, db, key.ID), 5)
	}},
	{"a budget that is not there is ErrNotFound", func(t *testing.T, db *database) {
		wantErr(t, db.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			_, err := tx.LockBudget(ctx, "nothing")
			return err
		}), manage.ErrNotFound)
	}},
}

// unstored makes n keys that are not stored yet.
func unstored(t *testing.T, n int) ([]verifier.Secret, []verifier.Key) {
	t.Helper()
	secrets, keys := make([]verifier.Secret, n), make([]verifier.Key, n)
	for i := range keys {
		secret, err := verifier.GenerateKey("ck")
		must(t, err)
		secrets[i] = secret
		keys[i] = verifier.Key{
			ID: verifier.KeyID(fmt.Sprintf("key_u%02d", i)), Digest: secret.Digest(), Keyspace: "default", State: verifier.Active,
		}
	}
	return secrets, keys
}

// spendAll uses keys, one after the other, each until it is spent, and wants this
// many uses to be granted in all.
func spendAll(t *testing.T, db *database, keys []verifier.Secret, want int) {
	t.Helper()
	granted := 0
	for _, key := range keys {
		err := exchange(t.Context(), db, key)
		for ; err == nil; err = exchange(t.Context(), db, key) {
			granted++
		}
		if !spent(err) {
			t.Fatal(err)
		}
	}
	if granted != want {
		t.Errorf("%d granted, want %d", granted, want)
	}
}

// give adds n uses to the budget of a key.
func give(ctx context.Context, s store.Store, id verifier.KeyID, n int64) error {
	return s.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
		rec, err := lockKey(ctx, tx, id)
		if err != nil {
			return err
		}
		b, err := tx.LockBudget(ctx, rec.Budget.ID)
		if err != nil {
			return err
		}
		b.Remaining += n
		return tx.SaveBudget(ctx, b)
	})
}
