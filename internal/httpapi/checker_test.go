package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/verifier"
)

// backend checks the tokens of a world as any backend does, but for a clock that
// is ahead of it by so much.
type backend struct {
	*sdk.Checker
	t     *testing.T
	ahead time.Duration
}

func (w *world) backend() *backend {
	w.t.Helper()
	b := &backend{t: w.t}
	var err error
	b.Checker, err = sdk.NewChecker(sdk.CheckerConfig{
		Issuer: issuerURL, Audience: orders, Now: func() time.Time { return noon.Add(b.ahead) },
		HTTPClient: &http.Client{Transport: inside{w}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// inside lets a client call the handlers themselves.
type inside struct{ w *world }

// RoundTrip implements http.RoundTripper.
func (i inside) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	i.w.server.Public().ServeHTTP(rec, r)
	return rec.Result(), nil
}

// want fails unless the checker comes to say this of a token: that it is good, or
// what is wrong with its status. The checker asks again each time, and a server
// knows of a change in a quarter of a second.
func (b *backend) want(what, token, verdict string) {
	b.t.Helper()
	got := ""
	for deadline := time.Now().Add(20 * time.Second); got != verdict && time.Now().Before(deadline); time.Sleep(40 * time.Millisecond) {
		b.ahead += 3 * time.Second // the ttl of a list
		_, err := b.Check(context.Background(), token)
		switch {
		case err == nil:
			got = good
		case errors.Is(err, sdk.ErrRefused):
			got = strings.TrimPrefix(err.Error(), sdk.ErrRefused.Error()+": ")
		default:
			b.t.Fatalf("%s: %v", what, err)
		}
	}
	if got != verdict {
		b.t.Errorf("%s: %s, want %s", what, got, verdict)
	}
}

const good, suspended, revoked = "good", "suspended", "revoked"

func TestACheckerFollowsWhatOperatorsDo(t *testing.T) {
	w := newWorld(t)
	w.newKeyspace("other")
	id, key := w.newKey(manage.NewKey{Owner: "ann"})
	_, others := w.newKey(manage.NewKey{Owner: "bob"})
	token, other := w.newToken(key), w.newToken(others)
	b := w.backend()
	done := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b.want("a new token", token, good)
	done(w.manage.DisableKey(t.Context(), id))
	b.want("its key is disabled", token, suspended)
	b.want("another key is not", other, good)
	done(w.manage.EnableKey(t.Context(), id))
	b.want("its key is enabled", token, good)

	for what, void := range map[string]func() error{
		"a key":       func() error { _, err := w.manage.VoidKey(t.Context(), id); return err },
		"an owner":    func() error { _, err := w.manage.VoidOwner(t.Context(), "ann"); return err },
		"a keyspace":  func() error { return w.manage.VoidKeyspace(t.Context(), "default") },
		"every token": func() error { _, err := w.manage.VoidAll(t.Context()); return err },
	} {
		before := w.newToken(key)
		b.want("before voiding "+what, before, good)
		done(nil, void())
		after := w.newToken(key)
		b.want("after voiding "+what, after, good)
		b.want("void with "+what, before, revoked)
		b.want("still void", token, revoked)
	}
	done(nil, w.manage.VoidKeyspace(t.Context(), "other"))
	token = w.newToken(key)
	b.want("another keyspace was voided", token, good)
	done(w.manage.RevokeKey(t.Context(), id))
	b.want("its key is revoked", token, revoked)
	b.want("and that is final", token, revoked)
	if _, err := w.manage.VoidKey(t.Context(), verifier.KeyID("key_nobody")); !errors.Is(err, manage.ErrNotFound) {
		t.Errorf("voiding a key that is not there: %v", err)
	}
}
