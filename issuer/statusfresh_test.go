package issuer_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/issuer"
)

func TestTheStoreIsAskedWhenSomebodyAsksAndNotMoreThanFourTimesASecond(t *testing.T) {
	virtually(t, func(t *testing.T) {
		store := &statuses{}
		store.open(8)
		p := publish(t, store)
		time.Sleep(time.Hour)
		if store.lookedAt() != 1 {
			t.Errorf("%d looks when it was opened and for nobody since", store.lookedAt())
		}
		for range 1000 {
			time.Sleep(time.Millisecond)
			p.get("1.0")
		}
		if n := store.lookedAt() - 1; n < 4 || n > 5 {
			t.Errorf("%d looks in a second", n)
		}
	})
}

func TestAChangeIsPublishedWithinAQuarterOfASecond(t *testing.T) {
	virtually(t, func(t *testing.T) {
		store := &statuses{}
		store.open(8)
		p := publish(t, store)
		for range 20 {
			store.set(1, 5, 1)
			time.Sleep(251 * time.Millisecond)
			if p.get("1.0").at(5) != 1 {
				t.Fatal("not there")
			}
			store.set(1, 5, 0)
			for range 10 {
				time.Sleep(26 * time.Millisecond)
				p.get("1.0")
			}
			if p.get("1.0").at(5) != 0 {
				t.Fatal("still there")
			}
		}
	})
}

func TestAListThatWasJustOpenedIsFound(t *testing.T) {
	virtually(t, func(t *testing.T) {
		store := &statuses{}
		store.open(8)
		p := publish(t, store)
		p.get("1.0")
		store.open(8)
		p.get("2.0")
		store.void(2)
		p.get("2.1")
		uris, err := p.URIs(t.Context())
		want := []string{"https://keys.example.com/statuslists/1.0", "https://keys.example.com/statuslists/2.1"}
		if err != nil || !slices.Equal(uris, want) {
			t.Errorf("%v, %v", uris, err)
		}
	})
}

func TestAsManyAsLikeMayAskForListsThatAreNotThere(t *testing.T) {
	virtually(t, func(t *testing.T) {
		store := &statuses{}
		store.open(8)
		p := publish(t, store)
		var askers sync.WaitGroup
		for range 50 {
			askers.Go(func() {
				for range 20 {
					p.want("7.0", issuer.ErrNoStatusList)
				}
			})
		}
		began := time.Now()
		askers.Wait()
		if n, most := store.lookedAt(), int(time.Since(began)/(50*time.Millisecond))+2; n > most {
			t.Errorf("%d looks in %s", n, time.Since(began))
		}
		looks := store.lookedAt()
		p.want("1.x", issuer.ErrNoStatusList)
		if store.lookedAt() != looks {
			t.Error("a look for a name that nothing has")
		}
	})
}

func TestWhatIsNotKnownIsNotSaid(t *testing.T) {
	away := errors.New("the store is away")
	for name, accident := range map[string]struct {
		err   error
		delay time.Duration
	}{
		"while the store is away": {err: away},
		"while the store hangs":   {delay: time.Hour},
		"while the store is slow": {delay: 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				store := &statuses{}
				store.open(8)
				p := publish(t, store)
				if accident.err != nil {
					time.Sleep(900 * time.Millisecond)
					store.breaks(accident.err, 0)
					p.get("1.0") // what was known less than a second ago
				}
				time.Sleep(time.Second)
				store.breaks(accident.err, accident.delay)
				store.set(1, 5, 1)
				began := time.Now()
				for range 3 {
					p.want("1.0", issuer.ErrStatusesUnknown)
					p.want("2.0", issuer.ErrStatusesUnknown)
				}
				if _, err := p.URIs(t.Context()); !errors.Is(err, issuer.ErrStatusesUnknown) {
					t.Errorf("the lists: %v", err)
				}
				if waited := time.Since(began); waited > 7*time.Second {
					t.Errorf("seven callers were kept for %s", waited)
				}
				store.breaks(nil, 0)
				time.Sleep(6 * time.Second)
				if p.get("1.0").at(5) != 1 {
					t.Error("what happened meanwhile is not there")
				}
			})
		})
	}
}

func TestALookThatFailsHalfWayTakesNothingOver(t *testing.T) {
	virtually(t, func(t *testing.T) {
		store := &statuses{}
		store.open(8)
		p := publish(t, store)
		store.set(1, 5, 1)
		store.breaks(errors.New("lost"), 0) // after all changes were passed
		time.Sleep(500 * time.Millisecond)
		if got := p.get("1.0"); got.at(5) != 0 || got.version != 1 {
			t.Errorf("%d in version %v", got.at(5), got.version)
		}
		store.breaks(nil, 0)
		time.Sleep(500 * time.Millisecond)
		if got := p.get("1.0"); got.at(5) != 1 || got.version != 2 {
			t.Errorf("%d in version %v", got.at(5), got.version)
		}
	})
}

func TestACallerMayLeave(t *testing.T) {
	virtually(t, func(t *testing.T) {
		store := &statuses{}
		store.open(8)
		p := publish(t, store)
		time.Sleep(2 * time.Second)
		store.breaks(nil, 500*time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		var stays sync.WaitGroup
		stays.Go(func() { p.get("1.0") })
		cancel()
		if _, err := p.Token(ctx, "1.0"); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		stays.Wait()
	})
}

func TestListsAreOpenedWhole(t *testing.T) {
	store := &statuses{err: errors.New("away")}
	if _, err := issuer.OpenStatusLists(t.Context(), issuer.StatusListsConfig{Issuer: newIssuer(t, newKeyring(t)), Store: store}); err == nil {
		t.Error("opened without the store")
	}
	if _, err := issuer.OpenStatusLists(t.Context(), issuer.StatusListsConfig{Store: &statuses{}}); err == nil {
		t.Error("opened without an issuer")
	}
}
