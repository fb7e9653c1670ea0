package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

var repeatPromises = []promise{
	{"what was done is found under its id, byte for byte, and under no other", func(t *testing.T, db *database) {
		d := remembered(t, db, "id", time.Hour)
		same(t, done(t, db.again(), "id"), &d)
		same(t, done(t, db, "Id"), nil)
	}},
	{"a transaction finds what it remembered itself", func(t *testing.T, db *database) {
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
			d := doneAs("id", "{}", tx.Now().Add(time.Hour))
			must(t, tx.Remember(ctx, d))
			got, err := tx.Done(ctx, d.ID)
			must(t, err)
			same(t, got, &d)
			return nil
		})
	}},
	{"what was done stands: to remember it again is ErrExists", func(t *testing.T, db *database) {
		first := remembered(t, db, "id", time.Hour)
		err := db.again().Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			return tx.Remember(ctx, doneAs("id", `{"second":true}`, tx.Now().Add(2*time.Hour)))
		})
		wantErr(t, err, manage.ErrExists)
		same(t, done(t, db, "id"), &first)
	}},
	{"when its time is over it is not found, and the id is free", func(t *testing.T, db *database) {
		remembered(t, db, "id", time.Hour)
		other := remembered(t, db, "other", 3*time.Hour)
		db.shift(time.Hour)
		same(t, done(t, db, "id"), nil)
		second := remembered(t, db, "id", time.Minute)
		same(t, done(t, db, "id"), &second)
		same(t, done(t, db, "other"), &other)
	}},
	{"the time is over at the instant that was said", func(t *testing.T, db *database) {
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
			d := doneAs("id", "{}", tx.Now())
			must(t, tx.Remember(ctx, d))
			got, err := tx.Done(ctx, d.ID)
			must(t, err)
			same(t, got, nil)
			return tx.Remember(ctx, doneAs("id", "{}", tx.Now().Add(time.Hour)))
		})
	}},
	{"of twenty repeats at once one does it, and the others are answered from that", repeatsAtOnce},
	{"a change and its twins, all at once, are one change, and each is told of it", twinsAtOnce},
	{"what is over is forgotten, so many at a time, and the rest stays", func(t *testing.T, db *database) {
		for i := range 5 {
			remembered(t, db, fmt.Sprint("old", i), time.Hour)
		}
		kept := remembered(t, db, "kept", 3*time.Hour)
		forget := func(limit, want int) {
			t.Helper()
			n, err := db.ForgetRepeats(t.Context(), limit)
			must(t, err)
			if n != want {
				t.Errorf("%d forgotten, want %d", n, want)
			}
		}
		forget(10, 0)
		db.shift(2 * time.Hour)
		forget(2, 2)
		forget(10, 3)
		forget(10, 0)
		same(t, done(t, db, "kept"), &kept)
		db.shift(-2 * time.Hour)
		same(t, done(t, db, "old0"), nil)
	}},
	{"those who forget at once forget each repeat once", func(t *testing.T, db *database) {
		for i := range 30 {
			remembered(t, db, fmt.Sprint("old", i), time.Hour)
		}
		db.shift(2 * time.Hour)
		stores := [2]store.Store{db.Store, db.again()}
		var forgotten atomic.Int64
		race(t, 4, never, func(i int) error {
			n, err := stores[i%2].ForgetRepeats(t.Context(), 5)
			forgotten.Add(int64(n))
			return err
		})
		rest, err := db.ForgetRepeats(t.Context(), 100)
		must(t, err)
		if got := forgotten.Load(); got > 20 || got+int64(rest) != 30 {
			t.Errorf("%d and then %d forgotten of 30", got, rest)
		}
	}},
}

func doneAs(id, answer string, until time.Time) manage.Done {
	return manage.Done{ID: digest(id), Request: digest("request of " + id), Answer: []byte(answer), Until: until}
}

// remembered remembers something for so long.
func remembered(t *testing.T, s store.Store, id string, life time.Duration) (d manage.Done) {
	t.Helper()
	mustChange(t, s, func(ctx context.Context, tx manage.Tx) error {
		d = doneAs(id, "{\"z\" : 1.0,\n\"a\":\"☃ \\u0000\", \"a\":12345678901234567890}", tx.Now().Add(life))
		return tx.Remember(ctx, d)
	})
	return d
}

func done(t *testing.T, s store.Store, id string) (d *manage.Done) {
	t.Helper()
	mustChange(t, s, func(ctx context.Context, tx manage.Tx) (err error) {
		d, err = tx.Done(ctx, digest(id))
		return err
	})
	return d
}

func repeatsAtOnce(t *testing.T, db *database) {
	stores := [2]store.Store{db.Store, db.again()}
	answers := make([]string, 20)
	answer := func(i int) error {
		return stores[i%2].Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			d, err := tx.Done(ctx, digest("id"))
			if err != nil {
				return err
			}
			if d == nil {
				key := verifier.Key{ID: verifier.KeyID(fmt.Sprintf("key_r%02d", i)), Digest: digest(fmt.Sprint(i)), Keyspace: "default", State: verifier.Active}
				if err := tx.AddKeys(ctx, []manage.KeyRecord{keyRecord(key, verifier.Budget{ID: verifier.BudgetID(key.ID)})}); err != nil {
					return err
				}
				made := doneAs("id", string(key.ID), tx.Now().Add(time.Hour))
				d = &made
				if err := tx.Remember(ctx, made); err != nil {
					return err
				}
			}
			answers[i] = string(d.Answer)
			return nil
		})
	}
	race(t, len(answers), never, func(i int) error {
		err := answer(i)
		if errors.Is(err, manage.ErrExists) { // as a caller would: what the other did is there now
			err = answer(i)
		}
		return err
	})
	keys, _, err := db.Keys(t.Context(), manage.KeyFilter{Limit: 100})
	must(t, err)
	if len(keys) != 1 {
		t.Fatalf("%d keys, want 1", len(keys))
	}
	for i, got := range answers {
		if got != string(keys[0].Key.ID) {
			t.Errorf("caller %d was answered %q, want %q", i, got, keys[0].Key.ID)
		}
	}
}
