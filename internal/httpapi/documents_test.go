package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

func (w *world) get(path string, header ...string) reply {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return w.do(r)
}

// underPath is a server whose issuer has a path.
func underPath(t *testing.T) *world {
	return newWorld(t, options{config: func(cfg *setup) { cfg.Issuer = issuerURL + "/eu/tenant-1" }})
}

func checkPublic(t *testing.T, path string, got reply) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Type":                "application/json",
		"Cache-Control":               "public, max-age=300",
		"Access-Control-Allow-Origin": "*",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %s %q, want %q", path, name, got.header.Get(name), want)
		}
	}
	if tag := got.header.Get("ETag"); len(tag) < 10 || tag[0] != '"' {
		t.Errorf("%s: ETag %s is not strong", path, tag)
	}
	if !json.Valid([]byte(got.body)) || got.code != http.StatusOK {
		t.Errorf("%s: %v", path, got)
	}
}

func TestMetadata(t *testing.T) {
	w := newWorld(t)
	got := w.get(wire.PathOAuthServer)
	checkPublic(t, wire.PathOAuthServer, got)
	var doc map[string]any
	if err := json.Unmarshal([]byte(got.body), &doc); err != nil {
		t.Fatal(err)
	}
	methods, algs := []any{"client_secret_basic", "client_secret_post", "private_key_jwt"}, []any{"EdDSA", "ES256", "RS256"}
	want := map[string]any{
		"token_endpoint_auth_signing_alg_values_supported":         algs,
		"introspection_endpoint_auth_signing_alg_values_supported": algs,
		"revocation_endpoint_auth_signing_alg_values_supported":    algs,
		"issuer":                           issuerURL,
		"token_endpoint":                   issuerURL + "/oauth2/token",
		"jwks_uri":                         issuerURL + "/.well-known/jwks.json",
		"status_list_aggregation_endpoint": issuerURL + "/statuslists",
		"introspection_endpoint":           issuerURL + "/oauth2/introspect",
		"revocation_endpoint":              issuerURL + "/oauth2/revoke",
		"introspection_endpoint_auth_methods_supported": methods,
		"revocation_endpoint_auth_methods_supported":    methods,
		"grant_types_supported":                         []any{wire.GrantTokenExchange},
		"response_types_supported":                      []any{"none"},
		"token_endpoint_auth_methods_supported":         methods,
		"subject_token_types_supported":                 []any{wire.TypeAPIKey, wire.TypeAccessToken},
		"subject_types_supported":                       []any{"public"},
		"id_token_signing_alg_values_supported":         []any{"EdDSA"},
	}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Error(diff)
	}
	other := w.get(wire.PathOpenID)
	checkPublic(t, wire.PathOpenID, other)
	if other.body != got.body {
		t.Error("the two documents differ")
	}
}

func TestAnIssuerWithAPath(t *testing.T) {
	w := underPath(t)
	var bodies []string
	for _, path := range []string{
		"/.well-known/oauth-authorization-server/eu/tenant-1",
		"/.well-known/openid-configuration/eu/tenant-1",
		"/eu/tenant-1/.well-known/oauth-authorization-server",
		"/eu/tenant-1/.well-known/openid-configuration",
	} {
		got := w.get(path)
		checkPublic(t, path, got)
		bodies = append(bodies, got.body)
	}
	if len(slices.Compact(bodies)) != 1 {
		t.Error("the documents differ")
	}
	var doc struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
		Token  string `json:"token_endpoint"`
	}
	if err := json.Unmarshal([]byte(bodies[0]), &doc); err != nil || doc.Issuer != issuerURL+"/eu/tenant-1" {
		t.Errorf("issuer %q: %v", doc.Issuer, err)
	}
	checkPublic(t, doc.JWKS, w.get(doc.JWKS))

	_, key := w.newKey(manage.NewKey{})
	r := w.post(form(key).Encode())
	r.URL.Path = doc.Token[len(issuerURL):]
	w.want(w.do(r), http.StatusOK, "")

	for _, path := range []string{wire.PathOAuthServer, wire.PathOpenID, wire.PathJWKS} {
		w.want(w.get(path), http.StatusNotFound, "invalid_request") // another issuer's (RFC 8414 §3.3)
	}
}

