package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

var rotatedPromises = []promise{
	{"a balance neither doubles nor halves while its key is rotated under load", rotatedUnderLoad},
	{"after a rotation both keys work until the overlap ends, then the new one", func(t *testing.T, db *database) {
		m := manage.New(db)
		three := int64(3)
		old, err := m.CreateKey(t.Context(), manage.NewKey{Remaining: &three})
		must(t, err)
		made, err := m.RotateKey(t.Context(), old.Key.ID, manage.Rotation{Overlap: 72 * time.Hour})
		must(t, err)
		must(t, exchange(t.Context(), db, old.Secret))
		must(t, exchange(t.Context(), db, made.Secret))
		db.shift(72 * time.Hour)
		if err := exchange(t.Context(), db, old.Secret); !errors.Is(err, verifier.ErrExpired) {
			t.Errorf("the old key: %v", err)
		}
		must(t, exchange(t.Context(), db, made.Secret))
		if err := exchange(t.Context(), db, made.Secret); !spent(err) {
			t.Errorf("a fourth use of three: %v", err)
		}
	}},
	{"a rotation without overlap refuses the old key at once", func(t *testing.T, db *database) {
		m := manage.New(db)
		old, err := m.CreateKey(t.Context(), manage.NewKey{})
		must(t, err)
		made, err := m.RotateKey(t.Context(), old.Key.ID, manage.Rotation{})
		must(t, err)
		if err := exchange(t.Context(), db.again(), old.Secret); !errors.Is(err, verifier.ErrRevoked) {
			t.Errorf("%v", err)
		}
		must(t, exchange(t.Context(), db, made.Secret))
	}},
	{"a rate limit is shared by both keys of a rotation", func(t *testing.T, db *database) {
		m := manage.New(db)
		old, err := m.CreateKey(t.Context(), manage.NewKey{Rate: verifier.Rate{Limit: 6, Window: time.Hour, Burst: 6}})
		must(t, err)
		made, err := m.RotateKey(t.Context(), old.Key.ID, manage.Rotation{Overlap: time.Hour})
		must(t, err)
		secrets := [2]verifier.Secret{old.Secret, made.Secret}
		limited := func(err error) bool { var e *verifier.RateLimitedError; return errors.As(err, &e) }
		if n := race(t, 20, limited, func(i int) error { return exchange(t.Context(), db, secrets[i%2]) }); n != 6 {
			t.Errorf("%d granted, want 6", n)
		}
	}},
	{"of two rotations of a key at the same time one wins", func(t *testing.T, db *database) {
		old, err := manage.New(db).CreateKey(t.Context(), manage.NewKey{})
		must(t, err)
		stores := [2]store.Store{db.Store, db.again()}
		replaced := func(err error) bool { return errors.Is(err, manage.ErrReplaced) }
		n := race(t, 8, replaced, func(i int) error {
			_, err := manage.New(stores[i%2]).RotateKey(t.Context(), old.Key.ID, manage.Rotation{Overlap: time.Hour})
			return err
		})
		if n != 1 {
			t.Errorf("%d rotations", n)
		}
	}},
}

// rotatedUnderLoad rotates a key again and again, while callers use the newest two
// and an operator adds to the budget. In the end, what was granted is what was given.
func rotatedUnderLoad(t *testing.T, db *database) {
	const given, added, rotations, callers = 300, 20, 10, 6
	start := int64(given)
	first, err := manage.New(db).CreateKey(t.Context(), manage.NewKey{Remaining: &start})
	must(t, err)
	var newest [2]atomic.Pointer[verifier.Secret] // the successor and the one before it
	newest[0].Store(&first.Secret)
	newest[1].Store(&first.Secret)

	ctx, stop := context.WithCancel(t.Context())
	var granted atomic.Int64
	var calling sync.WaitGroup
	for i, s := range []store.Store{db.Store, db.again()} {
		for range callers / 2 {
			calling.Go(func() {
				for ctx.Err() == nil {
					switch err := exchange(context.WithoutCancel(ctx), s, *newest[i].Load()); {
					case err == nil:
						granted.Add(1)
					case !spent(err):
						t.Errorf("a caller: %v", err)
					}
				}
			})
		}
	}
	id := first.Key.ID
	m := manage.New(db.again())
	for range rotations {
		made, err := m.RotateKey(t.Context(), id, manage.Rotation{Overlap: time.Hour})
		must(t, err)
		_, err = m.ChangeBudget(t.Context(), id, manage.BudgetChange{Add: added})
		must(t, err)
		newest[1].Store(newest[0].Load())
		newest[0].Store(&made.Secret)
		id = made.Key.ID
	}
	for remaining(t, db, id) > 0 && !t.Failed() { // the callers use up the rest
	}
	stop()
	calling.Wait()
	if got := granted.Load(); got != given+rotations*added {
		t.Errorf("%d granted, want %d", got, given+rotations*added)
	}
}
