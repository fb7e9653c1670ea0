package httpapi_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// asserting is a request for a token by an assertion alone.
func (w *world) asserting(key, assertion string, changes ...string) reply {
	w.t.Helper()
	f := form(key, append([]string{wire.FieldAssertionType, wire.AssertionJWT, wire.FieldClientAssertion, assertion}, changes...)...)
	r := w.post(f.Encode())
	r.Header.Del("Authorization")
	return w.do(r)
}

// withSigner makes the client "signs", without a secret, and another with a key of its own.
func (w *world) withSigner() (key string) {
	w.t.Helper()
	keys := signingKeys()
	for id, set := range map[string]json.RawMessage{
		"signs": jwks(keys["EdDSA"].jwk(), keys["ES256"].jwk(), keys["RS256"].jwk()), "other": jwks(keys["another's"].jwk()),
	} {
		w.newClient(manage.NewClient{ID: id, Audiences: []string{orders}, NoSecret: true, Registered: manage.NewRegistered{JWKS: set},
			Rights: []client.Right{client.TokensExchange, client.TokensIntrospect, client.TokensRevoke, client.ClientsRead}})
	}
	_, key = w.newKey(manage.NewKey{})
	return key
}

func TestAClientAuthenticatesByAnAssertion(t *testing.T) {
	w := newWorld(t)
	key := w.withSigner()
	ed := signingKeys()["EdDSA"]
	tests := map[string]string{
		"with EdDSA":                              ed.assertion(nil),
		"with ES256":                              signingKeys()["ES256"].assertion(nil),
		"with RS256":                              signingKeys()["RS256"].assertion(nil),
		"under the other name of EdDSA":           ed.sign(`{"alg":"Ed25519","kid":"ed"}`, saying(nil)),
		"with the typ of any JWT":                 ed.sign(`{"alg":"EdDSA","kid":"ed","typ":"JWT"}`, saying(nil)),
		"with the typ of an assertion":            ed.sign(`{"alg":"EdDSA","kid":"ed","typ":"client-authentication+jwt"}`, saying(nil)),
		"for the issuer in a list of one":         ed.assertion(map[string]any{"aud": []string{issuerURL}}),
		"for the token endpoint":                  ed.assertion(map[string]any{"aud": issuerURL + wire.PathToken}),
		"without iat":                             ed.assertion(map[string]any{"iat": nil}),
		"with nbf, from a clock 30 s ahead":       ed.assertion(map[string]any{"nbf": noon.Add(30 * time.Second).Unix(), "iat": noon.Add(30 * time.Second).Unix()}),
		"that lives 5 minutes, from such a clock": ed.assertion(map[string]any{"iat": noon.Add(30 * time.Second).Unix(), "exp": noon.Add(330 * time.Second).Unix()}),
		"with claims that mean nothing":           ed.assertion(map[string]any{"scope": "all", "cnf": map[string]any{"x": []int{1}}}),
	}
	for name, assertion := range tests {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			w.want(w.asserting(key, assertion), 200, "")
		})
	}
	t.Run("and a client_id beside it that says the same", func(t *testing.T) {
		w := *w
		w.t = t
		w.want(w.asserting(key, ed.assertion(nil), wire.FieldClientID, "signs"), 200, "")
	})
}

