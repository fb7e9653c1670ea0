package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// weak stores keys that were made elsewhere and can be guessed, in a keyspace for them.
func (w *world) weak(keyspace string, keys ...string) {
	w.t.Helper()
	if _, err := w.manage.PrepareImport(w.t.Context(), []string{keyspace}, false); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.manage.PrepareWeak(w.t.Context(), []string{keyspace}, false); err != nil {
		w.t.Fatal(err)
	}
	rows := make([]manage.ImportKey, len(keys))
	for i, key := range keys {
		keepSecret(key)
		rows[i] = manage.ImportKey{Digest: verifier.NewSecret(key).Digest(), Keyspace: keyspace, State: verifier.Active, Weak: true}
	}
	results, err := w.manage.ImportKeys(w.t.Context(), rows, false)
	if err != nil || results[0].Outcome != manage.ImportNew {
		w.t.Fatal(results, err)
	}
}

func (w *world) acting(n manage.NewClient) {
	w.t.Helper()
	w.clientID, w.secret = n.ID, w.newClient(n)
}

func TestOverTheLimitAWeakKeyIsNotLookedUp(t *testing.T) {
	w := bounded(t, "4/1m")
	w.weak("old", "swordfish-4711")
	w.acting(manage.NewClient{ID: "old", Audiences: []string{orders}, Keyspaces: []string{"default", "old"}, Rights: []client.Right{
		client.TokensExchange, client.KeysVerify, client.KeysPeek, client.TokensIntrospect, client.TokensRevoke,
	}})
	_, ours := w.newKey(manage.NewKey{})
	w.want(w.exchange(form("swordfish-4711")), http.StatusOK, "")
	for i := range 5 {
		w.exchange(form(fmt.Sprintf("swordfish-%d", i)))
	}
	w.wantTooMany(w.exchange(form("swordfish-4711")), "45") // of a debt of one
	w.want(w.exchange(form(ours)), http.StatusOK, "")

	r := w.post(`{"key":"swordfish-4711"}`)
	r.URL.Path = wire.PathVerify
	r.Header.Set("Content-Type", wire.MediaJSON)
	wantCode(t, w.managed(r), http.StatusTooManyRequests)
	for _, path := range []string{wire.PathIntrospect, wire.PathRevoke} {
		w.wantTooMany(w.ofToken(path, "swordfish-4711"), "45")
	}
	wantCode(t, w.ofToken(wire.PathIntrospect, ours), http.StatusOK)

	w.later(46 * time.Second)
	w.want(w.exchange(form("swordfish-4711")), http.StatusOK, "")
}

// ofToken sends a token to another endpoint than its own.
func (w *world) ofToken(path, token string) reply {
	w.t.Helper()
	r := w.post(url.Values{wire.FieldToken: {token}}.Encode())
	r.URL.Path = path
	return w.do(r)
}

func TestAWeakKeyCannotBeGuessedAtIntrospectionOrRevocation(t *testing.T) {
	for _, path := range []string{wire.PathIntrospect, wire.PathRevoke} {
		w := bounded(t, "4/1h")
		w.weak("old", "swordfish-4711")
		w.acting(manage.NewClient{ID: "old", Keyspaces: []string{"old"}, Rights: []client.Right{client.KeysPeek, client.TokensIntrospect, client.TokensRevoke}})
		for i := range 4 {
			wantCode(t, w.ofToken(path, fmt.Sprintf("swordfish-%d", i)), http.StatusOK)
		}
		wantCode(t, w.ofToken(path, "swordfish-5"), http.StatusTooManyRequests)
		wantCode(t, w.ofToken(path, "swordfish-4711"), http.StatusTooManyRequests)
	}
}

func TestOnlyWhoMayUseWeakKeysIsLimitedHard(t *testing.T) {
	w := bounded(t, "4/1h")
	w.weak("old", "swordfish-4711")
	if _, err := w.manage.PrepareImport(t.Context(), []string{"moved"}, false); err != nil {
		t.Fatal(err)
	}
	strong := keepSecret("sk_an-imported-key-of-sufficient-length")
	row := manage.ImportKey{Digest: verifier.NewSecret(strong).Digest(), Keyspace: "moved", State: verifier.Active}
	if _, err := w.manage.ImportKeys(t.Context(), []manage.ImportKey{row}, false); err != nil {
		t.Fatal(err)
	}
	for id, keyspaces := range map[string][]string{"moved": {"moved"}, "both": {"old", "moved"}, "all": {client.AnyKeyspace}} {
		w.acting(manage.NewClient{ID: id, Audiences: []string{orders}, Keyspaces: keyspaces})
		w.want(w.exchange(form(strong)), http.StatusOK, "")
		for i := range 6 {
			w.exchange(form(fmt.Sprintf("swordfish-%d", i)))
		}
		code, said := http.StatusTooManyRequests, "temporarily_unavailable"
		if id == "moved" {
			code, said = http.StatusOK, ""
		}
		w.want(w.exchange(form(strong)), code, said)
	}
}

func TestGuessesThatComeTogetherArePaidForOneByOne(t *testing.T) {
	w := bounded(t, "4/1m")
	w.weak("old", "swordfish-4711")
	w.acting(manage.NewClient{ID: "old", Audiences: []string{orders}, Keyspaces: []string{"old"}})
	var looked atomic.Int64
	guess := func(round int) {
		var together sync.WaitGroup
		for i := range 40 {
			together.Go(func() {
				if got := w.exchange(form(fmt.Sprintf("guess-%d-%d", round, i))); got.code != http.StatusTooManyRequests {
					looked.Add(1)
				}
			})
		}
		together.Wait()
	}
	guess(0)
	for round := range 60 { // an hour
		w.later(time.Minute)
		guess(round + 1)
	}
	if n := looked.Load(); n > 4+40+4*60 {
		t.Errorf("%d guesses in an hour", n)
	}
}

func TestAWeakKeyDoesNotGoWhereFailuresAreNotLimitedHard(t *testing.T) {
	w := newWorld(t)
	if _, err := w.manage.PrepareImport(t.Context(), []string{"moved"}, false); err != nil {
		t.Fatal(err)
	}
	row := manage.ImportKey{Digest: verifier.NewSecret("swordfish").Digest(), Keyspace: "moved", State: verifier.Active, Weak: true}
	results, err := w.manage.ImportKeys(t.Context(), []manage.ImportKey{row}, false)
	if err != nil || results[0].Outcome != manage.ImportInvalid {
		t.Errorf("%+v, %v", results, err)
	}
}