func TestKeySet(t *testing.T) {
	w := newWorld(t)
	got := w.get(wire.PathJWKS)
	checkPublic(t, wire.PathJWKS, got)
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal([]byte(got.body), &set); err != nil || len(set.Keys) != 2 { // one signs, one waits
		t.Fatalf("%v: %s", err, got.body)
	}
	for _, key := range set.Keys {
		for name := range key {
			if !slices.Contains([]string{"kty", "crv", "x", "kid", "alg", "use"}, name) {
				t.Errorf("member %q has no business in a public key", name)
			}
		}
		if key["kty"] != "OKP" || key["alg"] != "EdDSA" || key["use"] != "sig" || key["kid"] == "" {
			t.Errorf("%v", key)
		}
	}
}

func TestConditionalRequests(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{wire.PathJWKS, wire.PathOAuthServer, wire.PathOpenID} {
		tag := w.get(path).header.Get("ETag")
		for value, code := range map[string]int{
			tag:                         304,
			"W/" + tag:                  304,
			`"a", "b",` + tag + `, "c"`: 304,
			`"a", W/` + tag:             304,
			"*":                         304,
			`"a"`:                       200,
			tag[:len(tag)-2] + `"`:      200,
			"":                          200,
		} {
			got := w.get(path, "If-None-Match", value)
			if got.code != code || (got.body == "") != (code == 304) {
				t.Errorf("%s If-None-Match %s: %v", path, value, got)
			}
			if got.header.Get("ETag") != tag || got.header.Get("Access-Control-Allow-Origin") != "*" || got.header.Get("Cache-Control") == "" {
				t.Errorf("%s If-None-Match %s: %v", path, value, got)
			}
		}
		if got := w.get(path, "Range", "bytes=0-3"); got.code != 200 || len(got.body) < 10 {
			t.Errorf("a part of %s: %v", path, got)
		}
	}
}

func TestDocumentsAreReadOnly(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{wire.PathJWKS, wire.PathOAuthServer, wire.PathOpenID} {
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE"} {
			got := w.do(httptest.NewRequest(method, path, nil))
			if got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %v", method, path, got)
			}
		}
		w.want(w.get(path+"/"), http.StatusNotFound, "invalid_request")
	}
}

func TestHeadHasTheHeadersOfGet(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(w.server.Public())
	defer srv.Close()
	for _, path := range []string{wire.PathJWKS, wire.PathOAuthServer} {
		resp, err := srv.Client().Head(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		got := w.get(path)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("ETag") != got.header.Get("ETag") || resp.ContentLength != int64(len(got.body)) {
			t.Errorf("%s: %v", path, resp)
		}
		for _, banner := range []string{"Server", "X-Powered-By"} {
			if resp.Header.Get(banner) != "" {
				t.Errorf("%s: %s", banner, resp.Header.Get(banner))
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	base := w.config(w.store)
	for _, iss := range []string{
		"", "keys.example.com", "ftp://keys.example.com", "https://", "https://keys.example.com/", "https://keys.example.com/eu/",
		"https://keys.example.com?x", "https://keys.example.com/#f", "https://u:p@keys.example.com", "https://keys.example.com/:id",
		"https://keys.example.com/*", "https://keys.example.com/a//b", "https://keys.example.com/a%2Fb", "https://keys.example.com/..",
		"https://keys.example.com/a b",
	} {
		cfg := base
		cfg.Issuer = iss
		if _, err := newServer(cfg); err == nil {
			t.Errorf("issuer %q", iss)
		}
	}
	for name, change := range map[string]func(*setup){
		"no exchange": func(cfg *setup) { cfg.Exchange = nil },
		"no statuses": func(cfg *setup) { cfg.Statuses = nil },
		"no key set":  func(cfg *setup) { cfg.JWKS = nil },
		"no log":      func(cfg *setup) { cfg.Log = nil },
	} {
		cfg := base
		change(&cfg)
		if _, err := newServer(cfg); err == nil {
			t.Error(name)
		}
	}
}