func TestAnAssertionIsRefusedWithOneAnswer(t *testing.T) {
	w := bounded(t, "1000/1m") // more than there are
	key := w.withSigner()
	keys := signingKeys()
	ed := keys["EdDSA"]
	good := ed.assertion(nil)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	once := ed.assertion(nil)
	w.want(w.asserting(key, once), 200, "")
	hs256 := func(secret []byte) string {
		message := b64(`{"alg":"HS256","kid":"ed"}`) + "." + b64(saying(nil))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(message))
		return message + "." + b64(string(mac.Sum(nil)))
	}
	with := func(changes map[string]any) string { return ed.assertion(changes) }
	headed := func(header string) string { return ed.sign(header, saying(nil)) }
	tests := map[string]string{
		"that was used before":                         once,
		"with alg none and no signature":               b64(`{"alg":"none"}`) + "." + b64(saying(nil)) + ".",
		"with alg none and a signature":                headed(`{"alg":"none","kid":"ed"}`),
		"with HS256 under the public key":              hs256(ed.private.Public().(ed25519.PublicKey)),
		"with HS256 under the public key as JWK":       hs256(jwks(ed.jwk())),
		"with an alg that its key is not for":          headed(`{"alg":"ES256","kid":"ed"}`),
		"with RS384":                                   keys["RS256"].sign(`{"alg":"RS384","kid":"rs"}`, saying(nil)),
		"without alg":                                  headed(`{"kid":"ed"}`),
		"with the kid of another client":               keys["another's"].assertion(nil),
		"of another client's key under our kid":        keys["another's"].sign(ed.header(), saying(nil)),
		"with the kid of another key of the client":    headed(`{"alg":"EdDSA","kid":"ec"}`),
		"without a kid, of a client with several keys": headed(`{"alg":"EdDSA"}`),
		"with an empty kid":                            headed(`{"alg":"EdDSA","kid":""}`),
		"with a kid that is no text":                   headed(`{"alg":"EdDSA","kid":["ed"]}`),
		"with its own key in the header":               headed(`{"alg":"EdDSA","kid":"ed","jwk":{}}`),
		"with crit":                                    headed(`{"alg":"EdDSA","kid":"ed","crit":["b64"],"b64":false}`),
		"with jku":                                     headed(`{"alg":"EdDSA","kid":"ed","jku":"https://evil.example"}`),
		"with alg twice":                               headed(`{"alg":"none","alg":"EdDSA","kid":"ed"}`),
		"that is an access token by its typ":           headed(`{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}`),
		"that is a nested JWT by its cty":              headed(`{"alg":"EdDSA","kid":"ed","cty":"JWT"}`),
		"that holds a JWT":                             ed.sign(ed.header(), good),
		"with an algorithm in another case":            headed(`{"ALG":"EdDSA","kid":"ed"}`),
		"for another issuer":                           with(map[string]any{"aud": "https://keys.example.org"}),
		"for the issuer with a slash":                  with(map[string]any{"aud": issuerURL + "/"}),
		"for another endpoint of ours":                 with(map[string]any{"aud": issuerURL + wire.PathIntrospect}),
		"for us and somebody else":                     with(map[string]any{"aud": []string{issuerURL, "https://evil.example"}}),
		"for us twice":                                 with(map[string]any{"aud": []string{issuerURL, issuerURL}}),
		"for nobody":                                   with(map[string]any{"aud": nil}),
		"for an empty list":                            with(map[string]any{"aud": []string{}}),
		"for an object":                                with(map[string]any{"aud": map[string]any{"aud": issuerURL}}),
		"that has expired this second":                 with(map[string]any{"exp": noon.Unix(), "iat": noon.Unix() - 60}),
		"that expires 331 seconds ahead":               with(map[string]any{"exp": noon.Add(331 * time.Second).Unix(), "iat": nil}),
		"that lives for 331 seconds":                   with(map[string]any{"iat": noon.Add(-271 * time.Second).Unix()}),
		"that was made at the beginning of time":       with(map[string]any{"iat": -1 << 62}),
		"that never expires":                           with(map[string]any{"exp": nil}),
		"whose exp is null":                            ed.sign(ed.header(), strings.Replace(saying(map[string]any{"exp": 1}), `"exp":1`, `"exp":null`, 1)),
		"whose exp is text":                            with(map[string]any{"exp": "1773144060"}),
		"whose exp has a fraction":                     with(map[string]any{"exp": 1773144060.5}),
		"whose exp does not fit 64 bits":               ed.sign(ed.header(), strings.Replace(saying(map[string]any{"exp": 1}), `"exp":1`, `"exp":18446744073709551616`, 1)),
		"that is not valid yet, by 31 seconds":         with(map[string]any{"nbf": noon.Add(31 * time.Second).Unix()}),
		"that was made 31 seconds ahead":               with(map[string]any{"iat": noon.Add(31 * time.Second).Unix()}),
		"without jti":                                  with(map[string]any{"jti": nil}),
		"with an empty jti":                            with(map[string]any{"jti": ""}),
		"with a jti of 257 bytes":                      with(map[string]any{"jti": strings.Repeat("j", 257)}),
		"without iss":                                  with(map[string]any{"iss": nil}),
		"without sub":                                  with(map[string]any{"sub": nil}),
		"of somebody for somebody else":                with(map[string]any{"iss": "other"}),
		"that another client signed in our name":       keys["another's"].sign(keys["another's"].header(), saying(nil)),
		"of a client that does not exist":              with(map[string]any{"iss": "nobody", "sub": "nobody"}),
		"of what cannot be a client":                   with(map[string]any{"iss": "a b\u0000", "sub": "a b\u0000"}),
		"with a member twice":                          ed.sign(ed.header(), strings.Replace(saying(nil), `{`, `{"sub":"other",`, 1)),
		"with a nested member twice":                   ed.sign(ed.header(), strings.Replace(saying(nil), `{`, `{"x":{"a":1,"a":2},`, 1)),
		"with half a surrogate":                        ed.sign(ed.header(), strings.Replace(saying(nil), `{`, `{"x":"\ud800",`, 1)),
		"nested too deep":                              ed.sign(ed.header(), strings.Replace(saying(nil), `{`, `{"x":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)+`,`, 1)),
		"with something after the payload":             ed.sign(ed.header(), saying(nil)+"{}"),
		"of which the payload is a list":               ed.sign(ed.header(), "["+saying(nil)+"]"),
		"of which the payload is nothing":              ed.sign(ed.header(), ""),
		"over 4 KiB":                                   with(map[string]any{"x": strings.Repeat("x", 4<<10)}),
		"in two parts":                                 head + "." + payload,
		"in four parts":                                good + ".",
		"in five parts":                                good + ".a.b",
		"with padding":                                 head + "." + payload + "." + signature + "==",
		"with a line break":                            head + "." + payload + ".\n" + signature,
		"without a signature":                          head + "." + payload + ".",
		"with half a signature":                        head + "." + payload + "." + signature[:42],
		"with the signature of another":                head + "." + payload + "." + strings.Split(with(nil), ".")[2],
		"of which the signature has a second spelling": good[:len(good)-1] + nextBase64(good[len(good)-1]),
		"with an ES256 signature in ASN.1":             derSigned(keys["ES256"]),
		"with an ES256 signature of zeros":             b64(keys["ES256"].header()) + "." + b64(saying(nil)) + "." + b64(strings.Repeat("\x00", 64)),
		"that is garbage":                              "%%%.$$$.###",
		"that is one letter":                           "x",
	}
	var first string
	for name, assertion := range tests {
		t.Run("one "+name, func(t *testing.T) {
			w := *w
			w.t = t
			got := w.asserting(key, assertion)
			w.want(got, 401, "invalid_client")
			if first == "" {
				first = got.String()
			}
			if got.String() != first {
				t.Errorf("%s differs from %s", got, first)
			}
		})
	}
	t.Run("as is a good one with another client_id beside it, and it can be used then", func(t *testing.T) {
		w := *w
		w.t = t
		w.want(w.asserting(key, good, wire.FieldClientID, "other"), 401, "invalid_client")
		w.want(w.asserting(key, good, wire.FieldAssertionType, "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), 401, "invalid_client")
		w.want(w.asserting(key, good, wire.FieldAssertionType, ""), 401, "invalid_client")
		w.want(w.asserting(key, good), 200, "")
	})
}

// nextBase64 differs from c in the bits that a signature of 64 bytes does not use.
func nextBase64(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

func derSigned(k signingKey) string {
	message := b64(k.header()) + "." + b64(saying(nil))
	digest := sha256.Sum256([]byte(message))
	return message + "." + b64(string(must1(k.private.Sign(rand.Reader, digest[:], crypto.SHA256))))
}

func TestAnAssertionIsTakenOnceAtWhicheverEndpoint(t *testing.T) {
	w := newWorld(t)
	key := w.withSigner()
	ed := signingKeys()["EdDSA"]
	post := func(path, assertion string) int {
		f := url.Values{wire.FieldToken: {key}, wire.FieldAssertionType: {wire.AssertionJWT}, wire.FieldClientAssertion: {assertion}}
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(f.Encode()))
		r.Header.Set("Content-Type", wire.MediaForm)
		return w.do(r).code
	}
	first, second := ed.assertion(nil), ed.assertion(nil)
	if post(wire.PathIntrospect, first) != 200 || w.asserting(key, first).code != 401 {
		t.Error("one was taken twice, or not at all")
	}
	if post(wire.PathRevoke, second) != 200 || post(wire.PathIntrospect, second) != 401 {
		t.Error("one was taken twice, or not at all")
	}
	shared := ed.assertion(map[string]any{"jti": "shared"})
	theirs := signingKeys()["another's"].assertion(map[string]any{"jti": "shared", "iss": "other", "sub": "other"})
	if post(wire.PathIntrospect, shared) != 200 || post(wire.PathIntrospect, theirs) != 200 {
		t.Error("a jti is used by each client for itself")
	}
	if post(wire.PathIntrospect, ed.assertion(map[string]any{"jti": "shared"})) != 401 {
		t.Error("another assertion under the same jti")
	}
}

func TestOfAFloodOfOneAssertionOneIsTaken(t *testing.T) {
	w := newWorld(t)
	key := w.withSigner()
	assertion := signingKeys()["EdDSA"].assertion(nil)
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if w.asserting(key, assertion).code == 200 {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 {
		t.Errorf("%d were taken", taken.Load())
	}
}

func TestAnAssertionIsNoCredentialOfTheManagementAPI(t *testing.T) {
	w := newWorld(t)
	w.withSigner()
	assertion := signingKeys()["EdDSA"].assertion(nil)
	for _, header := range []string{"Bearer " + assertion, basic("signs:" + assertion)} {
		r := httptest.NewRequest(http.MethodGet, wire.PathClients, nil)
		r.Header.Set("Authorization", header)
		wantCode(t, w.managed(r), 401)
	}
}

func TestAClientWithOneKeyNeedsNoKid(t *testing.T) {
	w := newWorld(t)
	key := w.withSigner()
	theirs := signingKeys()["another's"]
	w.want(w.asserting(key, theirs.sign(`{"alg":"EdDSA"}`, saying(map[string]any{"iss": "other", "sub": "other"}))), 200, "")
}

func TestAKeyThatWasTakenAwayIsRefusedAtOnce(t *testing.T) {
	w := newWorld(t)
	key := w.withSigner()
	keys := signingKeys()
	w.want(w.asserting(key, keys["EdDSA"].assertion(nil)), 200, "")
	root := w.root()
	wantCode(t, root("PATCH", wire.PathClients+"/signs", `{"jwks":`+string(jwks(keys["ES256"].jwk()))+`}`), 200)
	w.want(w.asserting(key, keys["EdDSA"].assertion(nil)), 401, "invalid_client")
	w.want(w.asserting(key, keys["ES256"].assertion(nil)), 200, "")
	wantCode(t, root("POST", wire.PathClients+"/signs/disable", ``), 200)
	w.want(w.asserting(key, keys["ES256"].assertion(nil)), 401, "invalid_client")
}

// A key is taken away while an exchange is on its way to the transaction that charges:
// the assertion is held against the client as it is then.
func TestAKeyThatIsTakenAwayMeanwhileChargesNothing(t *testing.T) {
	var before func()
	opts := options{store: func(next verifier.Store) verifier.Store {
		return storeFunc(func(ctx context.Context, lookup verifier.Lookup, decide func(time.Time, verifier.Found)) error {
			if before != nil {
				before()
				before = nil
			}
			return next.Update(ctx, lookup, decide)
		})
	}}
	w := newWorld(t, opts)
	w.withSigner()
	id, key := w.newKey(manage.NewKey{Remaining: uses(3)})
	keys := signingKeys()
	swap := func(kept string) {
		before = func() {
			text := jwks(keys[kept].jwk())
			if _, err := w.manage.PatchClient(t.Context(), "signs", manage.ClientPatch{Registered: manage.RegisteredPatch{JWKS: &text}}); err != nil {
				t.Error(err)
			}
		}
	}
	swap("EdDSA")
	w.want(w.asserting(key, keys["EdDSA"].assertion(nil)), 200, "") // its key is still there
	swap("RS256")
	w.want(w.asserting(key, keys["EdDSA"].assertion(nil)), 401, "invalid_client")
	if left := w.remaining(id); left != 2 {
		t.Errorf("%d left", left)
	}
}
