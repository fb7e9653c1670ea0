package httpapi_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/sdk"
)

// at fills in where the sdk finds a world whose issuer has another name.
func (w *world) at(url string, config sdk.ClientConfig) *sdk.Client {
	w.t.Helper()
	config.Issuer, config.Audience = issuerURL, orders
	config.TokenURL, config.VerifyURL = url+wire.PathToken, url+wire.PathVerify
	config.Now = func() time.Time { return *w.clock.Load() }
	config.Checker = sdk.CheckerConfig{JWKSURL: url + wire.PathJWKS, StatusListURL: url + wire.PathStatusLists}
	c, err := sdk.NewClient(config)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// remote is a key that only signs, as one in a key store does.
type remote struct{ crypto.Signer }

func (r remote) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return r.Signer.Sign(rand.Reader, digest, opts)
}

// broken is a key store that is away.
type broken struct{ crypto.Signer }

func (broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the key store says eyJ")
}

func TestTheSDKSignsAssertions(t *testing.T) {
	w := newWorld(t)
	w.withSigner()
	server := httptest.NewServer(w.server.Public())
	defer server.Close()
	keys := signingKeys()
	for name, key := range map[string]sdk.ClientKey{
		"with EdDSA":         sdk.NewClientKey(keys["EdDSA"].private, "ed"),
		"with ES256":         sdk.NewClientKey(keys["ES256"].private, "ec"),
		"with RS256":         sdk.NewClientKey(keys["RS256"].private, "rs"),
		"from a key store":   sdk.NewClientKey(remote{keys["ES256"].private}, "ec"),
		"from an EdDSA one":  sdk.NewClientKey(remote{keys["EdDSA"].private}, "ed"),
		"from one with RSA ": sdk.NewClientKey(remote{keys["RS256"].private}, "rs"),
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			c := w.at(server.URL, sdk.ClientConfig{ClientID: "signs", ClientKey: key})
			for range 3 { // each exchange has an assertion of its own
				_, apiKey := w.newKey(manage.NewKey{Owner: "user_42"})
				token, err := c.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: apiKey})
				if err != nil || token.Subject() != "user_42" || token.ClientID() != "signs" {
					t.Fatalf("%v, %v", token, err)
				}
			}
		})
	}
	_, apiKey := w.newKey(manage.NewKey{})
	t.Run("and is told plainly that its key is another", func(t *testing.T) {
		c := w.at(server.URL, sdk.ClientConfig{ClientID: "signs", ClientKey: sdk.NewClientKey(keys["another's"].private, "ed")})
		if _, err := c.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: apiKey}); !errors.Is(err, sdk.ErrUnavailable) || !strings.Contains(err.Error(), "invalid_client") {
			t.Errorf("%v", err)
		}
	})
	t.Run("and a key store that is away is unavailable, and not quoted", func(t *testing.T) {
		c := w.at(server.URL, sdk.ClientConfig{ClientID: "signs", ClientKey: sdk.NewClientKey(broken{keys["EdDSA"].private}, "ed")})
		if _, err := c.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: apiKey}); !errors.Is(err, sdk.ErrUnavailable) || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%v", err)
		}
	})
	t.Run("and no call can be Online", func(t *testing.T) {
		c := w.at(server.URL, sdk.ClientConfig{ClientID: "signs", ClientKey: sdk.NewClientKey(keys["EdDSA"].private, "ed")})
		_, err := c.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: apiKey, Online: true})
		if err == nil || errors.Is(err, sdk.ErrUnavailable) || errors.Is(err, sdk.ErrRefused) {
			t.Errorf("%v", err)
		}
	})
}

func TestWithoutAKidTheThumbprintStandsForIt(t *testing.T) {
	w := newWorld(t)
	private := must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	second := must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	set := jwks(signingKey{private: private}.jwk(), signingKey{private: second}.jwk())
	w.newClient(manage.NewClient{ID: "plain", Audiences: []string{orders}, NoSecret: true, Registered: manage.NewRegistered{JWKS: set}})
	server := httptest.NewServer(w.server.Public())
	defer server.Close()
	_, apiKey := w.newKey(manage.NewKey{})
	c := w.at(server.URL, sdk.ClientConfig{ClientID: "plain", ClientKey: sdk.NewClientKey(private, "")})
	if _, err := c.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: apiKey}); err != nil {
		t.Error(err)
	}
}

