package httpapi_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

// attempt is a request in the making.
type attempt struct {
	id, secret string
	form       url.Values
	media      string
	garbage    string
}

// faults are all that can be wrong, in the order in which it must be told.
var faults = []struct {
	name  string
	apply func(w *world, a *attempt)
	code  int
	err   string
	says  string // distinguishes those of the same code
}{
	{"media type", func(_ *world, a *attempt) { a.media = "application/json" },
		415, "invalid_request", "the Content-Type must be application/x-www-form-urlencoded"},
	{"form", func(_ *world, a *attempt) { a.garbage = "&x=%zz" },
		400, "invalid_request", "the body must be form-encoded UTF-8"},
	{"client", func(_ *world, a *attempt) { a.secret += "x" },
		401, "invalid_client", "the client could not be authenticated"},
	{"grant type", func(_ *world, a *attempt) { a.form.Del("grant_type") },
		400, "invalid_request", "grant_type is required"},
	{"right", func(w *world, a *attempt) {
		known := a.secret == w.secret
		a.id = "may-not-exchange"
		if a.secret = mayNotExchange; !known {
			a.secret += "x"
		}
	}, 400, "unauthorized_client", "the client has no right to do this"},
	{"parameters", func(_ *world, a *attempt) { a.form.Set("cost", "0") },
		400, "invalid_request", "cost must be a whole number from 1 to 999999999999999"},
	{"key", func(_ *world, a *attempt) { a.form.Set("subject_token", unknownKey) },
		400, "invalid_request", "the subject_token is not a key that can be exchanged"},
	{"target", func(_ *world, a *attempt) { a.form.Set("audience", "https://evil.example.com") },
		400, "invalid_target", "one target is needed that client and key may both use"},
	{"scope", func(_ *world, a *attempt) { a.form.Set("scope", "malformed") },
		400, "invalid_scope", "the scope is malformed or exceeds what client and key hold"},
	{"limit", func(_ *world, a *attempt) {
		if a.form.Get("cost") == "" {
			a.form.Set("cost", "100")
		}
	}, 429, "invalid_request", "the limit of the key is reached"},
}

var mayNotExchange, unknownKey string

func TestOfSeveralFaultsTheFirstInOrderIsTold(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Permissions: projects, Remaining: uses(5)})
	mayNotExchange = w.newClient(manage.NewClient{ID: "may-not-exchange", Audiences: []string{orders}, Rights: []client.Right{client.KeysRead}})
	_, unknownKey = newWorld(t).newKey(manage.NewKey{})

	for set := 1; set < 1<<len(faults); set++ {
		a := attempt{id: w.clientID, secret: w.secret, form: form(key), media: wire.MediaForm}
		first := -1
		for i, f := range faults {
			if set&(1<<i) == 0 {
				continue
			}
			if first < 0 {
				first = i
			}
			f.apply(w, &a)
		}
		r := w.post(a.form.Encode() + a.garbage)
		r.Header.Set("Content-Type", a.media)
		r.SetBasicAuth(a.id, a.secret)
		got, want := w.do(r), faults[first]
		if got.code != want.code || got.err.Error != want.err || got.err.Description != want.says {
			t.Errorf("faults %b: %v, want %s", set, got, want.name)
		}
	}
	if left := w.remaining(id); left != 5 {
		t.Errorf("remaining %d: a refusal charged", left)
	}
	w.want(w.exchange(form(key)), http.StatusOK, "")
}
