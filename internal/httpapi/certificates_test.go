package httpapi_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

// asking makes a server that asks for certificates; nil: of no authority.
func asking(ca *authority) options {
	return options{config: func(s *setup) {
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		if ca != nil {
			s.ClientCAs = ca.pool
		}
	}}
}

func (w *world) withCertificates(own tls.Certificate) (key string) {
	w.t.Helper()
	for id, r := range map[string]manage.NewRegistered{
		"dns":  {SANDNS: "Orders.Example.com"},
		"uri":  {SANURI: "spiffe://example.com/orders"},
		"self": {Certificates: []string{thumbprint(own)}},
	} {
		w.newClient(manage.NewClient{ID: id, Audiences: []string{orders}, NoSecret: true, Registered: r,
			Rights: []client.Right{client.TokensExchange, client.ClientsRead, client.KeysVerify}})
	}
	_, key = w.newKey(manage.NewKey{})
	return key
}

// presenting is a request for a token by a certificate alone.
func (w *world) presenting(key, id string, chain ...tls.Certificate) reply {
	w.t.Helper()
	r := over(w.post(form(key, wire.FieldClientID, id).Encode()), chain...)
	r.Header.Del("Authorization")
	return w.do(r)
}

func TestAClientAuthenticatesByACertificate(t *testing.T) {
	ca, own := newAuthority(), (*authority)(nil).makes(nil)
	w := newWorld(t, asking(ca))
	key := w.withCertificates(own)
	deputy := ca.makes(func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.ExtKeyUsage, c.DNSNames = true, true, nil, nil
		c.Subject.CommonName = "deputy"
	})
	under := &authority{deputy.Leaf, deputy.PrivateKey.(*ecdsa.PrivateKey)}
	for name, test := range map[string]struct {
		id    string
		chain []tls.Certificate
	}{
		"of a name":                          {"dns", []tls.Certificate{ca.makes(nil)}},
		"of a name in another case":          {"dns", []tls.Certificate{ca.makes(named("ORDERS.example.com"))}},
		"of a name among others":             {"dns", []tls.Certificate{ca.makes(func(c *x509.Certificate) { c.DNSNames = []string{"a.example", "orders.example.com"} })}},
		"of a URI":                           {"uri", []tls.Certificate{ca.makes(forURI("spiffe://example.com/orders"))}},
		"that does not say what it is for":   {"dns", []tls.Certificate{ca.makes(func(c *x509.Certificate) { c.ExtKeyUsage = nil })}},
		"by way of one in between":           {"dns", []tls.Certificate{under.makes(nil), deputy}},
		"of its own making":                  {"self", []tls.Certificate{own}},
		"that is its own, with others after": {"self", []tls.Certificate{own, ca.makes(nil)}},
	} {
		t.Run("one "+name, func(t *testing.T) {
			w := *w
			w.t = t
			w.want(w.presenting(key, test.id, test.chain...), 200, "")
		})
	}
}

