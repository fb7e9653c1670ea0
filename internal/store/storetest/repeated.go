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

// again is a request under the idempotency key id, for so long.
func again(id, request byte, window time.Duration) verifier.Repeat {
	return verifier.Repeat{
		ID: [32]byte{id}, Request: [32]byte{request}, TokenID: fmt.Sprintf("jti_%d_%d", id, request),
		Until: func(first verifier.Grant) time.Time { return first.GrantedAt.Add(window) },
	}
}

// charging asks v for one use of the key, under an idempotency key.
func charging(ctx context.Context, v *verifier.Verifier, key verifier.Secret, r verifier.Repeat) (verifier.Grant, error) {
	return v.Verify(ctx, verifier.Request{
		Key: key, Cost: 1, Repeat: r,
		Client: verifier.Allowance{Audiences: []string{"https://orders.example.com"}, AllKeyspaces: true},
	})
}

func verifierOn(t *testing.T, s verifier.Store) *verifier.Verifier {
	t.Helper()
	v, err := verifier.New(verifier.Config{Store: s, Timeout: time.Minute, Groups: 2})
	must(t, err)
	return v
}

// wantRepeat fails the test unless got repeats first.
func wantRepeat(t *testing.T, first, got verifier.Grant, err error) {
	t.Helper()
	if err != nil || !got.Replayed || got.TokenID != first.TokenID || got.DecidedAt.Before(first.GrantedAt) {
		t.Errorf("%+v, %v; want a repeat of %+v", got, err, first)
	}
	same(t, got.GrantedAt, first.GrantedAt)
	same(t, got.Balance, first.Balance)
}

