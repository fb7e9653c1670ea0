package httpapi_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// signingKey signs assertions in every form, good or bad.
type signingKey struct {
	kid, alg string
	private  crypto.Signer
}

var signingKeys = sync.OnceValue(func() map[string]signingKey {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	return map[string]signingKey{
		"EdDSA": {"ed", "EdDSA", ed}, "ES256": {"ec", "ES256", ec}, "RS256": {"rs", "RS256", rs}, "another's": {"theirs", "EdDSA", other},
	}
})

func (k signingKey) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid}
}

func jwks(keys ...jose.JSONWebKey) json.RawMessage {
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		panic(err)
	}
	return text
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// sign signs the bytes of a header and a payload, whatever they are.
func (k signingKey) sign(header, payload string) string {
	message := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(message))
	var signature []byte
	switch key := k.private.(type) {
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(message))
	case *ecdsa.PrivateKey:
		r, s, _ := ecdsa.Sign(rand.Reader, key, digest[:])
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case *rsa.PrivateKey:
		signature, _ = rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	}
	return keepSecret(message + "." + b64(string(signature)))
}

func (k signingKey) header() string { return `{"alg":"` + k.alg + `","kid":"` + k.kid + `"}` }

var assertionIDs atomic.Int64

// saying is the payload of a good assertion of the client "signs" at noon, with
// changes: nil deletes.
func saying(changes map[string]any) string {
	c := map[string]any{
		"iss": "signs", "sub": "signs", "aud": issuerURL, "jti": fmt.Sprint("assertion-", assertionIDs.Add(1)),
		"iat": noon.Unix(), "exp": noon.Add(time.Minute).Unix(),
	}

	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return string(must1(json.Marshal(c)))
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (k signingKey) assertion(changes map[string]any) string {
	return k.sign(k.header(), saying(changes))
}
