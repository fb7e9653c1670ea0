package exchange_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

const orders = "https://orders.example.com"

// house is an exchange on a real store, with a view of how often clients are
// read, and a clock.
type house struct {
	*exchange.Exchange
	t      *testing.T
	store  *sqlite.Store
	manage *manage.Manager
	secret verifier.Secret // of the client "orders"
	now    time.Time
	counts *usage.Recorder

	verifier *verifier.Verifier
	issuer   *issuer.Issuer

	reads  int
	change func(*client.Client) // to what is read
}

// Client implements exchange.Clients.
func (h *house) Client(ctx context.Context, id string) (*client.Client, error) {
	h.reads++
	c, err := h.store.Client(ctx, id)
	if c != nil && h.change != nil {
		h.change(c)
	}
	return c, err
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, now: time.Now()}
	var err error
	if h.store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cambio.db"), sqlite.Options{Now: func() time.Time { return h.now }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.store.Close() })
	h.manage = manage.New(h.store)
	h.secret = h.newClient(manage.NewClient{ID: "orders", Audiences: []string{orders}, Keyspaces: []string{"*"}})
	ring, err := issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{Store: h.store, MasterKey: issuer.NewMasterKey()})
	if err != nil {
		t.Fatal(err)
	}
	iss, err := issuer.New(issuer.Config{Issuer: "https://keys.example.com", Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	v, err := verifier.New(verifier.Config{Store: h.store})
	if err != nil {
		t.Fatal(err)
	}
	h.counts = usage.NewRecorder(usage.RecorderConfig{Store: h.store, Log: slog.New(slog.DiscardHandler)})
	h.verifier, h.issuer = v, iss
	h.Exchange, err = exchange.New(h.config())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// config is that of an exchange on the store, with the clock of the test.
func (h *house) config() exchange.Config {
	return exchange.Config{
		Clients: h, Keys: h.store, Verifier: h.verifier, Issuer: h.issuer, Usage: h.counts,
		Revoke: h.manage.RevokeFor,
		Now:    func() time.Time { return h.now },
	}
}

func (h *house) newClient(n manage.NewClient) verifier.Secret {
	h.t.Helper()
	c, err := h.manage.CreateClient(h.t.Context(), n)
	if err != nil {
		h.t.Fatal(err)
	}
	return c.Secret
}

func (h *house) newKey(n manage.NewKey) manage.CreatedKey {
	h.t.Helper()
	key, err := h.manage.CreateKey(h.t.Context(), n)
	if err != nil {
		h.t.Fatal(err)
	}
	return key
}

func (h *house) authenticate() *exchange.Caller {
	h.t.Helper()
	c, err := h.Authenticate(h.t.Context(), "orders", client.BySecret(h.secret))
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// wantUsage writes what was counted, and compares.
func (h *house) wantUsage(want []usage.Point) {
	h.t.Helper()
	ctx, stop := context.WithCancel(h.t.Context())
	var worker sync.WaitGroup
	worker.Go(func() { h.counts.Run(ctx) })
	stop()
	worker.Wait()
	got, err := h.store.Usage(h.t.Context(), usage.Query{})
	if err != nil {
		h.t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Error(diff)
	}
}

// wantRemaining fails the test unless the key has so many uses left.
func (h *house) wantRemaining(id verifier.KeyID, want int64) {
	h.t.Helper()
	if k, err := h.manage.Key(h.t.Context(), id); err != nil || k.Budget.Remaining != want {
		h.t.Errorf("%d remaining, want %d; %v", k.Budget.Remaining, want, err)
	}
}

func (h *house) exchange(c *exchange.Caller, key verifier.Secret) error {
	_, _, err := h.Exchange.Exchange(h.t.Context(), c, exchange.Request{Key: key, Cost: 1})
	return err
}

func TestABusyClientIsReadOnceASecond(t *testing.T) {
	h := newHouse(t)
	for range 10 {
		h.authenticate()
	}
	if h.reads != 1 {
		t.Errorf("read %d times within a second", h.reads)
	}
	h.now = h.now.Add(time.Second)
	h.authenticate()
	if h.reads != 2 {
		t.Errorf("read %d times, a second later", h.reads)
	}
}

func TestWhoMustBeSureReadsTheClientEveryTime(t *testing.T) {
	h := newHouse(t)
	for range 3 {
		if _, err := h.AuthenticateFresh(t.Context(), "orders", client.BySecret(h.secret)); err != nil {
			t.Fatal(err)
		}
	}
	if h.reads != 3 {
		t.Errorf("read %d times", h.reads)
	}
	h.change = func(c *client.Client) { c.Disabled = true }
	if _, err := h.AuthenticateFresh(t.Context(), "orders", client.BySecret(h.secret)); !errors.Is(err, exchange.ErrClient) {
		t.Errorf("disabled a moment ago: %v", err)
	}
}

func TestWhatIsRememberedRefusesNobody(t *testing.T) {
	h := newHouse(t)
	h.authenticate()
	fresh := verifier.NewSecret("a secret made a moment ago")
	h.change = func(c *client.Client) { c.Secrets = append(c.Secrets, client.Secret{Digest: fresh.Digest()}) }
	if _, err := h.Authenticate(t.Context(), "orders", client.BySecret(fresh)); err != nil {
		t.Errorf("a new secret: %v", err)
	}
}

func TestWhatCannotBeAClientIsNotLookedFor(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"", "\x00", "a b", "..", strings.Repeat("x", 65)} {
		if _, err := h.Authenticate(t.Context(), id, client.BySecret(h.secret)); !errors.Is(err, exchange.ErrClient) || h.reads != 0 {
			t.Errorf("%q: %v, read %d times", id, err, h.reads)
		}
	}
}

func TestAWrongSecretIsRefused(t *testing.T) {
	h := newHouse(t)
	h.authenticate()
	for id, secret := range map[string]verifier.Secret{"orders": verifier.NewSecret("wrong"), "nobody": h.secret} {
		if _, err := h.Authenticate(t.Context(), id, client.BySecret(secret)); !errors.Is(err, exchange.ErrClient) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestAHungDatabaseHangsNobody(t *testing.T) {
	h := newHouse(t)
	cfg := h.config()
	cfg.Clients = hung{t}
	x, err := exchange.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Authenticate(t.Context(), "orders", client.BySecret(h.secret)); !errors.Is(err, verifier.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

// hung is a store of clients that answers when its caller gives up, which must
// not be never.
type hung struct{ t *testing.T }

func (s hung) Client(ctx context.Context, _ string) (*client.Client, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		s.t.Error("the look-up has no deadline")
	}
	return nil, context.DeadlineExceeded
}

func TestAClientThatChangedIsHeldAgainstWhatItIsNow(t *testing.T) {
	t.Run("it may go on, if it still may", func(t *testing.T) {
		h := newHouse(t)
		key := h.newKey(manage.NewKey{})
		c := h.authenticate()
		if _, err := h.manage.CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "old", ImportedKeys: true}); err != nil {
			t.Fatal(err)
		}
		if err := h.exchange(c, key.Secret); err != nil || h.reads != 2 {
			t.Errorf("%v, read %d times", err, h.reads)
		}
	})
	for name, change := range map[string]func(*client.Client){
		"not if it is disabled":              func(c *client.Client) { c.Disabled = true },
		"not if its secret was revoked":      func(c *client.Client) { c.Secrets = nil },
		"not if it lost the right":           func(c *client.Client) { c.Rights = nil },
		"not if it lost the keyspace":        func(c *client.Client) { c.Keyspaces = nil },
		"not if it lost the audience":        func(c *client.Client) { c.Audiences = nil },
		"not if it changes faster than read": func(c *client.Client) { c.Version = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			five := int64(5)
			key := h.newKey(manage.NewKey{Remaining: &five})
			c := h.authenticate()
			h.change = change
			// A real change of the version, so that what is remembered is stale.
			if _, err := h.manage.CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "old", ImportedKeys: true}); err != nil {
				t.Fatal(err)
			}
			if err := h.exchange(c, key.Secret); err == nil {
				t.Error("exchanged")
			}
			if k, err := h.manage.Key(t.Context(), key.Key.ID); err != nil || k.Budget.Remaining != 5 {
				t.Errorf("%d remaining, %v", k.Budget.Remaining, err)
			}
		})
	}
}

