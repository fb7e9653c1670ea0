package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// as sends a token to an endpoint as another client of w.
func (w *world) as(n manage.NewClient, path string) func(token string) reply {
	w.t.Helper()
	secret := w.newClient(n)
	return func(token string) reply {
		r := w.post(url.Values{wire.FieldToken: {token}, "token_type_hint": {"whatever"}}.Encode())
		r.URL.Path = path
		r.SetBasicAuth(n.ID, secret)
		return w.do(r)
	}
}

func (w *world) introspector(id string, audiences ...string) func(token string) reply {
	return w.as(manage.NewClient{ID: id, Audiences: audiences, Rights: []client.Right{client.TokensIntrospect, client.KeysPeek}}, wire.PathIntrospect)
}

const inactive = `{"active":false}` + "\n"

func wantInactive(t *testing.T, name string, got reply) {
	t.Helper()
	if got.code != http.StatusOK || got.body != inactive || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: %v, want 200 and %s", name, got, inactive)
	}
}

func TestATokenIsIntrospected(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Owner: "user_1", Permissions: verifier.Permissions{"projects": {"read"}}, Remaining: new(int64(5))})
	issued := w.exchange(form(key))
	left := w.remaining(id)
	got := w.introspector("gateway", orders)(issued.ok.AccessToken)
	var said map[string]any
	if err := json.Unmarshal([]byte(got.body), &said); err != nil {
		t.Fatal(err)
	}
	delete(said, "jti")
	if diff := cmp.Diff(map[string]any{
		"active": true, "token_type": "Bearer", "scope": "projects:read", "client_id": w.clientID, "sub": "user_1", "aud": orders,
		"iss": issuerURL, "iat": float64(noon.Unix()), "exp": float64(noon.Unix() + 300),
		"permissions": map[string]any{"projects": []any{"read"}}, "key_id": string(id), "keyspace": "default",
	}, said); diff != "" {
		t.Error(diff)
	}
	if w.remaining(id) != left {
		t.Error("it was charged")
	}
}

func TestATokenIsInactiveOnceItsKeyIsNotGoodOrItWasCalledBack(t *testing.T) {
	for name, end := range map[string]func(w *world, id verifier.KeyID) error{
		"disabled": func(w *world, id verifier.KeyID) error { _, err := w.manage.DisableKey(w.t.Context(), id); return err },
		"revoked":  func(w *world, id verifier.KeyID) error { _, err := w.manage.RevokeKey(w.t.Context(), id); return err },
		"voided":   func(w *world, id verifier.KeyID) error { _, err := w.manage.VoidKey(w.t.Context(), id); return err },
		"voided with its keyspace": func(w *world, _ verifier.KeyID) error {
			return w.manage.VoidKeyspace(w.t.Context(), "default")
		},
		"voided with all": func(w *world, _ verifier.KeyID) error { _, err := w.manage.VoidAll(w.t.Context()); return err },
		"expired":         func(w *world, _ verifier.KeyID) error { w.setClock(noon.Add(5 * time.Minute)); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id, key := w.newKey(manage.NewKey{})
			token := w.exchange(form(key)).ok.AccessToken
			ask := w.introspector("gateway", orders)
			if got := ask(token); !strings.Contains(got.body, `"active":true`) {
				t.Fatalf("before: %v", got)
			}
			if err := end(w, id); err != nil {
				t.Fatal(err)
			}
			wantInactive(t, name, ask(token))
		})
	}
}

func TestWhatAClientMayNotSeeIsInactive(t *testing.T) {
	w := newWorld(t)
	w.newKeyspace("other")
	_, key := w.newKey(manage.NewKey{})
	token := w.exchange(form(key)).ok.AccessToken
	elsewhere := newWorld(t)
	_, foreign := elsewhere.newKey(manage.NewKey{})
	foreignToken := elsewhere.exchange(form(foreign)).ok.AccessToken

	wantInactive(t, "a token for another audience", w.introspector("a", billing)(token))
	wantInactive(t, "a token of another keyspace", w.as(manage.NewClient{ID: "b", Audiences: []string{orders}, Keyspaces: []string{"other"}, Rights: []client.Right{client.TokensIntrospect}}, wire.PathIntrospect)(token))
	wantInactive(t, "a key without the right to peek", w.as(manage.NewClient{ID: "c", Audiences: []string{orders}, Rights: []client.Right{client.TokensIntrospect}}, wire.PathIntrospect)(key))
	ask := w.introspector("d", orders)
	for name, what := range map[string]string{
		"a token of another issuer":     foreignToken,
		"a key of nobody":               foreign,
		"a token with a changed end":    token[:len(token)-4] + "AAAA",
		"a token with a newline":        token + "\n",
		"a token without a signature":   token[:strings.LastIndexByte(token, '.')+1],
		"a token with another header":   "eyJhbGciOiJub25lIn0" + token[strings.IndexByte(token, '.'):],
		"a header alone":                "eyJhbGciOiJub25lIn0",
		"what is neither key nor token": "hello",
	} {
		wantInactive(t, name, ask(what))
	}
}