var repeatedPromises = []promise{
	{"a charge is repeated from what was stored, by every store and after reopening", func(t *testing.T, db *database) {
		secret, key := db.key(func(_ *verifier.Key, b *verifier.Budget) {
			b.Refill = verifier.Refill{Amount: 9, Interval: verifier.Monthly}
			b.Rate = verifier.Rate{Limit: 5, Window: time.Hour, Burst: 5}
		})
		first, err := charging(t.Context(), verifierOn(t, db.Store), secret, again(1, 1, time.Hour))
		if err != nil || first.Replayed {
			t.Fatalf("the first: %+v, %v", first, err)
		}
		other := db.again()
		must(t, db.Close())
		for _, s := range []store.Store{other, db.again()} {
			got, err := charging(t.Context(), verifierOn(t, s), secret, again(1, 1, time.Hour))
			wantRepeat(t, first, got, err)
		}
		if left := remaining(t, other, key.ID); left != first.Balance.Remaining {
			t.Errorf("%d uses left, want %d", left, first.Balance.Remaining)
		}
	}},
	{"fifty callers with one idempotency key, through two stores: one is charged, all are granted the same", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		verifiers := [2]*verifier.Verifier{verifierOn(t, db.Store), verifierOn(t, db.again())}
		var charged atomic.Int64
		tokens := make([]string, 50)
		n := race(t, len(tokens), never, func(i int) error {
			grant, err := charging(t.Context(), verifiers[i%2], secret, again(1, 1, time.Hour))
			if tokens[i] = grant.TokenID; err == nil && !grant.Replayed {
				charged.Add(1)
			}
			return err
		})
		if left := remaining(t, db.Store, key.ID); n != 50 || charged.Load() != 1 || left != 4 {
			t.Errorf("%d granted, %d charged, %d left of 5", n, charged.Load(), left)
		}
		for _, id := range tokens {
			if id != "jti_1_1" {
				t.Errorf("token %q", id)
			}
		}
	}},
	{"one idempotency key for two keys at once, through two stores: at most one is charged", func(t *testing.T, db *database) {
		verifiers := [2]*verifier.Verifier{verifierOn(t, db.Store), verifierOn(t, db.again())}
		for round := range byte(20) {
			one, oneKey := db.key(nil)
			other, otherKey := db.key(nil)
			granted := race(t, 8, freeOrRepeat, func(i int) error {
				secret := [2]verifier.Secret{one, other}[i/2%2]
				grant, err := charging(t.Context(), verifiers[i%2], secret, again(round+1, byte(i/2%2), time.Hour))
				if grant.Replayed {
					return errReplayed
				}
				return err
			})
			left := remaining(t, db.Store, oneKey.ID) + remaining(t, db.Store, otherKey.ID)
			if granted != 1 || left != 9 {
				t.Errorf("%d charged, %d left of 10", granted, left)
			}
		}
	}},
	{"another request under the same idempotency key is refused, and free", func(t *testing.T, db *database) {
		v := verifierOn(t, db.Store)
		secret, key := db.key(nil)
		_, err := charging(t.Context(), v, secret, again(1, 1, time.Hour))
		must(t, err)
		_, err = charging(t.Context(), v, secret, again(1, 2, time.Hour))
		wantErr(t, err, verifier.ErrRepeat)
		if left := remaining(t, db.Store, key.ID); left != 4 {
			t.Errorf("%d uses left, want 4", left)
		}
	}},
	{"what was done under an idempotency key by a manager is no charge, and the other way round", func(t *testing.T, db *database) {
		v := verifierOn(t, db.Store)
		secret, key := db.key(nil)
		must(t, db.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			return tx.Remember(ctx, manage.Done{ID: [32]byte{1}, Request: [32]byte{1}, Answer: []byte(`"key_9"`), Until: tx.Now().Add(time.Hour)})
		}))
		_, err := charging(t.Context(), v, secret, again(1, 2, time.Hour))
		wantErr(t, err, verifier.ErrRepeat)
		_, err = charging(t.Context(), v, secret, again(2, 1, time.Hour))
		must(t, err)
		must(t, db.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			done, err := tx.Done(ctx, [32]byte{2})
			if err == nil && (done == nil || done.Request != [32]byte{1}) {
				t.Errorf("done: %+v", done)
			}
			return err
		}))
		if left := remaining(t, db.Store, key.ID); left != 4 {
			t.Errorf("%d uses left, want 4", left)
		}
	}},
	{"when its time is over, a request is charged anew, and known for another", func(t *testing.T, db *database) {
		v := verifierOn(t, db.Store)
		secret, key := db.key(nil)
		for _, request := range []byte{1, 1, 2} {
			for _, replayed := range []bool{false, true} {
				grant, err := charging(t.Context(), v, secret, again(1, request, time.Minute))
				if err != nil || grant.Replayed != replayed {
					t.Errorf("%+v, %v", grant, err)
				}
			}
			db.shift(time.Minute + time.Second)
		}
		if left := remaining(t, db.Store, key.ID); left != 2 {
			t.Errorf("%d uses left, want 2", left)
		}
	}},
	{"a repeat about a spent key is granted as the first was; another request is refused", func(t *testing.T, db *database) {
		v := verifierOn(t, db.Store)
		secret, _ := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.Remaining = 1 })
		first, err := charging(t.Context(), v, secret, again(1, 1, time.Hour))
		must(t, err)
		got, err := charging(t.Context(), v, secret, again(1, 1, time.Hour))
		wantRepeat(t, first, got, err)
		if _, err := charging(t.Context(), v, secret, again(2, 1, time.Hour)); !spent(err) {
			t.Errorf("another: %v", err)
		}
	}},
	{"a repeat about a key that was revoked since is refused", func(t *testing.T, db *database) {
		v := verifierOn(t, db.Store)
		secret, key := db.key(nil)
		_, err := charging(t.Context(), v, secret, again(1, 1, time.Hour))
		must(t, err)
		must(t, changeState(t.Context(), db, key.ID, verifier.Revoked))
		_, err = charging(t.Context(), v, secret, again(1, 1, time.Hour))
		wantErr(t, err, verifier.ErrRevoked)
	}},
	{"a refusal is not remembered", func(t *testing.T, db *database) {
		v := verifierOn(t, db.Store)
		secret, key := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.State = verifier.Disabled })
		_, err := charging(t.Context(), v, secret, again(1, 1, time.Hour))
		wantErr(t, err, verifier.ErrDisabled)
		must(t, changeState(t.Context(), db, key.ID, verifier.Active))
		grant, err := charging(t.Context(), v, secret, again(1, 1, time.Hour))
		if err != nil || grant.Replayed {
			t.Errorf("%+v, %v", grant, err)
		}
	}},
	{"a decide that panics remembers nothing", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		func() {
			defer func() { _ = recover() }()
			lookup := verifier.Lookup{Digests: []verifier.Digest{key.Digest}, Repeats: [][32]byte{{1}}}
			_ = db.Update(t.Context(), lookup, func(now time.Time, found verifier.Found) {
				found.Repeats[0] = &verifier.Charged{Request: [32]byte{1}, KeyID: key.ID, Until: now.Add(time.Hour)}
				panic("decide")
			})
		}()
		grant, err := charging(t.Context(), verifierOn(t, db.Store), secret, again(1, 1, time.Hour))
		if err != nil || grant.Replayed {
			t.Errorf("%+v, %v", grant, err)
		}
	}},
	{"places come in the order of their ids, and only what was put into an empty one is stored", func(t *testing.T, db *database) {
		lookup := verifier.Lookup{Repeats: [][32]byte{{3}, {1}, {2}}}
		put := func(id verifier.KeyID, places ...int) {
			must(t, db.Update(t.Context(), lookup, func(now time.Time, found verifier.Found) {
				for _, i := range places {
					found.Repeats[i] = &verifier.Charged{Request: lookup.Repeats[i], KeyID: id, Until: now.Add(time.Hour)}
				}
			}))
		}
		put("key_1", 0, 2)
		put("key_2", 0)
		must(t, db.Update(t.Context(), lookup, func(_ time.Time, found verifier.Found) {
			r := found.Repeats
			if len(r) != 3 || r[0] == nil || r[1] != nil || r[2] == nil || r[0].Request != [32]byte{3} || r[0].KeyID != "key_1" || r[2].Request != [32]byte{2} {
				t.Errorf("found %+v", r)
			}
		}))
	}},
}

var errReplayed = errors.New("replayed")

// freeOrRepeat is what those may be told who were not charged.
func freeOrRepeat(err error) bool {
	return errors.Is(err, errReplayed) || errors.Is(err, verifier.ErrRepeat) || errors.Is(err, verifier.ErrUnavailable)
}