func TestRefusalsOfKnownKeysAreCounted(t *testing.T) {
	h := newHouse(t)
	none := int64(0)
	spent, good := h.newKey(manage.NewKey{Remaining: &none}), h.newKey(manage.NewKey{})
	unknown, err := verifier.GenerateKey("ck")
	if err != nil {
		t.Fatal(err)
	}
	c := h.authenticate()
	_ = h.exchange(c, spent.Secret)
	_ = h.exchange(c, spent.Secret)
	_ = h.exchange(c, unknown)
	_, _, _ = h.Exchange.Exchange(t.Context(), c, exchange.Request{Key: good.Secret, Cost: 1, Targets: []string{"https://evil.example.com"}})
	if err := h.exchange(c, good.Secret); err != nil {
		t.Fatal(err)
	}
	h.wantUsage([]usage.Point{
		{Client: "orders", Outcome: "audience", Requests: 1},
		{Client: "orders", Audience: orders, Outcome: usage.Granted, Requests: 1, Cost: 1},
		{Client: "orders", Audience: orders, Outcome: "spent", Requests: 2},
	})
}

func TestAnExchangeNeedsAllItsParts(t *testing.T) {
	if _, err := exchange.New(exchange.Config{}); err == nil {
		t.Error("made of nothing")
	}
}

