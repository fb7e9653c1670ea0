package client_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/client"
)

func jwk(t *testing.T, k jose.JSONWebKey) string {
	t.Helper()
	text, err := k.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParseKey(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsa2048, _ := rsa.GenerateKey(rand.Reader, 2048)
	ed := jwk(t, jose.JSONWebKey{Key: public})
	with := func(members string) string { return strings.Replace(ed, "{", "{"+members+",", 1) }
	rsa1024 := `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("v", 171) + `"}`
	tests := map[string]struct {
		jwk, alg, err string
	}{
		"Ed25519":                         {ed, "EdDSA", ""},
		"Ed25519 with its alg":            {with(`"alg":"EdDSA"`), "EdDSA", ""},
		"Ed25519 under its other name":    {with(`"alg":"Ed25519"`), "EdDSA", ""},
		"a key for signatures":            {with(`"use":"sig","key_ops":["verify"]`), "EdDSA", ""},
		"P-256":                           {jwk(t, jose.JSONWebKey{Key: p256.Public()}), "ES256", ""},
		"RSA of 2048 bits":                {jwk(t, jose.JSONWebKey{Key: rsa2048.Public()}), "RS256", ""},
		"a private key is refused":        {jwk(t, jose.JSONWebKey{Key: private}), "", "must be the public half"},
		"a private RSA key is refused":    {jwk(t, jose.JSONWebKey{Key: rsa2048}), "", "must be the public half"},
		"a shared secret is refused":      {`{"kty":"oct","k":"c2VjcmV0"}`, "", "must be the public half"},
		"P-384 is refused":                {jwk(t, jose.JSONWebKey{Key: p384.Public()}), "", "P-256"},
		"RSA of 1024 bits is refused":     {rsa1024, "", "2048"},
		"RSA with exponent 3 is refused":  {strings.Replace(jwk(t, jose.JSONWebKey{Key: rsa2048.Public()}), "AQAB", "Aw", 1), "", "must be"},
		"another alg is refused":          {with(`"alg":"ES256"`), "", "alg must be EdDSA"},
		"a key for encryption is refused": {with(`"use":"enc"`), "", "not for signatures"},
		"a key to derive is refused":      {with(`"key_ops":["deriveBits"]`), "", "not for signatures"},
		"a long kid is refused":           {with(`"kid":"` + strings.Repeat("k", 129) + `"`), "", "kid"},
		"a point off the curve is refused": {`{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"}`,
			"", "no JWK"},
		"garbage is refused": {`{"kty":1}`, "", "no JWK"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k, err := client.ParseKey([]byte(test.jwk))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want %s", err, test.err)
				}
				return
			}
			if err != nil || k.Algorithm != test.alg || k.ID == "" {
				t.Fatalf("%+v, %v", k, err)
			}
			text, err := json.Marshal(client.Registered{Keys: []client.Key{k}, Certificates: []client.Thumbprint{{1}}, SANURI: "a:b"})
			var back client.Registered
			if err != nil || json.Unmarshal(text, &back) != nil || !cmp.Equal(back.Keys[0], k) || back.Certificates[0] != (client.Thumbprint{1}) {
				t.Errorf("%s reads as %+v, %v", text, back, err)
			}
		})
	}
}

func TestAKidIsByDefaultTheThumbprint(t *testing.T) {
	k, err := client.ParseKey([]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	if err != nil || k.ID != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" { // RFC 8037 app. A.3
		t.Errorf("%s, %v", k.ID, err)
	}
}

func TestASignatureProvesAClient(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	keys := []client.Key{{ID: "1", Algorithm: "EdDSA", Public: public}, {ID: "2", Algorithm: "ES256", Public: ec.Public()}}
	two := &client.Client{Registered: client.Registered{Keys: keys}}
	one := &client.Client{Registered: client.Registered{Keys: keys[:1]}}
	message := []byte("a.b")
	good := client.Signed{KID: "1", Algorithm: "EdDSA", Message: message, Signature: ed25519.Sign(private, message)}
	digest := sha256.Sum256(message)
	r, s, _ := ecdsa.Sign(rand.Reader, ec, digest[:])
	goodEC := client.Signed{KID: "2", Algorithm: "ES256", Message: message, Signature: append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)}
	with := func(change func(*client.Signed)) client.Signed { s := good; change(&s); return s }
	tests := map[string]struct {
		client *client.Client
		signed client.Signed
		want   bool
	}{
		"its key is right":                           {two, good, true},
		"each of its keys is right":                  {two, goodEC, true},
		"its only key needs no kid":                  {one, with(func(s *client.Signed) { s.KID = "" }), true},
		"one of two keys needs its kid":              {two, with(func(s *client.Signed) { s.KID = "" }), false},
		"another kid is wrong":                       {two, with(func(s *client.Signed) { s.KID = "2" }), false},
		"an unknown kid is wrong":                    {two, with(func(s *client.Signed) { s.KID = "3" }), false},
		"another algorithm is wrong":                 {two, with(func(s *client.Signed) { s.Algorithm = "RS256" }), false},
		"another message is wrong":                   {two, with(func(s *client.Signed) { s.Message = []byte("a.c") }), false},
		"half a signature is wrong":                  {two, with(func(s *client.Signed) { s.Signature = s.Signature[:32] }), false},
		"a disabled client has no right key":         {&client.Client{Registered: two.Registered, Disabled: true}, good, false},
		"a client without keys has none":             {&client.Client{}, good, false},
		"a client that nobody registered has none":   {nil, good, false},
		"nobody signs by RS256 either":               {nil, client.Signed{Algorithm: "RS256", Message: message, Signature: make([]byte, 256)}, false},
		"nobody signs by ES256 either":               {nil, with(func(s *client.Signed) { s.Algorithm = "ES256" }), false},
		"nobody signs by what there is not":          {nil, with(func(s *client.Signed) { s.Algorithm = "none" }), false},
		"an empty kid finds no key, nor no kid none": {&client.Client{}, client.Signed{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.signed.Proves(test.client); got != test.want {
				t.Errorf("%v", got)
			}
		})
	}
}

// The decoys' work is that of a key: their signatures are looked at in full.
func TestWhoIsNobodyCostsTheSame(t *testing.T) {
	for alg, size := range map[string]int{"EdDSA": 64, "ES256": 64, "RS256": 256} {
		if client.DecoyOf(alg).Public == nil {
			t.Fatalf("no decoy for %s", alg)
		}
		if (client.Signed{Algorithm: alg, Message: []byte("a"), Signature: make([]byte, size)}).Proves(nil) {
			t.Errorf("%s: proves nobody", alg)
		}
	}
}
