package peers

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// mint makes a token that is good but for one thing.
type mint func(t *testing.T, iss *sdktest.Issuer) string

// claim sets one claim, or leaves it out where value is nil.
func claim(name string, value any) mint {
	return func(_ *testing.T, iss *sdktest.Issuer) string {
		claims := iss.Claims(billing, "projects:read")
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
		return iss.Mint(claims)
	}
}

// in sets one time claim to so many seconds from now.
func in(name string, seconds int64) mint {
	return func(t *testing.T, iss *sdktest.Issuer) string {
		return claim(name, iss.Now().Unix()+seconds)(t, iss)
	}
}

// member sets one member of the header, or leaves it out where value is nil.
func member(name string, value any) mint {
	return func(_ *testing.T, iss *sdktest.Issuer) string {
		return iss.MintWith(sdktest.Header{name: value}, iss.Claims(billing, "projects:read"))
	}
}

// header replaces text in the JSON of the header, and signs that.
func header(old, fresh string) mint {
	return func(t *testing.T, iss *sdktest.Issuer) string {
		header, payload := texts(t, iss)
		return iss.Sign(replaced(t, header, old, fresh), payload)
	}
}

// payload replaces text in the JSON of the claims, and signs that.
func payload(old, fresh string) mint {
	return func(t *testing.T, iss *sdktest.Issuer) string {
		header, payload := texts(t, iss)
		return iss.Sign(header, replaced(t, payload, old, fresh))
	}
}

// exp writes another text for the value of exp; ${1} stands for the good one.
func exp(fresh string) mint {
	return func(t *testing.T, iss *sdktest.Issuer) string {
		header, payload := texts(t, iss)
		return iss.Sign(header, regexp.MustCompile(`"exp":(\d+)`).ReplaceAllString(payload, `"exp":`+fresh))
	}
}

// texts are the header and the claims of a good token, in JSON.
func texts(t *testing.T, iss *sdktest.Issuer) (header, payload string) {
	t.Helper()
	claims, err := json.Marshal(iss.Claims(billing, "projects:read"))
	mustBeNil(t, err)
	return fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"typ":"at+jwt"}`, iss.KID()), string(claims)
}

// replaced takes an empty old for all of s.
func replaced(t *testing.T, s, old, fresh string) string {
	t.Helper()
	if old == "" {
		return fresh
	}
	if !strings.Contains(s, old) {
		t.Fatalf("no %s in %s", old, s)
	}
	return strings.Replace(s, old, fresh, 1)
}

// text changes a token after it was signed.
func text(edit func(string) string) mint {
	return func(_ *testing.T, iss *sdktest.Issuer) string { return edit(iss.Token(billing, "projects:read")) }
}

// part changes one of the three parts after they were signed.
func part(n int, edit func(string) string) mint {
	return text(func(raw string) string {
		parts := strings.Split(raw, ".")
		parts[n] = edit(parts[n])
		return strings.Join(parts, ".")
	})
}

// unusedBit sets a bit of part n that no decoded byte has. White space in its JSON
// sees to it that there is one.
func unusedBit(n int) mint {
	return func(t *testing.T, iss *sdktest.Issuer) string {
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		header, payload := texts(t, iss)
		json := []string{header, payload}
		for n < 2 && len(json[n])%3 == 0 {
			json[n] += " "
		}
		parts := strings.Split(iss.Sign(json[0], json[1]), ".")
		end := len(parts[n]) - 1
		last := strings.IndexByte(alphabet, parts[n][end])
		parts[n] = parts[n][:end] + alphabet[last|1:][:1]
		return strings.Join(parts, ".")
	}
}

// signature changes the bytes of the signature.
func signature(edit func([]byte) []byte) mint {
	return part(2, func(encoded string) string { return encode(edit(decode(encoded))) })
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// highS is the other ES256 signature that verifies.
func highS(t *testing.T, iss *sdktest.Issuer) string {
	key := publicKey(t, iss).(*ecdsa.PublicKey)
	return signature(func(b []byte) []byte {
		new(big.Int).Sub(key.Params().N, new(big.Int).SetBytes(b[32:])).FillBytes(b[32:])
		return b
	})(t, iss)
}

// der is an ES256 signature in the form of X.509.
func der(b []byte) []byte {
	type pair struct{ R, S *big.Int }
	encoded, err := asn1.Marshal(pair{new(big.Int).SetBytes(b[:32]), new(big.Int).SetBytes(b[32:])})
	if err != nil {
		panic(err)
	}
	return encoded
}

// unsigned has a header that asks for no signature, and has none.
func unsigned(t *testing.T, iss *sdktest.Issuer) string {
	raw := member("alg", "none")(t, iss)
	return raw[:strings.LastIndexByte(raw, '.')+1]
}

// withPublicKeyAsSecret is signed with what everybody knows.
func withPublicKeyAsSecret(t *testing.T, iss *sdktest.Issuer) string {
	raw := member("alg", "HS256")(t, iss)
	signed := raw[:strings.LastIndexByte(raw, '.')]
	mac := hmac.New(sha256.New, publicKey(t, iss).(ed25519.PublicKey))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// bringingItsKey is signed by a stranger, whose public key is in the header.
func bringingItsKey(t *testing.T, iss *sdktest.Issuer) string {
	stranger := start(t, "EdDSA")
	key := jose.JSONWebKey{Key: publicKey(t, stranger), KeyID: iss.KID(), Algorithm: "EdDSA", Use: "sig"}
	return stranger.MintWith(sdktest.Header{"kid": iss.KID(), "jwk": key}, iss.Claims(billing))
}

// pointingAtItsKey is signed by a stranger, whose key set the header names.
func pointingAtItsKey(t *testing.T, iss *sdktest.Issuer) string {
	stranger := start(t, "EdDSA")
	return stranger.MintWith(sdktest.Header{"jku": stranger.URL() + wire.PathJWKS}, iss.Claims(billing))
}

// jsonSerialization is the flattened form of a good token (RFC 7515 §7.2.2).
func jsonSerialization(raw string) string {
	parts := strings.Split(raw, ".")
	return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2])
}

func nested(levels int) json.RawMessage {
	return json.RawMessage(strings.Repeat("[", levels) + strings.Repeat("]", levels))
}