func TestACertificateIsRefusedWithOneAnswer(t *testing.T) {
	ca, own := newAuthority(), (*authority)(nil).makes(nil)
	w := newWorld(t, asking(ca))
	key := w.withCertificates(own)
	old := (*authority)(nil).makes(func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) })
	w.newClient(manage.NewClient{ID: "old", Audiences: []string{orders}, Registered: manage.NewRegistered{Certificates: []string{thumbprint(old)}}})
	one := func(c tls.Certificate) []tls.Certificate { return []tls.Certificate{c} }
	var first string
	for name, test := range map[string]struct {
		id    string
		chain []tls.Certificate
	}{
		"none":                                {"dns", nil},
		"one of another name":                 {"dns", one(ca.makes(named("billing.example.com")))},
		"one of a name below":                 {"dns", one(ca.makes(named("a.orders.example.com")))},
		"one of a wildcard":                   {"dns", one(ca.makes(named("*.example.com")))},
		"one with the name as a URI":          {"dns", one(ca.makes(forURI("orders.example.com")))},
		"one with the name as common name":    {"dns", one(ca.makes(func(c *x509.Certificate) { c.DNSNames = nil }))},
		"one of another authority":            {"dns", one(newAuthority().makes(nil))},
		"one of another, that of ours behind": {"dns", append(one(newAuthority().makes(nil)), ca.makes(nil))},
		"one of its own making, of the name":  {"dns", one((*authority)(nil).makes(nil))},
		"one that has expired":                {"dns", one(ca.makes(func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) }))},
		"one that is not good yet":            {"dns", one(ca.makes(func(c *x509.Certificate) { c.NotBefore = noon.Add(time.Second) }))},
		"one for servers":                     {"dns", one(ca.makes(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))},
		"one of another client":               {"uri", one(ca.makes(nil))},
		"one of another path in its URI":      {"uri", one(ca.makes(forURI("spiffe://example.com/orders/")))},
		"one of a client by thumbprint":       {"dns", one(own)},
		"one that is not the registered":      {"self", one((*authority)(nil).makes(nil))},
		"one of the authority, not its own":   {"self", one(ca.makes(nil))},
		"its own, behind another":             {"self", append(one((*authority)(nil).makes(nil)), own)},
		"its own that has expired":            {"old", one(old)},
		"one without a client_id":             {"", one(own)},
		"one of a client that is not there":   {"nobody", one(own)},
		"one of a client that has a secret":   {w.clientID, one(own)},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			got := w.presenting(key, test.id, test.chain...)
			w.want(got, 401, "invalid_client")
			if first == "" {
				first = got.String()
			}
			if got.String() != first {
				t.Errorf("%s differs from %s", got, first)
			}
		})
	}
}

func TestNoHeaderIsACertificate(t *testing.T) {
	ca, own := newAuthority(), (*authority)(nil).makes(nil)
	w := newWorld(t, asking(ca))
	key := w.withCertificates(own)
	for _, name := range []string{"X-Forwarded-Client-Cert", "X-Client-Cert", "X-SSL-Client-Cert", "Client-Cert", "Ssl-Client-Cert"} {
		r := w.post(form(key, wire.FieldClientID, "self").Encode())
		r.Header.Del("Authorization")
		r.Header.Set(name, thumbprint(own))
		w.want(w.do(r), 401, "invalid_client")
	}
}

func TestCertificatesMeanNothingUnlessAskedFor(t *testing.T) {
	own := (*authority)(nil).makes(nil)
	w := newWorld(t)
	key := w.withCertificates(own)
	w.want(w.presenting(key, "self", own), 401, "invalid_client")
	t.Run("and names mean nothing without an authority", func(t *testing.T) {
		w := newWorld(t, asking(nil))
		key := w.withCertificates(own)
		w.want(w.presenting(key, "dns", own), 401, "invalid_client")
		w.want(w.presenting(key, "self", own), 200, "")
	})
}

func TestASecretWorksBesideWhateverCertificate(t *testing.T) {
	ca, own := newAuthority(), (*authority)(nil).makes(nil)
	w := newWorld(t, asking(ca))
	key := w.withCertificates(own)
	w.want(w.exchange(form(key)), 200, "")
	w.want(w.do(over(w.post(form(key).Encode()), own)), 200, "")
	wrong := over(w.post(form(key).Encode()), own)
	wrong.SetBasicAuth("self", "x")
	w.want(w.do(wrong), 401, "invalid_client")
}

