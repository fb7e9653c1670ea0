package exchange_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// foreign has not the form of keys that are made here.
const foreign = "QuiteLongKeyOfSixtyFourLettersLikeThoseThatBetterAuthHandsOutABC"

// bringForeign imports that key into a keyspace that is made for it.
func (h *house) bringForeign() {
	h.t.Helper()
	if _, err := h.manage.PrepareImport(h.t.Context(), []string{"old"}, false); err != nil {
		h.t.Fatal(err)
	}
	key := manage.ImportKey{Digest: verifier.NewSecret(foreign).Digest(), Keyspace: "old", State: verifier.Active}
	results, err := h.manage.ImportKeys(h.t.Context(), []manage.ImportKey{key}, false)
	if err != nil || results[0].Err != nil {
		h.t.Fatal(results, err)
	}
}

func TestAnImportedKeyIsGoodAsSoonAsItsClientMayUseIt(t *testing.T) {
	for name, use := range map[string]func(*house, *exchange.Caller) error{
		"to exchange it": func(h *house, c *exchange.Caller) error { return h.exchange(c, verifier.NewSecret(foreign)) },
		"to verify it": func(h *house, c *exchange.Caller) error {
			v, err := h.Verify(t.Context(), c, exchange.VerifyRequest{Key: verifier.NewSecret(foreign), Cost: 1})
			return errors.Join(v.Refusal, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			_, err := h.manage.PatchClient(t.Context(), "orders", manage.ClientPatch{Rights: &[]client.Right{client.TokensExchange, client.KeysVerify}})
			if err != nil {
				t.Fatal(err)
			}
			if err := use(h, h.authenticate()); !errors.Is(err, verifier.ErrMalformed) {
				t.Fatalf("before there are imported keys: %v", err)
			}
			h.bringForeign() // within the second in which the client is remembered
			if err := use(h, h.authenticate()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatCannotBeAKeyAsksNothingOfTheStore(t *testing.T) {
	h := newHouse(t)
	c := h.authenticate()
	h.reads = 0
	for _, key := range []string{"", strings.Repeat("k", verifier.MaxKey+1), "eyJhbGciOiJub25lIn0.e30.x"} {
		if err := h.exchange(c, verifier.NewSecret(key)); !errors.Is(err, verifier.ErrRefused) || h.reads != 0 {
			t.Errorf("%.20s: %v, after %d reads of the client", key, err, h.reads)
		}
	}
}

// slow is a store whose reads of clients wait to be let go.
type slow struct {
	exchange.Clients
	begun chan struct{}
}

func (s slow) Client(ctx context.Context, id string) (*client.Client, error) {
	<-s.begun
	return s.Clients.Client(ctx, id)
}

func TestAFloodOfKeysOfOtherFormsSharesItsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer func() { _ = h.store.Close() }()
		c := h.authenticate()
		s := slow{h, make(chan struct{})}
		cfg := h.config()
		cfg.Clients = s
		x, err := exchange.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		h.reads = 0
		var flood sync.WaitGroup
		for range 100 {
			flood.Go(func() {
				_, _, err := x.Exchange(t.Context(), c, exchange.Request{Key: verifier.NewSecret("no such key"), Cost: 1, Targets: []string{orders}})
				if !errors.Is(err, verifier.ErrMalformed) {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(s.begun)
		flood.Wait()
		if h.reads != 2 { // of the first, and of all that came while it waited
			t.Errorf("the client was read %d times", h.reads)
		}
	})
}
