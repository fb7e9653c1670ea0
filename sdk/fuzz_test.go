package sdk

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	goodHeader  = `{"alg":"EdDSA","kid":"k","typ":"at+jwt"}`
	goodPayload = `{"iss":"i","sub":"s","aud":"a","client_id":"c","iat":1,"exp":301,"jti":"j","permissions":{"p":["r"]}}`
)

func encoded(parts ...string) string {
	for i, p := range parts {
		parts[i] = base64.RawURLEncoding.EncodeToString([]byte(p))
	}
	return strings.Join(parts, ".")
}

// What the parser accepts is spelt as its parts would be encoded.
func FuzzToken(f *testing.F) {
	f.Add(encoded(goodHeader, goodPayload, strings.Repeat("s", 64)))
	f.Add(encoded(goodHeader, `null`, "s"))
	f.Add(encoded(`{"alg":"none","kid":"k","typ":"JWT","crit":["b64"],"b64":false}`, goodPayload, "s"))
	f.Add(encoded(goodHeader, goodPayload, "s") + "=")
	f.Add("a.b.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := accessToken.split(raw)
		if err != nil {
			return
		}
		parts := strings.Split(raw, ".")
		again := encoded("", token.payload, string(token.signature))
		if len(parts) != 3 || again != "."+parts[1]+"."+parts[2] || string(token.signed) != parts[0]+"."+parts[1] {
			t.Fatal("accepted a second spelling")
		}
		_, _, _ = readClaims(token.payload, "a")
	})
}

// Claims that we accept mean the same to encoding/json.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(goodPayload))
	f.Add([]byte(`{"iss":"i","EXP":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, forUs, err := readClaims(string(payload), "a")
		if err != nil {
			return
		}
		_ = got.inTime(time.Unix(100, 0), 30*time.Second)
		var want struct {
			Issuer      string `json:"iss"`
			Subject     string `json:"sub"`
			Audience    any    `json:"aud"`
			ExpiresAt   int64  `json:"exp"`
			IssuedAt    int64  `json:"iat"`
			Permissions map[string][]string
		}
		if err := json.Unmarshal(payload, &want); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		if got.issuer != want.Issuer || got.subject != want.Subject || got.expiresAt != want.ExpiresAt || got.issuedAt != want.IssuedAt {
			t.Fatal("read differently")
		}
		audiences, many := want.Audience.([]any)
		if forUs != (want.Audience == "a" || many && slices.Contains(audiences, "a")) {
			t.Fatal("audience read differently")
		}
		for resource, actions := range want.Permissions {
			if !slices.Equal(actions, got.permissions[resource]) {
				t.Fatal("permissions read differently")
			}
		}
	})
}

// No key that we keep is private, weak or for another use than its algorithm's.
func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a","alg":"EdDSA","use":"sig"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"b","alg":"ES256"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"AKP"},7,null,{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"c","alg":"RS256"}]}`))
	f.Add([]byte(`{"keys":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := readKeySet(body)
		if err == nil && (len(keys) == 0 || len(keys) > maxKeys) {
			t.Fatalf("%d keys", len(keys))
		}
		for kid, key := range keys {
			if kid == "" || kid != key.kid || !key.fits() || !(&jose.JSONWebKey{Key: key.key}).IsPublic() {
				t.Fatal("kept a key that is not for us")
			}
			key.verify([]byte("a.b"), make([]byte, 64))
		}
	})
}

// Whatever we accept, go-jose verifies and reads alike: we refuse more, never less.
func FuzzAgainstGoJose(f *testing.F) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	key := &publicKey{kid: "k", alg: EdDSA, key: public}
	checker := &Checker{issuer: "i", audience: "a", algorithms: []Algorithm{EdDSA}, leeway: 30 * time.Second, statuses: &statuses{}}
	now := time.Unix(100, 0)
	for _, h := range []string{goodHeader, `{"typ":"at+jwt","kid":"k","alg":"EdDSA","b64":false}`, `{"alg":"EdDSA","kid":"k","typ":"at+jwt","alg":"none"}`, "{}"} {
		for _, p := range []string{goodPayload, `null`, strings.Replace(goodPayload, `"a"`, `["x","a"]`, 1), strings.Replace(goodPayload, "301", "301.0", 1)} {
			f.Add(h, p, byte(0))
			f.Add(h, p, byte(9))
		}
	}
	f.Fuzz(func(t *testing.T, header, payload string, flip byte) {
		input := encoded(header, payload)
		signature := ed25519.Sign(private, []byte(input))
		signature[int(flip)%64] ^= flip
		raw := input + "." + encoded(string(signature))

		token, err := accessToken.split(raw)
		if err != nil || token.header.alg != EdDSA || token.header.kid != "k" || !key.verify(token.signed, token.signature) {
			return
		}
		said, err := checker.claims(token.payload, now)
		if err != nil {
			return
		}
		parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.EdDSA, "Ed25519"})
		if err != nil {
			t.Fatalf("go-jose does not read it: %v", err)
		}
		if parsed.Headers[0].Algorithm != "EdDSA" {
			return // go-jose knows Ed25519 by its first name only
		}
		var claims jwt.Claims
		if err := parsed.Claims(public, &claims); err != nil {
			t.Fatalf("go-jose does not verify it: %v", err)
		}
		if err := claims.ValidateWithLeeway(jwt.Expected{Issuer: "i", AnyAudience: jwt.Audience{"a"}, Time: now}, 30*time.Second); err != nil {
			t.Fatalf("go-jose refuses its claims: %v", err)
		}
		if claims.Subject != said.subject || claims.ID != said.id || claims.Expiry.Time().Unix() != said.expiresAt {
			t.Fatal("go-jose reads other claims")
		}
	})
}
