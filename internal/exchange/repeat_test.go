package exchange_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

const billing = "https://billing.example.com"

var projects = verifier.Permissions{"projects": {"read", "write"}, "files": {"read", "write"}}

func five() *int64 { n := int64(5); return &n }

func TestARepeatedExchangeIsChargedOnceWhileItsTokenLives(t *testing.T) {
	h := newHouse(t)
	h.newKeyspace(manage.NewKeyspace{Name: "brief", TokenLifetime: 30 * time.Second})
	key := h.newKey(manage.NewKey{Keyspace: "brief", Remaining: five()})
	ask := func() (issuer.Token, verifier.Grant) {
		t.Helper()
		token, grant, err := h.Exchange.Exchange(t.Context(), h.authenticate(), exchange.Request{Key: key.Secret, Cost: 1, IdempotencyKey: "order 7"})
		if err != nil {
			t.Fatal(err)
		}
		return token, grant
	}
	h.now = time.Unix(h.now.Unix(), 0)
	first, _ := ask()
	h.now = h.now.Add(29999 * time.Millisecond)
	again, grant := ask()
	if !grant.Replayed || again.ID != first.ID || first.ExpiresIn != 30*time.Second || again.ExpiresIn != time.Second {
		t.Errorf("%+v, then %+v", first, again)
	}
	if diff := cmp.Diff(claimsOf(t, first), claimsOf(t, again)); diff != "" {
		t.Error(diff)
	}
	h.wantRemaining(key.Key.ID, 4)
	h.now = h.now.Add(time.Millisecond)
	if later, grant := ask(); grant.Replayed || later.ID == first.ID {
		t.Errorf("when the first has expired: %+v", later)
	}
	h.wantRemaining(key.Key.ID, 3)
	h.wantUsage([]usage.Point{{Client: "orders", Audience: orders, Outcome: usage.Granted, Requests: 2, Cost: 2}})
}

