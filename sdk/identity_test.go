package sdk_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func TestAClientSaysWhoItIsInOneWay(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	weak := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}}
	secret, key := sdk.NewSecret("s"), sdk.NewClientKey(ed, "")
	for name, test := range map[string]struct {
		config sdk.ClientConfig
		want   string // empty: it is good
	}{
		"a secret":                   {sdk.ClientConfig{ClientSecret: secret}, ""},
		"a key":                      {sdk.ClientConfig{ClientKey: key}, ""},
		"a certificate":              {sdk.ClientConfig{MutualTLS: true, HTTPClient: &http.Client{}}, ""},
		"nothing":                    {sdk.ClientConfig{}, "one of ClientSecret"},
		"an empty secret":            {sdk.ClientConfig{ClientSecret: sdk.NewSecret("")}, "one of ClientSecret"},
		"a secret and a key":         {sdk.ClientConfig{ClientSecret: secret, ClientKey: key}, "one of ClientSecret"},
		"a key and a certificate":    {sdk.ClientConfig{ClientKey: key, MutualTLS: true, HTTPClient: &http.Client{}}, "one of ClientSecret"},
		"a certificate from nowhere": {sdk.ClientConfig{MutualTLS: true}, "HTTPClient is required"},
		"a key of no use":            {sdk.ClientConfig{ClientKey: sdk.NewClientKey(p384, "")}, "ClientKey is neither"},
		"a weak key":                 {sdk.ClientConfig{ClientKey: sdk.NewClientKey(weak, "")}, "ClientKey is neither"},
		"no key":                     {sdk.ClientConfig{ClientKey: sdk.NewClientKey(nil, "")}, "ClientKey is neither"},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.Issuer, test.config.ClientID, test.config.Audience = "https://keys.example.com", "orders", billing
			_, err := sdk.NewClient(test.config)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// Each exchange has an assertion of its own, that says what RFC 7523 asks for, and
// neither a secret nor an id beside it.
func TestAnAssertionIsForOneRequest(t *testing.T) {
	iss := start(t)
	iss.SetTime(time.Unix(1_800_000_000, 0))
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	seen := map[string]bool{}
	config := iss.ClientConfig(billing)
	config.ClientSecret, config.ClientKey = sdk.Secret{}, sdk.NewClientKey(private, "k1")
	config.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/oauth2/token" {
			if r.Header.Get("Authorization") != "" || r.Header.Get("Cambio-Client-Id") != "" {
				t.Error("it says in two ways who it is")
			}
			body, _ := r.GetBody()
			text, _ := io.ReadAll(body)
			form, _ := url.ParseQuery(string(text))
			if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || form.Has("client_secret") {
				t.Errorf("%s", text)
			}
			parts := strings.Split(form.Get("client_assertion"), ".")
			signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
			header, _ := base64.RawURLEncoding.DecodeString(parts[0])
			payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
			if !ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), signature) || string(header) != `{"alg":"EdDSA","kid":"k1","typ":"client-authentication+jwt"}` {
				t.Errorf("header %s", header)
			}
			var said map[string]any
			_ = json.Unmarshal(payload, &said)
			id, _ := said["jti"].(string)
			if len(id) < 26 || seen[id] {
				t.Errorf("jti %q", id)
			}
			seen[id] = true
			delete(said, "jti")
			if got := fmt.Sprint(said); got != fmt.Sprintf("map[aud:%s exp:1.80000006e+09 iat:1.8e+09 iss:%s sub:%s]", iss.URL(), sdktest.ClientID, sdktest.ClientID) {
				t.Errorf("says %s", got)
			}
		}
		return http.DefaultTransport.RoundTrip(r)
	})}
	client := newClient(t, config)
	for range 3 {
		_, _ = client.Check(t.Context(), iss.AddKey(sdktest.Key{})) // sdktest knows secrets only
	}
	if len(seen) == 0 {
		t.Error("no assertion was sent")
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNothingThatPrintsHoldsAClientKey(t *testing.T) {
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	key := sdk.NewClientKey(crypto.Signer(private), "")
	config := sdk.ClientConfig{Issuer: "https://keys.example.com", ClientID: "orders", Audience: billing, ClientKey: key}
	client := newClient(t, config)
	type within struct{ config sdk.ClientConfig }
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{key, &key, config, &config, within{config}, client, *client} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			_, _ = fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info("", "v", v)
	}
	text, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	seed := private.Seed()
	for _, hidden := range []string{string(seed), hex.EncodeToString(seed), base64.StdEncoding.EncodeToString(seed)[:42], strings.Trim(fmt.Sprintf("%d", seed), "[]")} {
		if strings.Contains(out.String(), hidden) {
			t.Error("the private key is printed")
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("nothing redacted: this test looks at nothing")
	}
}
