package exchange_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// stranger asks for what is there and for what is not.
type stranger struct {
	*exchange.Exchange
	t       *testing.T
	caller  *exchange.Caller
	revoked verifier.Secret
}

func newStranger(t *testing.T, url string) *stranger {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := store.Open(t.Context(), url)
	must(err)
	t.Cleanup(func() { _ = db.Close() })
	m := manage.New(db)
	made, err := m.CreateClient(t.Context(), manage.NewClient{ID: "orders", Audiences: []string{orders}, Keyspaces: []string{"*"}})
	must(err)
	ring, err := issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{Store: db, MasterKey: issuer.NewMasterKey()})
	must(err)
	iss, err := issuer.New(issuer.Config{Issuer: "https://keys.example.com", Keyring: ring})
	must(err)
	v, err := verifier.New(verifier.Config{Store: db})
	must(err)
	counts := usage.NewRecorder(usage.RecorderConfig{Store: db, Log: slog.New(slog.DiscardHandler)})
	x, err := exchange.New(exchange.Config{Clients: db, Keys: db, Verifier: v, Issuer: iss, Usage: counts, Revoke: m.RevokeFor})
	must(err)
	key, err := m.CreateKey(t.Context(), manage.NewKey{Permissions: verifier.Permissions{"projects": {"read"}}})
	must(err)
	_, err = m.RevokeKey(t.Context(), key.Key.ID)
	must(err)
	caller, err := x.Authenticate(t.Context(), "orders", client.BySecret(made.Secret))
	must(err)
	return &stranger{x, t, caller, key.Secret}
}

// authenticate fails with a secret that is nobody's.
func (s *stranger) authenticate(id string) {
	_, err := s.Authenticate(s.t.Context(), id, client.BySecret(verifier.NewSecret("cs_a-secret-that-is-nobodys")))
	if !errors.Is(err, exchange.ErrClient) {
		s.t.Fatal(err)
	}
}

// exchange fails for what the key is.
func (s *stranger) exchange(key verifier.Secret, want error) {
	_, _, err := s.Exchange.Exchange(s.t.Context(), s.caller, exchange.Request{Key: key, Targets: []string{orders}, Cost: 1})
	if !errors.Is(err, want) {
		s.t.Fatal(err)
	}
}

// alike holds two calls, made in turns, to taking about the same time: the slower one,
// by the quarter of calls that nothing held up, at most ratio times the other. What
// differs by more does so in every round; a round that others have disturbed is made
// again.
func alike(t *testing.T, ratio float64, one, other func()) {
	t.Helper()
	const rounds, pairs = 6, 250
	var all []float64
	for range rounds {
		took := [2][]time.Duration{}
		for i := range 2 * pairs {
			which := (i + i/2) % 2 // one other, other one
			began := time.Now()
			[]func(){one, other}[which]()
			took[which] = append(took[which], time.Since(began))
		}
		got := quarter(took[0]) / quarter(took[1])
		if got <= ratio && 1/got <= ratio {
			return
		}
		all = append(all, got)
	}
	t.Errorf("the one takes %.2f times as long as the other, in every round", all)
}

func quarter(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/4])
}

func TestWhatIsNotThereCostsTheSame(t *testing.T) {
	// Where there is no network in between, decoding the row of what is there weighs more.
	most := map[string]float64{"SQLite": 1.8, "PostgreSQL": 1.4}
	for name, open := range map[string]func(t *testing.T) string{
		"SQLite": func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "cambio.db") },
		"PostgreSQL": func(t *testing.T) string {
			return pgtest.Database(t, "exchange", func(ctx context.Context, url string) error {
				db, err := store.Open(ctx, url)
				if err != nil {
					return err
				}
				return db.Close()
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStranger(t, open(t))
			t.Run("an unknown client as a known one with a wrong secret", func(t *testing.T) {
				alike(t, most[name], func() { s.authenticate("orders") }, func() { s.authenticate("nobody") })
			})
			t.Run("an unknown key as a revoked one", func(t *testing.T) {
				unknown, err := verifier.GenerateKey("ck")
				if err != nil {
					t.Fatal(err)
				}
				alike(t, most[name], func() { s.exchange(s.revoked, verifier.ErrRevoked) }, func() { s.exchange(unknown, verifier.ErrUnknown) })
			})
		})
	}
}