func TestAKeyIsIntrospectedByRightAndNotCharged(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Owner: "user_1", Permissions: verifier.Permissions{"projects": {"read"}}, Remaining: new(int64(5))})
	ask := w.introspector("gateway", orders)
	got := ask(key)
	var said map[string]any
	if err := json.Unmarshal([]byte(got.body), &said); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{
		"active": true, "token_type": "api_key", "scope": "projects:read", "sub": "user_1", "iat": float64(noon.Unix()),
		"permissions": map[string]any{"projects": []any{"read"}}, "key_id": string(id), "keyspace": "default",
	}, said); diff != "" {
		t.Error(diff)
	}
	if w.remaining(id) != 5 {
		t.Error("it was charged")
	}
	for reason, bad := range w.badKeys() {
		wantInactive(t, reason, ask(bad))
	}
}

func TestTheEndpointsAreForThoseWithTheRight(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	for _, path := range []string{wire.PathIntrospect, wire.PathRevoke} {
		ask := w.as(manage.NewClient{ID: "x" + path[len(path)-3:], Audiences: []string{orders}}, path)
		w.want(ask(key), http.StatusBadRequest, "unauthorized_client")

		stranger := w.post(url.Values{wire.FieldToken: {key}}.Encode())
		stranger.URL.Path = path
		stranger.SetBasicAuth("nobody", "nothing")
		w.want(w.do(stranger), http.StatusUnauthorized, "invalid_client")

		empty := w.post("")
		empty.URL.Path = path
		w.want(w.do(empty), http.StatusBadRequest, "invalid_request")

		got := w.get(path)
		w.want(got, http.StatusMethodNotAllowed, "invalid_request")
	}
	if got := w.exchange(form(key)); got.code != http.StatusOK {
		t.Errorf("the key was touched: %v", got)
	}
}

func TestAHolderRevokesAKey(t *testing.T) {
	w := newWorld(t)
	w.newKeyspace("other")
	id, key := w.newKey(manage.NewKey{})
	token := w.exchange(form(key)).ok.AccessToken
	foreignID, foreign := w.newKey(manage.NewKey{Keyspace: "other"})
	revoke := w.as(manage.NewClient{ID: "portal", Rights: []client.Right{client.TokensRevoke}}, wire.PathRevoke)

	w.want(revoke(token), http.StatusBadRequest, "unsupported_token_type")
	first := revoke(key)
	for name, got := range map[string]reply{
		"a key": first, "again": revoke(key), "one that is not there": revoke("ck_nobody"), "one of another keyspace": revoke(foreign),
	} {
		if got.String() != first.String() || got.code != http.StatusOK {
			t.Errorf("%s: %v, want %v", name, got, first)
		}
	}
	for id, want := range map[verifier.KeyID]verifier.State{id: verifier.Revoked, foreignID: verifier.Active} {
		if view, err := w.manage.Key(t.Context(), id); err != nil || view.Key.State != want {
			t.Errorf("%s, %v, want %s", view.Key.State, err, want)
		}
	}
	logged, err := w.manage.Audit(t.Context(), audit.Query{Action: "key.revoke"})
	if err != nil || len(logged) != 1 {
		t.Fatalf("%d entries, %v", len(logged), err)
	}
	if e, err := logged[0].Rest(); err != nil || e.Actor != (audit.Actor{Kind: audit.KindClient, ID: "portal", From: "192.0.2.1"}) {
		t.Errorf("%+v, %v", e.Actor, err)
	}
	w.want(w.exchange(form(key)), http.StatusBadRequest, "invalid_request")
	wantInactive(t, "its token", w.introspector("gateway", orders)(token))
}