func TestTheSDKAuthenticatesByMutualTLS(t *testing.T) {
	ca, own := newAuthority(), (*authority)(nil).makes(nil)
	w := newWorld(t, asking(ca))
	w.withCertificates(own)
	server := httptest.NewUnstartedServer(w.server.Public())
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	presenting := func(c tls.Certificate) *http.Client {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = []tls.Certificate{c}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	for id, cert := range map[string]tls.Certificate{"self": own, "dns": ca.makes(nil), "uri": ca.makes(forURI("spiffe://example.com/orders"))} {
		c := w.at(server.URL, sdk.ClientConfig{ClientID: id, MutualTLS: true, HTTPClient: presenting(cert)})
		for _, online := range []bool{false, true} {
			_, apiKey := w.newKey(manage.NewKey{})
			if _, err := c.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: apiKey, Online: online}); err != nil {
				t.Errorf("%s, online %t: %v", id, online, err)
			}
		}
	}
	_, apiKey := w.newKey(manage.NewKey{})
	c := w.at(server.URL, sdk.ClientConfig{ClientID: "dns", MutualTLS: true, HTTPClient: presenting(own)})
	for _, online := range []bool{false, true} {
		if _, err := c.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: apiKey, Online: online}); !errors.Is(err, sdk.ErrUnavailable) {
			t.Errorf("with another's certificate, online %t: %v", online, err)
		}
	}
}

func TestPublicKeysAreManagedOverHTTP(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	ed, own := signingKeys()["EdDSA"], (*authority)(nil).makes(nil)
	set := string(jwks(ed.jwk()))
	made := must[wire.CreatedClient](t, root("POST", wire.PathClients, `{"client_id":"signs","audiences":["`+orders+`"],"no_secret":true,"jwks":`+set+
		`,"certificates":["`+thumbprint(own)+`"],"tls_client_auth_san_dns":"A.example.com"}`), 201)
	if made.Secret != nil || made.SecretID != "" || len(made.Secrets) != 0 || made.SANDNS != "a.example.com" || len(made.JWKS.Keys) != 1 || made.Certificates[0] != thumbprint(own) {
		t.Errorf("%+v", made)
	}
	if k := must1(client.ParseKey(made.JWKS.Keys[0])); k.ID != "ed" || k.Algorithm != "EdDSA" {
		t.Errorf("%+v", k)
	}
	_, key := w.newKey(manage.NewKey{})
	w.want(w.asserting(key, ed.assertion(nil)), 200, "")

	path := wire.PathClients + "/signs"
	patch := func(body string) wire.Client { t.Helper(); return must[wire.Client](t, root("PATCH", path, body), 200) }
	if c := patch(`{"tls_client_auth_san_dns":null,"tls_client_auth_san_uri":"spiffe://a/b","certificates":null}`); c.SANDNS != "" || c.SANURI != "spiffe://a/b" || len(c.Certificates) != 0 || c.JWKS == nil {
		t.Errorf("%+v", c)
	}
	patch(`{"tls_client_auth_san_uri":null}`)
	wantCode(t, root("PATCH", path, `{"jwks":null}`), 409) // nothing would be left
	second := must[wire.CreatedClient](t, root("POST", path+"/secrets", ``), 201)
	wantCode(t, root("DELETE", path+"/secrets/"+second.SecretID, ``), 204) // its key is left
	must[wire.CreatedClient](t, root("POST", path+"/secrets", ``), 201)
	if c := patch(`{"jwks":null}`); c.JWKS != nil {
		t.Errorf("%+v", c)
	}
	w.want(w.asserting(key, ed.assertion(nil)), 401, "invalid_client")

	for body, field := range map[string]string{
		`{"jwks":[]}`:          "jwks",
		`{"jwks":{"keys":[]}}`: "jwks",
		`{"jwks":{"keys":[{"kty":"oct","k":"eA"}]}}`: "jwks",
		`{"jwks":` + strings.Replace(set, `]`, `,`+strings.TrimSuffix(strings.TrimPrefix(set, `{"keys":[`), `]}`)+`]`, 1) + `}`: "jwks", // one kid twice
		`{"certificates":["x"]}`:                                          "certificates",
		`{"tls_client_auth_san_dns":"*.example.com"}`:                     "tls_client_auth_san_dns",
		`{"tls_client_auth_san_uri":"/orders"}`:                           "tls_client_auth_san_uri",
		`{"tls_client_auth_san_uri":"a:b","tls_client_auth_san_dns":"a"}`: "tls_client_auth_san_uri",
	} {
		wantFields(t, root("PATCH", path, body), 422, field)
	}
	wantFields(t, root("POST", wire.PathClients, `{"client_id":"nothing","no_secret":true}`), 422, "no_secret")
	got := root("GET", wire.PathAudit+"?action=client.change", ``)
	if got.code != 200 || !strings.Contains(got.body, `"kid":"ed"`) || !strings.Contains(got.body, "spiffe://a/b") {
		t.Errorf("not in the log: %v", got)
	}
}
