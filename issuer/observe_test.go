package issuer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/issuer"
)

// emptied is a store whose signing keys can be taken away past everybody.
type emptied struct {
	issuer.KeyStore
	empty bool
}

func (e *emptied) SigningKeys(ctx context.Context) ([]issuer.SealedKey, time.Time, error) {
	keys, now, err := e.KeyStore.SigningKeys(ctx)
	if e.empty {
		keys = nil
	}
	return keys, now, err
}

func (e *emptied) ChangeSigningKeys(ctx context.Context, change func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error)) error {
	if e.empty {
		return errors.New("read only")
	}
	return e.KeyStore.ChangeSigningKeys(ctx, change)
}

func TestAKeyringIsReadyAsLongAsEveryAlgorithmSigns(t *testing.T) {
	store := &emptied{KeyStore: newStore(t)}
	ring, err := issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{
		Store: store, MasterKey: issuer.NewMasterKey(), Algorithms: []string{issuer.EdDSA, issuer.ES256},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Ready(); err != nil {
		t.Error(err)
	}
	var states []string
	for _, k := range ring.Timetable().Keys {
		states = append(states, k.Algorithm+" "+string(k.State))
	}
	if diff := cmp.Diff([]string{"EdDSA active", "EdDSA pending", "ES256 active", "ES256 pending"}, states); diff != "" {
		t.Error(diff)
	}
	store.empty = true
	if err := ring.Refresh(t.Context()); err == nil {
		t.Error("a store that is empty and read only was followed")
	}
	if err := ring.Ready(); !errors.Is(err, issuer.ErrNoSigningKey) {
		t.Errorf("ready without keys: %v", err)
	}
	if n := len(ring.Timetable().Keys); n != 0 {
		t.Errorf("%d keys", n)
	}
}

func TestTheTimetableSaysWhenTheNextKeySigns(t *testing.T) {
	timetable := newKeyring(t).Timetable()
	active, pending := timetable.Keys[0], timetable.Keys[1]
	if left := active.StopsAt.Sub(timetable.Now); !active.StopsAt.Equal(pending.ActivatesAt) || left <= issuer.DefaultPeriod-time.Hour || left > issuer.DefaultPeriod {
		t.Errorf("%v left; %+v, %+v", left, active, pending)
	}
	if timetable.Age < 0 || timetable.Age > time.Minute {
		t.Errorf("seen %v ago", timetable.Age)
	}
}

func TestStatusListsAreReadyUntilTheLastThatWasHandedOutHasExpired(t *testing.T) {
	virtually(t, func(t *testing.T) {
		store := &statuses{}
		store.open(8)
		p := publish(t, store)
		store.fail(errors.New("away"))
		time.Sleep(9*time.Minute + 50*time.Second)
		if err := p.Ready(t.Context()); err != nil {
			t.Errorf("%v of age: %v", p.Health().Age, err)
		}
		time.Sleep(15 * time.Second)
		if err := p.Ready(t.Context()); !errors.Is(err, issuer.ErrStatusesUnknown) {
			t.Errorf("%v of age: %v", p.Health().Age, err)
		}
		store.fail(nil)
		time.Sleep(time.Second)
		if err := p.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		if h := p.Health(); h.Lists != 1 || h.Age > time.Second || h.Revision == 0 {
			t.Errorf("%+v", h)
		}
		time.Sleep(time.Hour) // in which nobody asks
		if err := p.Ready(t.Context()); err != nil {
			t.Errorf("a server at rest is not ready: %v", err)
		}
	})
}

// fail makes the next looks fail, or succeed again.
func (s *statuses) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}