func TestAnIdempotencyKeyStandsForOneRequest(t *testing.T) {
	h := newHouse(t)
	secret := h.newClient(manage.NewClient{ID: "both", Audiences: []string{orders, billing}, Keyspaces: []string{"*"},
		Rights: []client.Right{client.TokensExchange, client.KeysVerify}})
	c, err := h.Authenticate(t.Context(), "both", client.BySecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	key := h.newKey(manage.NewKey{Remaining: five(), Permissions: projects})
	other := h.newKey(manage.NewKey{Remaining: five(), Permissions: projects})
	base := exchange.Request{
		Key: key.Secret, Keyspace: "default", Targets: []string{orders}, Cost: 1, IdempotencyKey: "k",
		Permissions: verifier.Permissions{"projects": {"read", "write"}},
	}
	ask := func(req exchange.Request) error {
		_, _, err := h.Exchange.Exchange(t.Context(), c, req)
		return err
	}
	if err := ask(base); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*exchange.Request){
		"another key":         func(r *exchange.Request) { r.Key = other.Secret },
		"no keyspace":         func(r *exchange.Request) { r.Keyspace = "" },
		"another audience":    func(r *exchange.Request) { r.Targets = []string{billing} },
		"other permissions":   func(r *exchange.Request) { r.Permissions = verifier.Permissions{"projects": {"read"}} },
		"another resource":    func(r *exchange.Request) { r.Permissions = verifier.Permissions{"files": {"read", "write"}} },
		"all permissions":     func(r *exchange.Request) { r.Permissions = nil },
		"another cost":        func(r *exchange.Request) { r.Cost = 2 },
		"an impossible scope": func(r *exchange.Request) { r.Unholdable = true },
	} {
		req := base
		change(&req)
		if err := ask(req); !errors.Is(err, verifier.ErrRepeat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.Verify(t.Context(), c, exchange.VerifyRequest{
		Key: key.Secret, Keyspace: "default", Audience: orders, Cost: 1, IdempotencyKey: "k", Permissions: base.Permissions,
	}); !errors.Is(err, verifier.ErrRepeat) {
		t.Errorf("without a token: %v", err)
	}
	same := base
	same.Permissions = verifier.Permissions{"projects": {"write", "read", "write"}}
	if err := ask(same); err != nil {
		t.Errorf("the same in another order: %v", err)
	}
	h.wantRemaining(key.Key.ID, 4)
	h.wantRemaining(other.Key.ID, 5)

	base.Permissions = nil
	if _, _, err := h.Exchange.Exchange(t.Context(), h.authenticate(), base); err != nil {
		t.Errorf("another client: %v", err)
	}
	h.wantRemaining(key.Key.ID, 3)
	base.Targets = nil
	if _, _, err := h.Exchange.Exchange(t.Context(), h.authenticate(), base); !errors.Is(err, verifier.ErrRepeat) {
		t.Errorf("no audience, though it comes to the same: %v", err)
	}
}

// exchangeUnder is exchange with an idempotency key.
func (h *house) exchangeUnder(c *exchange.Caller, key verifier.Secret, idempotencyKey string) error {
	_, _, err := h.Exchange.Exchange(h.t.Context(), c, exchange.Request{Key: key, Cost: 1, IdempotencyKey: idempotencyKey})
	return err
}

func TestARepeatOfATokenThatMustHaveExpiredByNowIsRefused(t *testing.T) {
	h := newHouse(t)
	h.newKeyspace(manage.NewKeyspace{Name: "brief", TokenLifetime: time.Minute})
	key := h.newKey(manage.NewKey{Keyspace: "brief", Remaining: five()})
	if err := h.exchangeUnder(h.authenticate(), key.Secret, "k"); err != nil {
		t.Fatal(err)
	}
	less := 10 * time.Second
	if _, err := h.manage.PatchKeyspace(t.Context(), "brief", manage.KeyspacePatch{TokenLifetime: &less}); err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(20 * time.Second)
	if err := h.exchangeUnder(h.authenticate(), key.Secret, "k"); !errors.Is(err, verifier.ErrRepeat) {
		t.Errorf("%v", err)
	}
	h.wantRemaining(key.Key.ID, 4)
}

func TestARevocationIsInTheLogWithItsClient(t *testing.T) {
	h := newHouse(t)
	secret := h.newClient(manage.NewClient{ID: "revoker", Rights: []client.Right{client.TokensRevoke}})
	key := h.newKey(manage.NewKey{})
	c, err := h.Authenticate(t.Context(), "revoker", client.BySecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	// The client has another version than when it was authenticated.
	h.newKeyspace(manage.NewKeyspace{Name: "old", ImportedKeys: true})
	if id, err := h.Revoke(t.Context(), c, key.Secret.Reveal()); err != nil || id != key.Key.ID {
		t.Fatalf("%s, %v", id, err)
	}
	rows, err := h.store.Audit(t.Context(), audit.Query{Target: string(key.Key.ID), Action: "key.revoke", Limit: 10})
	if err != nil || len(rows) != 1 || rows[0].Actor.ID != "revoker" || rows[0].Actor.Kind != audit.KindClient {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestAClientThatLostTheRightRevokesNothing(t *testing.T) {
	h := newHouse(t)
	secret := h.newClient(manage.NewClient{ID: "revoker", Rights: []client.Right{client.TokensRevoke}})
	key := h.newKey(manage.NewKey{})
	c, err := h.Authenticate(t.Context(), "revoker", client.BySecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.manage.PatchClient(t.Context(), "revoker", manage.ClientPatch{Rights: &[]client.Right{client.KeysRead}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Revoke(t.Context(), c, key.Secret.Reveal()); !errors.Is(err, exchange.ErrRight) {
		t.Errorf("%v", err)
	}
	if k, err := h.manage.Key(t.Context(), key.Key.ID); err != nil || k.Key.State != verifier.Active {
		t.Errorf("%s, %v", k.Key.State, err)
	}
}

func TestVerify(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	verifies := h.client("verifies", nil, client.KeysVerify)
	peeks := h.client("peeks", nil, client.KeysVerify, client.KeysPeek)
	names := verifier.Permissions{"projects": {"read"}}
	key := h.newKey(manage.NewKey{Owner: "user_42", Name: "laptop", Remaining: five(), Permissions: names, Metadata: json.RawMessage(`{"plan":"pro"}`)})
	ask := func(c *exchange.Caller, change func(*exchange.VerifyRequest)) (exchange.Verified, error) {
		req := exchange.VerifyRequest{Key: key.Secret, Cost: 1}
		if change != nil {
			change(&req)
		}
		return h.Verify(ctx, c, req)
	}
	t.Run("charges, and tells all that is known of the key", func(t *testing.T) {
		v, err := ask(verifies, nil)
		if err != nil || v.Refusal != nil {
			t.Fatalf("%v, %v", v.Refusal, err)
		}
		g := v.Grant
		if g.KeyID != key.Key.ID || g.Owner != "user_42" || g.Name != "laptop" || string(g.KeyMetadata) != `{"plan":"pro"}` || g.Balance.Remaining != 4 || g.Audience != "" {
			t.Errorf("%+v", g)
		}
	})
	t.Run("is repeated for a day, and then charged anew", func(t *testing.T) {
		repeat := func(r *exchange.VerifyRequest) { r.IdempotencyKey = "k" }
		for _, want := range []struct {
			after     time.Duration
			replayed  bool
			remaining int64
		}{{0, false, 3}, {24*time.Hour - 1, true, 3}, {1, false, 2}} {
			h.now = h.now.Add(want.after)
			v, err := ask(verifies, repeat)
			if err != nil || v.Refusal != nil || v.Grant.Replayed != want.replayed || v.Grant.Balance.Remaining != want.remaining {
				t.Errorf("%+v, %v; want %+v", v, err, want)
			}
		}
	})
	t.Run("asks without charging only by right", func(t *testing.T) {
		peek := func(r *exchange.VerifyRequest) { r.Cost, r.IdempotencyKey = 0, "k" }
		if _, err := ask(verifies, peek); !errors.Is(err, exchange.ErrRight) {
			t.Errorf("%v", err)
		}
		v, err := ask(peeks, peek)
		if err != nil || v.Refusal != nil || v.Grant.Replayed {
			t.Errorf("%+v, %v", v, err)
		}
		h.wantRemaining(key.Key.ID, 2)
	})
	t.Run("needs the right", func(t *testing.T) {
		if _, err := ask(h.authenticate(), nil); !errors.Is(err, exchange.ErrRight) {
			t.Errorf("%v", err)
		}
	})
	t.Run("refuses a JWT without a look, even where keys may look like anything", func(t *testing.T) {
		h.newKeyspace(manage.NewKeyspace{Name: "imported", ImportedKeys: true})
		imported := h.client("imports", []string{"imported"}, client.KeysVerify)
		v, err := ask(imported, func(r *exchange.VerifyRequest) { r.Key = verifier.NewSecret("eyJhbGciOiJub25lIn0.e30.x") })
		if err != nil || !errors.Is(v.Refusal, verifier.ErrMalformed) {
			t.Errorf("%v, %v", v.Refusal, err)
		}
	})
	t.Run("holds a client that changed against what it is now", func(t *testing.T) {
		h.newKeyspace(manage.NewKeyspace{Name: "old", ImportedKeys: true})
		if v, err := ask(verifies, nil); err != nil || v.Refusal != nil {
			t.Errorf("%v, %v", v.Refusal, err)
		}
		if _, err := h.manage.DisableClient(ctx, "verifies"); err != nil {
			t.Fatal(err)
		}
		if _, err := ask(verifies, nil); !errors.Is(err, exchange.ErrClient) {
			t.Errorf("disabled: %v", err)
		}
	})
	t.Run("counts refusals", func(t *testing.T) {
		v, err := ask(peeks, func(r *exchange.VerifyRequest) { r.Cost = 5 })
		if err != nil || verifier.Reason(v.Refusal) != "spent" || v.Grant.KeyID != key.Key.ID || v.Grant.Name != "laptop" {
			t.Fatalf("%+v, %v", v, err)
		}
		h.wantUsage([]usage.Point{
			{Client: "peeks", Outcome: "spent", Requests: 1},
			{Client: "verifies", Outcome: usage.Granted, Requests: 4, Cost: 4},
		})
	})
}

func (h *house) client(id string, keyspaces []string, rights ...client.Right) *exchange.Caller {
	h.t.Helper()
	c, err := h.Authenticate(h.t.Context(), id, client.BySecret(h.newClient(manage.NewClient{ID: id, Keyspaces: keyspaces, Rights: rights})))
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *house) newKeyspace(n manage.NewKeyspace) {
	h.t.Helper()
	if _, err := h.manage.CreateKeyspace(h.t.Context(), n); err != nil {
		h.t.Fatal(err)
	}
}
