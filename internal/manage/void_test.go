package manage_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/verifier"
)

func TestStatusOf(t *testing.T) {
	for state, want := range map[verifier.State]int{verifier.Active: 0, verifier.Revoked: 1, verifier.Disabled: 2, "": 1} {
		if got := manage.StatusOf(state); got != want {
			t.Errorf("%q: %d, want %d", state, got, want)
		}
	}
}

// cutShort fails at the second batch.
type cutShort struct {
	*sqlite.Store
	batches int
}

func (s *cutShort) Change(ctx context.Context, do func(ctx context.Context, tx manage.Tx) error) error {
	if s.batches++; s.batches == 2 {
		return errors.New("cut short")
	}
	return s.Store.Change(ctx, do)
}

func TestVoidOwner(t *testing.T) {
	m, s, _ := newManager(t)
	const keys = 230
	before := map[verifier.KeyID]verifier.StatusRef{}
	for range keys {
		k := mustKey(t, m, manage.NewKey{Owner: "ann"})
		before[k.Key.ID] = k.Status
	}
	other := mustKey(t, m, manage.NewKey{Owner: "bob"})
	revoked := mustKey(t, m, manage.NewKey{Owner: "ann"})
	if _, err := m.RevokeKey(t.Context(), revoked.Key.ID); err != nil {
		t.Fatal(err)
	}
	as := func(k verifier.KeyID) verifier.StatusRef {
		t.Helper()
		view, err := m.Key(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		return view.Status
	}

	t.Run("cut short, it says how many are done, and not that nothing was, and may be repeated", func(t *testing.T) {
		short := manage.New(&cutShort{Store: s})
		if n, err := short.VoidOwner(t.Context(), "ann"); !errors.Is(err, verifier.ErrOutcomeUnknown) || n != 100 {
			t.Errorf("%d, %v", n, err)
		}
	})
	t.Run("voids the tokens of every key of the owner, and of no other", func(t *testing.T) {
		if n, err := m.VoidOwner(t.Context(), "ann"); err != nil || n != keys {
			t.Errorf("%d keys, %v, want %d", n, err, keys)
		}
		for id, had := range before {
			if as(id) == had {
				t.Errorf("%s still has %v", id, had)
			}
		}
		if as(other.Key.ID) != other.Status || as(revoked.Key.ID) != revoked.Status {
			t.Error("more than it should")
		}
	})
	t.Run("needs an owner; one without keys has no tokens", func(t *testing.T) {
		if _, err := m.VoidOwner(t.Context(), ""); !errors.Is(err, manage.ErrInvalid) {
			t.Errorf("%v", err)
		}
		if n, err := m.VoidOwner(t.Context(), "nobody"); err != nil || n != 0 {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestVoidKeyspaceNeedsOne(t *testing.T) {
	m, _, _ := newManager(t)
	for name, want := range map[string]error{"": manage.ErrInvalid, "no spaces": manage.ErrInvalid, "gone": manage.ErrNotFound} {
		if err := m.VoidKeyspace(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
	if err := m.VoidKeyspace(t.Context(), "default"); err != nil {
		t.Error(err)
	}
}
