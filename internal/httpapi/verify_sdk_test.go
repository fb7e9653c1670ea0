package httpapi_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/verifier"
)

// online is a client of the sdk that asks a world over a real connection, by
// another address than the issuer's own.
type online struct {
	*sdk.Client
	t   *testing.T
	key string
}

func (w *world) online(handler http.Handler, rights ...client.Right) *online {
	w.t.Helper()
	server := httptest.NewServer(handler)
	w.t.Cleanup(server.Close)
	secret := w.newClient(manage.NewClient{ID: "gateway", Rights: rights, Audiences: []string{orders}})
	c, err := sdk.NewClient(sdk.ClientConfig{
		Issuer: issuerURL, ClientID: "gateway", ClientSecret: sdk.NewSecret(secret), Audience: orders,
		TokenURL: server.URL + wire.PathToken, VerifyURL: server.URL + wire.PathVerify,
		Now: func() time.Time { return *w.clock.Load() },
		Checker: sdk.CheckerConfig{
			JWKSURL: server.URL + wire.PathJWKS, StatusListURL: server.URL + wire.PathStatusLists,
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return &online{Client: c, t: w.t}
}

func (o *online) ask(req sdk.VerifyRequest) (*sdk.Token, error) {
	o.t.Helper()
	req.Key, req.Online = o.key, true
	return o.VerifyAPIKey(o.t.Context(), req)
}

// left asks, which must be granted, and returns what remains.
func (o *online) left(req sdk.VerifyRequest) int64 {
	o.t.Helper()
	token, err := o.ask(req)
	if err != nil {
		o.t.Fatal(err)
	}
	budget, ok := token.Budget()
	if !ok || !budget.Limited {
		o.t.Fatalf("%+v", budget)
	}
	return budget.Remaining
}

func TestTheSDKReadsWhatAVerificationAnswers(t *testing.T) {
	w := newWorld(t)
	o := w.online(w.server.Public(), client.KeysVerify, client.KeysPeek, client.TokensExchange)
	var id verifier.KeyID
	id, o.key = w.newKey(manage.NewKey{
		Owner: "user_42", Permissions: verifier.Permissions{"projects": {"read", "write"}}, Metadata: []byte(`{"plan":"pro"}`),
		ExpiresIn: 720 * time.Hour, Remaining: uses(10), Rate: verifier.Rate{Limit: 60, Window: time.Minute, Burst: 20},
	})
	token, err := o.ask(sdk.VerifyRequest{Permissions: sdk.Permissions{"projects": {"read"}}})
	if err != nil {
		t.Fatal(err)
	}
	said := []any{
		token.Issuer(), token.Subject(), token.Audience(), token.ClientID(), token.KeyID(), token.Keyspace(),
		token.Permissions(), string(token.Metadata()), token.ExpiresAt(),
	}
	if diff := cmp.Diff([]any{
		issuerURL, "user_42", orders, "gateway", string(id), "default",
		sdk.Permissions{"projects": {"read"}}, `{"plan":"pro"}`, noon.Add(720 * time.Hour),
	}, said); diff != "" {
		t.Error(diff)
	}
	budget, _ := token.Budget()
	if diff := cmp.Diff(sdk.Budget{Limited: true, Remaining: 9, RateLimit: sdk.RateLimit{
		Limit: 60, Window: time.Minute, Burst: 20, Remaining: 19, ResetAt: noon.Add(time.Second),
	}}, budget); diff != "" {
		t.Error(diff)
	}
	// One budget, whichever way the key is used.
	if _, err := o.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: o.key}); err != nil {
		t.Fatal(err)
	}
	if left := o.left(sdk.VerifyRequest{Peek: true}); left != 8 || w.remaining(id) != 8 {
		t.Errorf("%d left, and %d", left, w.remaining(id))
	}
}

func TestTheSDKChargesWhatACallCosts(t *testing.T) {
	w := newWorld(t)
	o := w.online(w.server.Public(), client.KeysVerify, client.KeysPeek)
	_, o.key = w.newKey(manage.NewKey{Remaining: uses(10)})
	order := sdk.VerifyRequest{Cost: 7, IdempotencyKey: `order "1" \ now`}
	for range 2 {
		if left := o.left(order); left != 3 {
			t.Fatalf("%d left", left)
		}
	}
	var limited *sdk.LimitedError
	if _, err := o.ask(sdk.VerifyRequest{Cost: 4}); !errors.As(err, &limited) || limited.Reason != sdk.ReasonSpent || !limited.RetryAt.IsZero() {
		t.Errorf("%v", err)
	}
	order.Cost = 1
	if _, err := o.ask(order); err == nil || errors.Is(err, sdk.ErrRefused) || errors.Is(err, sdk.ErrUnavailable) {
		t.Errorf("another request under the same name: %v", err)
	}
	if left := o.left(sdk.VerifyRequest{Peek: true}); left != 3 {
		t.Errorf("%d left", left)
	}
}

func TestTheSDKTellsRefusalsApart(t *testing.T) {
	w := newWorld(t)
	o := w.online(w.server.Public(), client.KeysVerify)
	held := verifier.Permissions{"projects": {"read"}}
	revoked, revokedKey := w.newKey(manage.NewKey{})
	if _, err := w.manage.RevokeKey(t.Context(), revoked); err != nil {
		t.Fatal(err)
	}
	_, elsewhere := w.newKey(manage.NewKey{Audiences: []string{billing}})
	_, weak := w.newKey(manage.NewKey{Permissions: held})
	_, slow := w.newKey(manage.NewKey{Permissions: verifier.Permissions{"projects": {"read", "write"}}, Rate: verifier.Rate{Limit: 1, Window: time.Minute, Burst: 1}})
	for _, c := range []struct{ name, key, want string }{
		{"a revoked key", revokedKey, "refused: API key not accepted"},
		{"an unknown key", "ck_unknown", "refused: API key not accepted"},
		{"for another audience", elsewhere, `refused: forbidden for audience "` + orders + `"`},
		{"without a permission", weak, "refused: forbidden, needs projects:write"},
		{"the first use", slow, "<nil>"},
		{"too soon", slow, "refused: rate_limited, retry in 1m0s"},
	} {
		o.key = c.key
		_, err := o.ask(sdk.VerifyRequest{Permissions: sdk.Permissions{"projects": {"read", "write"}}})
		if got := errorText(err); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return "<nil>"
	}
	return err.Error()
}

func TestTheSDKSaysWhichRightItsClientLacks(t *testing.T) {
	w := newWorld(t)
	o := w.online(w.server.Public(), client.TokensExchange)
	_, o.key = w.newKey(manage.NewKey{})
	if _, err := o.ask(sdk.VerifyRequest{}); !errors.Is(err, sdk.ErrUnavailable) || !strings.Contains(err.Error(), "keys:verify") {
		t.Errorf("%v", err)
	}
}

func TestTheSDKIsChargedOnceForAnAnswerThatWasLost(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int64
	o := w.online(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 1 {
			w.server.Public().ServeHTTP(rw, r)
			return
		}
		w.server.Public().ServeHTTP(httptest.NewRecorder(), r) // charges
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			panic(err)
		}
		_ = conn.Close()
	}), client.KeysVerify)
	var id verifier.KeyID
	id, o.key = w.newKey(manage.NewKey{Remaining: uses(10)})
	if left := o.left(sdk.VerifyRequest{IdempotencyKey: "order-1"}); left != 9 || w.remaining(id) != 9 {
		t.Errorf("%d left, and %d", left, w.remaining(id))
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestTheSDKRepeatsOnlyWhatTheServerSaysIsFree(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		asked int64
	}{
		"the store is away": {errors.New("no route"), 3},
		"the commit broke":  {verifier.ErrOutcomeUnknown, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, failing(test.err))
			var asked atomic.Int64
			o := w.online(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.server.Public().ServeHTTP(rw, r)
			}), client.KeysVerify)
			_, o.key = w.newKey(manage.NewKey{})
			if _, err := o.ask(sdk.VerifyRequest{}); !errors.Is(err, sdk.ErrUnavailable) || asked.Load() != test.asked {
				t.Errorf("%v, asked %d times", err, asked.Load())
			}
		})
	}
}
