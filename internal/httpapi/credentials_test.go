package httpapi_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

func basic(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }

// percent encodes every byte, as oauth4webapi does with more than it needs to.
func percent(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

func TestClientAuthentication(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	id, secret := w.clientID, w.secret
	tests := map[string]struct {
		header string
		fields []string
		code   int
		err    string
	}{
		"Basic, raw":                              {header: basic(id + ":" + secret), code: 200},
		"Basic, form-encoded":                     {header: basic(url.QueryEscape(id) + ":" + url.QueryEscape(secret)), code: 200},
		"Basic, with - and _ encoded":             {header: basic("orders%2Dbackend%5F1:" + strings.ReplaceAll(secret, "_", "%5F")), code: 200},
		"Basic, with everything encoded":          {header: basic(percent(id) + ":" + percent(secret)), code: 200},
		"Basic, with the scheme in lower case":    {header: "basic" + basic(id + ":" + secret)[5:], code: 200},
		"Basic and an equal client_id":            {header: basic(id + ":" + secret), fields: []string{"client_id", id}, code: 200},
		"client_secret_post":                      {fields: []string{"client_id", id, "client_secret", secret}, code: 200},
		"Basic and another client_id":             {basic(id + ":" + secret), []string{"client_id", "other"}, 400, "invalid_request"},
		"Basic and the same secret in the body":   {basic(id + ":" + secret), []string{"client_id", id, "client_secret", secret}, 400, "invalid_request"},
		"Basic and an assertion":                  {basic(id + ":" + secret), []string{"client_assertion", "x"}, 400, "invalid_request"},
		"Bearer and a secret in the body":         {"Bearer x", []string{"client_id", id, "client_secret", secret}, 400, "invalid_request"},
		"a secret and an assertion in the body":   {"", []string{"client_id", id, "client_secret", secret, "client_assertion", "x"}, 400, "invalid_request"},
		"no credentials":                          {code: 401, err: "invalid_client"},
		"a client_id alone":                       {fields: []string{"client_id", id}, code: 401, err: "invalid_client"},
		"a client_secret alone":                   {fields: []string{"client_secret", secret}, code: 401, err: "invalid_client"},
		"an assertion, which is not supported":    {fields: []string{"client_assertion", "x", "client_id", id}, code: 401, err: "invalid_client"},
		"a wrong secret":                          {header: basic(id + ":" + secret + "x"), code: 401, err: "invalid_client"},
		"a wrong secret in the body":              {fields: []string{"client_id", id, "client_secret", secret + "x"}, code: 401, err: "invalid_client"},
		"an empty secret":                         {header: basic(id + ":"), code: 401, err: "invalid_client"},
		"an empty id":                             {header: basic(":" + secret), code: 401, err: "invalid_client"},
		"an unknown client":                       {header: basic("nobody:" + secret), code: 401, err: "invalid_client"},
		"a client id in another case":             {header: basic(strings.ToUpper(id) + ":" + secret), code: 401, err: "invalid_client"},
		"Basic with a malformed escape in the id": {header: basic("%zz:" + secret), code: 401, err: "invalid_client"},
		"Basic with a malformed escape":           {header: basic(id + ":" + secret + "%2"), code: 401, err: "invalid_client"},
		"Basic that is not UTF-8":                 {header: basic(id + ":%ff"), code: 401, err: "invalid_client"},
		"Basic without a colon":                   {header: basic(id), code: 401, err: "invalid_client"},
		"Basic that is no base64":                 {header: "Basic $$$", code: 401, err: "invalid_client"},
		"Basic without credentials":               {header: "Basic", code: 401, err: "invalid_client"},
		"an Authorization header of another kind": {header: "Bearer " + secret, code: 401, err: "invalid_client"},
		"id and secret mixed up":                  {header: basic(secret + ":" + id), code: 401, err: "invalid_client"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			r := w.post(form(key, test.fields...).Encode())
			r.Header.Del("Authorization")
			if test.header != "" {
				r.Header.Set("Authorization", test.header)
			}
			w.want(w.do(r), test.code, test.err)
		})
	}
}

