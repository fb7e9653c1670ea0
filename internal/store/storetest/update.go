package storetest

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// charge takes n uses from a record.
func charge(n int64) func(time.Time, []*verifier.Record) {
	return func(_ time.Time, found []*verifier.Record) { found[0].Budget.Remaining -= n }
}

var updatePromises = []promise{
	{"a charge is found by whoever reads afterwards", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		must(t, exchange(t.Context(), db, secret))
		if left := remaining(t, db.again(), key.ID); left != 4 {
			t.Errorf("%d uses left, want 4", left)
		}
	}},
	{"records come in the order of their digests, and unknown digests are nil", func(t *testing.T, db *database) {
		_, first := db.key(nil)
		_, second := db.key(nil)
		digests := []verifier.Digest{second.Digest, digest("nobody"), first.Digest}
		must(t, update(t.Context(), db, digests, func(_ time.Time, found []*verifier.Record) {
			if len(found) != 3 || found[0].Key.ID != second.ID || found[1] != nil || found[2].Key.ID != first.ID {
				t.Errorf("found %v", found)
			}
		}))
	}},
	{"a digest asked for twice has one record", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		digests := []verifier.Digest{key.Digest, digest("nobody"), key.Digest, digest("nobody")}
		must(t, update(t.Context(), db, digests, func(_ time.Time, found []*verifier.Record) {
			if found[0] == nil || found[0] != found[2] {
				t.Error("two records of one key")
			}
			found[0].Budget.Remaining--
			found[2].Budget.Remaining--
		}))
		if left := remaining(t, db, key.ID); left != 3 {
			t.Errorf("%d uses left, want 3", left)
		}
	}},
	{"no digests at all: decide is called with none found", func(t *testing.T, db *database) {
		calls := 0
		must(t, update(t.Context(), db, nil, func(_ time.Time, found []*verifier.Record) { calls += 1 + len(found) }))
		if calls != 1 {
			t.Errorf("calls and records: %d, want 1", calls)
		}
	}},
	{"keys that share a budget share it in memory, and spend it together", func(t *testing.T, db *database) {
		old, key := db.key(nil)
		successor, next := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.ID = "budget_0001" })
		digests := []verifier.Digest{key.Digest, next.Digest}
		must(t, update(t.Context(), db, digests, func(_ time.Time, found []*verifier.Record) {
			if found[0].Budget != found[1].Budget {
				t.Error("two copies of one budget")
			}
			found[0].Budget.Remaining--
			found[1].Budget.Remaining--
		}))
		granted := 0
		for range 4 {
			for _, secret := range []verifier.Secret{old, successor} {
				if exchange(t.Context(), db, secret) == nil {
					granted++
				}
			}
		}
		if granted != 3 {
			t.Errorf("%d granted of the 3 left", granted)
		}
	}},
	{"a group of 256 keys is charged as one", func(t *testing.T, db *database) {
		const n = 256
		digests := make([]verifier.Digest, n)
		for i := range digests {
			_, key := db.key(nil)
			digests[n-1-i] = key.Digest
		}
		must(t, update(t.Context(), db, digests, func(_ time.Time, found []*verifier.Record) {
			for i, rec := range found {
				rec.Budget.Remaining = int64(1000 + i)
			}
		}))
		must(t, update(t.Context(), db, digests, func(_ time.Time, found []*verifier.Record) {
			for i, rec := range found {
				if rec.Key.Digest != digests[i] || rec.Budget.Remaining != int64(1000+i) {
					t.Errorf("key %d: %s has %d", i, rec.Key.ID, rec.Budget.Remaining)
				}
			}
		}))
	}},
	{"a refusal writes nothing", func(t *testing.T, db *database) {
		secret, key := db.key(func(k *verifier.Key, b *verifier.Budget) {
			k.State = verifier.Disabled
			b.Refill = verifier.Refill{Amount: 9, Interval: verifier.Monthly}
			b.Rate = verifier.Rate{Limit: 5, Window: time.Hour, Burst: 5}
		})
		before, _, err := db.Key(t.Context(), key.ID)
		must(t, err)
		wantErr(t, exchange(t.Context(), db, secret), verifier.ErrDisabled)
		after, _, err := db.Key(t.Context(), key.ID)
		must(t, err)
		same(t, after, before)
	}},
	{"a refill that is due is written with the charge that found it", func(t *testing.T, db *database) {
		secret, key := db.key(func(_ *verifier.Key, b *verifier.Budget) {
			b.Remaining = 0
			b.Refill = verifier.Refill{Amount: 9, Interval: verifier.Monthly}
		})
		must(t, exchange(t.Context(), db, secret))
		rec, now, err := db.Key(t.Context(), key.ID)
		must(t, err)
		if rec.Budget.Remaining != 8 || rec.Budget.Refilled.Day() != 1 || now.Sub(rec.Budget.Refilled) > 31*24*time.Hour {
			t.Errorf("budget after the refill: %+v", rec.Budget)
		}
	}},
	{"a rate limit is remembered by every store", func(t *testing.T, db *database) {
		secret, _ := db.key(func(_ *verifier.Key, b *verifier.Budget) {
			*b = verifier.Budget{ID: b.ID, Rate: verifier.Rate{Limit: 1, Window: 24 * time.Hour, Burst: 2}}
		})
		must(t, exchange(t.Context(), db, secret))
		must(t, exchange(t.Context(), db.again(), secret))
		wantErr(t, exchange(t.Context(), db.again(), secret), verifier.ErrRefused)
	}},
	{"every field of a budget that decide changed is written", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		want := fullBudget(noon)
		want.ID = "budget_0001"
		must(t, update(t.Context(), db, []verifier.Digest{key.Digest}, func(_ time.Time, found []*verifier.Record) {
			*found[0].Budget = want
		}))
		rec, _, err := db.again().Key(t.Context(), key.ID)
		must(t, err)
		same(t, *rec.Budget, want)
	}},
	{"now is UTC and never runs backwards", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		var last time.Time
		for range 20 {
			must(t, update(t.Context(), db, []verifier.Digest{key.Digest}, func(now time.Time, found []*verifier.Record) {
				if now.Before(last) || now.Location() != time.UTC || now.IsZero() {
					t.Errorf("now is %v after %v", now, last)
				}
				last = now
				found[0].Budget.TAT = now
			}))
			rec, now, err := db.Key(t.Context(), key.ID)
			must(t, err)
			if now.Before(last) || rec.Budget.TAT.Sub(last).Abs() >= time.Microsecond {
				t.Errorf("wrote %v, read %v at %v", last, rec.Budget.TAT, now)
			}
		}
	}},
	{"a decide that panics charges nothing and leaves the store usable", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		func() {
			defer func() {
				if recover() != "decide" {
					t.Error("the panic did not reach the caller")
				}
			}()
			_ = update(t.Context(), db, []verifier.Digest{key.Digest}, func(_ time.Time, found []*verifier.Record) {
				found[0].Budget.Remaining = 0
				panic("decide")
			})
		}()
		must(t, exchange(t.Context(), db, secret))
		must(t, exchange(t.Context(), db.again(), secret))
		if left := remaining(t, db, key.ID); left != 3 {
			t.Errorf("%d uses left, want 3", left)
		}
	}},
	{"a decide that ends its goroutine charges nothing and leaves the store usable", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_ = update(context.Background(), db, []verifier.Digest{key.Digest}, func(_ time.Time, found []*verifier.Record) {
				found[0].Budget.Remaining = 0
				runtime.Goexit()
			})
		}()
		<-gone
		must(t, exchange(t.Context(), db, secret))
		if left := remaining(t, db, key.ID); left != 4 {
			t.Errorf("%d uses left, want 4", left)
		}
	}},
	{"a context that has ended decides and charges nothing", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := update(ctx, db, []verifier.Digest{key.Digest}, func(time.Time, []*verifier.Record) {
			t.Error("decide was called")
		})
		wantErr(t, err, context.Canceled)
		if left := remaining(t, db, key.ID); left != 5 {
			t.Errorf("%d uses left, want 5", left)
		}
	}},
	{"a context that ends in decide: the error says truly whether it charged", func(t *testing.T, db *database) {
		for i := range 20 {
			_, key := db.key(nil)
			ctx, cancel := context.WithCancel(t.Context())
			err := update(ctx, db, []verifier.Digest{key.Digest}, func(_ time.Time, found []*verifier.Record) {
				found[0].Budget.Remaining--
				if i%2 == 0 {
					cancel()
				} else {
					go cancel()
				}
			})
			cancel()
			toldTruly(t, err, remaining(t, db.Store, key.ID), 4, 5)
		}
	}},
	{"a waiter whose context ends leaves, and never decides", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		for name, waiter := range map[string]verifier.Store{"same store": db.Store, "other store": db.again()} {
			waited := make(chan error)
			must(t, update(t.Context(), db, []verifier.Digest{key.Digest}, func(time.Time, []*verifier.Record) {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				go func() {
					defer cancel()
					waited <- update(ctx, waiter, []verifier.Digest{key.Digest}, charge(1))
				}()
				wantErr(t, <-waited, context.DeadlineExceeded)
			}))
			if left := remaining(t, db, key.ID); left != 5 {
				t.Errorf("%s: %d uses left, want 5", name, left)
			}
		}
	}},
}

// toldTruly fails unless what the store holds agrees with Update's error.
func toldTruly(t *testing.T, err error, left, charged, untouched int64) {
	t.Helper()
	want := untouched
	if err == nil {
		want = charged
	}
	if left != want {
		t.Error(fmt.Errorf("%d uses left, want %d, after error %w", left, want, err))
	}
}

// update is an Update of keys alone.
func update(ctx context.Context, s verifier.Store, digests []verifier.Digest, decide func(time.Time, []*verifier.Record)) error {
	return s.Update(ctx, verifier.Lookup{Digests: digests}, func(now time.Time, found verifier.Found) { decide(now, found.Records) })
}