func TestATokenLivesAsLongAsItsKeyspaceSays(t *testing.T) {
	h := newHouse(t)
	if _, err := h.manage.CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "brief", TokenLifetime: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	key := h.newKey(manage.NewKey{Keyspace: "brief"})
	token, _, err := h.Exchange.Exchange(t.Context(), h.authenticate(), exchange.Request{Key: key.Secret, Cost: 1})
	if err != nil || token.ExpiresIn != 30*time.Second {
		t.Errorf("%s, %v", token.ExpiresIn, err)
	}
}

func TestTheSubjectIsTheOwnerOrTheKeyItself(t *testing.T) {
	h := newHouse(t)
	c := h.authenticate()
	for _, owner := range []string{"user_42", ""} {
		key := h.newKey(manage.NewKey{Owner: owner})
		token, _, err := h.Exchange.Exchange(t.Context(), c, exchange.Request{Key: key.Secret, Cost: 1})
		if err != nil {
			t.Fatal(err)
		}
		claims := claimsOf(t, token)
		want := owner
		if want == "" {
			want = string(key.Key.ID)
		}
		if claims.Subject != want {
			t.Errorf("sub %q, want %q", claims.Subject, want)
		}
	}
}

func claimsOf(t *testing.T, token issuer.Token) (claims wire.Claims) {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Value, ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestWithoutASigningKeyNothingIsCharged(t *testing.T) {
	h := newHouse(t)
	five := int64(5)
	key := h.newKey(manage.NewKey{Remaining: &five})
	iss, err := issuer.New(issuer.Config{Issuer: "https://keys.example.com", Keyring: &issuer.Keyring{}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := h.config()
	cfg.Issuer = iss
	x, err := exchange.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Exchange(t.Context(), h.authenticate(), exchange.Request{Key: key.Secret, Cost: 1}); !errors.Is(err, issuer.ErrNoSigningKey) {
		t.Errorf("%v", err)
	}
	if k, err := h.manage.Key(t.Context(), key.Key.ID); err != nil || k.Budget.Remaining != 5 {
		t.Errorf("%d remaining, %v", k.Budget.Remaining, err)
	}
}

// The largest key that can be made must fit into a token that a checker reads,
// which is 16 KiB.
func TestTheLargestTokenFits(t *testing.T) {
	h := newHouse(t)
	quotes := strings.Repeat(`"`, 512)
	audience := "https://" + quotes[8:]
	wide := verifier.Permissions{}
	for i := range 200 {
		wide[fmt.Sprintf("r%016d", i)] = []string{"a"}
		if len(permissionsJSON(t, wide)) > 3840 {
			delete(wide, fmt.Sprintf("r%016d", i))
			break
		}
	}
	if _, err := h.manage.CreateKeyspace(t.Context(), manage.NewKeyspace{Name: strings.Repeat("k", 64), PublishMetadata: true}); err != nil {
		t.Fatal(err)
	}
	id := strings.Repeat("c", 64)
	secret := h.newClient(manage.NewClient{ID: id, Audiences: []string{audience}, Keyspaces: []string{"*"}})
	key := h.newKey(manage.NewKey{
		Keyspace: strings.Repeat("k", 64), Owner: quotes[:255], Permissions: wide,
		Metadata: json.RawMessage(`{"m":"` + strings.Repeat("x", 2048-8) + `"}`),
	})
	c, err := h.Authenticate(t.Context(), id, client.BySecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := h.Exchange.Exchange(t.Context(), c, exchange.Request{Key: key.Secret, Cost: 1})
	if err != nil {
		t.Fatal(err)
	}
	// The longest issuer is 200 bytes; this one is shorter.
	if most := 16<<10 - (200-len("https://keys.example.com"))*4/3; len(token.Value) > most {
		t.Errorf("a token of %d bytes, of at most %d", len(token.Value), most)
	}
}

func permissionsJSON(t *testing.T, p verifier.Permissions) []byte {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