func TestTwoAuthorizationHeadersAreRefused(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	r := w.post(form(key).Encode())
	r.Header.Add("Authorization", r.Header.Get("Authorization"))
	w.want(w.do(r), 400, "invalid_request")
}

func TestASecretSplitsAtTheFirstColon(t *testing.T) {
	w := newWorld(t)
	secret := keepSecret("with:two:colons and a +")
	w.addClient(client.Client{
		ID: "colons", Rights: []client.Right{client.TokensExchange}, Audiences: []string{orders}, Keyspaces: []string{"default"},
		Secrets: []client.Secret{{Digest: verifier.NewSecret(secret).Digest()}}, CreatedAt: noon,
	})
	_, key := w.newKey(manage.NewKey{})
	r := w.post(form(key).Encode())
	r.Header.Set("Authorization", basic("colons:with:two:colons+and+a+%2B"))
	w.want(w.do(r), 200, "")
}

func TestADisabledClientIsRefusedLikeAnUnknownOne(t *testing.T) {
	w := newWorld(t)
	secret := keepSecret("a secret of a disabled client")
	w.addClient(client.Client{
		ID: "disabled", Rights: []client.Right{client.TokensExchange}, Audiences: []string{orders}, Disabled: true,
		Secrets: []client.Secret{{Digest: verifier.NewSecret(secret).Digest()}}, CreatedAt: noon,
	})
	var answers []string
	for _, pair := range []string{"disabled:" + url.QueryEscape(secret), "nobody:x", w.clientID + ":x"} {
		r := w.post(form("x").Encode())
		r.Header.Set("Authorization", basic(pair))
		got := w.do(r)
		w.want(got, 401, "invalid_client")
		answers = append(answers, got.String())
	}
	if answers[0] != answers[1] || answers[1] != answers[2] {
		t.Errorf("different answers: %q", answers)
	}
}

func TestSecretsInTheQueryAreRefused(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Remaining: uses(5)})
	for _, query := range []string{"client_secret=" + w.secret, "subject_token=" + key, "actor_token=x", "client_assertion=x", "a=b&client_secret="} {
		r := w.post(form(key).Encode())
		r.URL.RawQuery = query
		w.want(w.do(r), 400, "invalid_request")
	}
	if w.remaining(id) != 5 {
		t.Error("charged")
	}
	t.Run("and what else is in the query means nothing", func(t *testing.T) {
		w := *w
		w.t = t
		r := w.post(form(key).Encode())
		r.URL.RawQuery = "audience=" + url.QueryEscape(billing) + "&scope=x:y&cost=99&%zz"
		w.want(w.do(r), 200, "")
		r = w.post(form(key, "grant_type", "").Encode())
		r.URL.RawQuery = "grant_type=" + url.QueryEscape(wire.GrantTokenExchange)
		w.want(w.do(r), 400, "invalid_request")
	})
}

func TestNothingIsLearnedWithoutAClient(t *testing.T) {
	w := newWorld(t)
	id, good := w.newKey(manage.NewKey{Permissions: projects, Remaining: uses(5)})
	_, expired := w.newKey(manage.NewKey{ExpiresIn: time.Second})
	w.setClock(noon.Add(time.Minute))
	var first string
	for i, f := range []url.Values{
		form(good), form(expired), form("x"), form(""), form(good, "grant_type", "x"), form(good, "audience", "x"),
		form(good, "scope", "x"), form(good, "cost", "0"), form(good, "subject_token_type", "x"), {},
	} {
		r := w.post(f.Encode())
		r.SetBasicAuth(w.clientID, "wrong")
		got := w.do(r)
		if i == 0 {
			first = got.String()
		}
		if got.code != http.StatusUnauthorized || got.String() != first {
			t.Errorf("%d: %v, want %s", i, got, first)
		}
	}
	if w.remaining(id) != 5 {
		t.Error("charged")
	}
}