func TestTheManagementAPITakesACertificate(t *testing.T) {
	ca, own := newAuthority(), (*authority)(nil).makes(nil)
	w := newWorld(t, asking(ca))
	key := w.withCertificates(own)
	list := func(c tls.Certificate, ids ...string) reply {
		r := over(httptest.NewRequest(http.MethodGet, wire.PathClients, nil), c)
		for _, id := range ids {
			r.Header.Add(wire.HeaderClientID, id)
		}
		return w.managed(r)
	}
	wantCode(t, list(own, "self"), 200)
	wantCode(t, list(ca.makes(nil), "dns"), 200)
	for _, ids := range [][]string{{"dns"}, {""}, {}, {"self", "self"}, {"self", "dns"}, {"nobody"}} {
		wantCode(t, list(own, ids...), 401)
	}
	verify := over(httptest.NewRequest(http.MethodPost, wire.PathVerify, strings.NewReader(`{"key":"`+key+`"}`)), own)
	verify.Header.Set("Content-Type", wire.MediaJSON)
	verify.Header.Set(wire.HeaderClientID, "self")
	wantCode(t, w.managed(verify), 200)

	basic := httptest.NewRequest(http.MethodGet, wire.PathClients, nil)
	basic.SetBasicAuth(w.clientID, w.secret)
	basic.Header.Set(wire.HeaderClientID, "self")
	wantCode(t, w.managed(basic), 400)

	text := []string{thumbprint(ca.makes(nil))}
	if _, err := w.manage.PatchClient(t.Context(), "self", manage.ClientPatch{Registered: manage.RegisteredPatch{Certificates: &text}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, list(own, "self"), 401)
}

func TestMetadataNamesTheWaysThatThereAre(t *testing.T) {
	for name, test := range map[string]struct {
		options options
		more    []string
	}{
		"without certificates": {options{}, nil},
		"without an authority": {asking(nil), []string{"self_signed_tls_client_auth"}},
		"with an authority":    {asking(newAuthority()), []string{"tls_client_auth", "self_signed_tls_client_auth"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.options)
			doc := read[map[string]any](t, w.get(wire.PathOAuthServer))
			want := append([]string{"client_secret_basic", "client_secret_post", "private_key_jwt"}, test.more...)
			for _, endpoint := range []string{"token", "introspection", "revocation"} {
				var got []string
				for _, m := range doc[endpoint+"_endpoint_auth_methods_supported"].([]any) {
					got = append(got, m.(string))
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: %v, want %v", endpoint, got, want)
				}
			}
		})
	}
}

// Over a real connection: whoever has no certificate is not asked twice, and a
// certificate counts only with its private key.
func TestCertificatesOverTLS(t *testing.T) {
	ca, own := newAuthority(), (*authority)(nil).makes(nil)
	w := newWorld(t, asking(ca))
	key := w.withCertificates(own)
	server := httptest.NewUnstartedServer(w.server.Public())
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	exchange := func(id string, certs ...tls.Certificate) (code int, err error) {
		trusting := server.Client().Transport.(*http.Transport).Clone()
		trusting.TLSClientConfig.Certificates = certs
		defer trusting.CloseIdleConnections()
		r := must1(http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+wire.PathToken, strings.NewReader(form(key, wire.FieldClientID, id).Encode())))
		r.Header.Set("Content-Type", wire.MediaForm)
		answer, err := (&http.Client{Transport: trusting}).Do(r)
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		var said wire.TokenResponse
		if text, _ := io.ReadAll(answer.Body); answer.StatusCode == http.StatusOK {
			err = json.Unmarshal(text, &said)
			keepSecret(said.AccessToken)
		}
		return answer.StatusCode, err
	}
	stolen := own
	stolen.PrivateKey = ca.key
	for _, test := range []struct {
		id   string
		with []tls.Certificate
		code int
	}{{"self", []tls.Certificate{own}, 200}, {"dns", []tls.Certificate{ca.makes(nil)}, 200}, {"self", nil, 401}, {"dns", []tls.Certificate{own}, 401}} {
		if code, err := exchange(test.id, test.with...); code != test.code || err != nil {
			t.Errorf("%s: %d, %v", test.id, code, err)
		}
	}
	if code, err := exchange("self", stolen); err == nil {
		t.Errorf("a certificate without its private key: %d", code)
	}
}
