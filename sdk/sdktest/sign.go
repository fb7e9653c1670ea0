package sdktest

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
	"math/big"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/sdk"
)

// Claims are the claims of a token, by name.
type Claims map[string]any

// Header is the JOSE header of a token, by name.
type Header map[string]any

type signer struct {
	kid string
	alg sdk.Algorithm
	key crypto.Signer
}

// Rotate makes a new signing key for alg, publishes it and signs with it. Older
// keys stay published until Withdraw.
func (i *Issuer) Rotate(alg sdk.Algorithm) {
	fresh := newSigner(alg)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.signers = append(i.signers, fresh)
}

// Withdraw takes all keys but the newest out of the key set.
func (i *Issuer) Withdraw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.signers = i.signers[len(i.signers)-1:]
}

// KeySet is the JWK Set as published (RFC 7517 §5).
func (i *Issuer) KeySet() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, s := range i.signers {
		set.Keys = append(set.Keys, s.jwk())
	}
	return must(json.Marshal(set))
}

// Token mints a token for audience, good for 5 minutes. Scopes are like
// "projects:read".
func (i *Issuer) Token(audience string, scopes ...string) string {
	return i.Mint(i.Claims(audience, scopes...))
}

// Expired mints a token that was good until an hour ago.
func (i *Issuer) Expired(audience string, scopes ...string) string {
	claims, now := i.Claims(audience, scopes...), i.Now()
	claims["iat"], claims["exp"] = now.Add(-65*time.Minute).Unix(), now.Add(-time.Hour).Unix()
	return i.Mint(claims)
}

// Forged mints a token that claims to be signed by the current key, and is not.
func (i *Issuer) Forged(audience string, scopes ...string) string {
	s := i.signer()
	return newSigner(s.alg).sign(s.header(), i.Claims(audience, scopes...))
}

// Claims are those that Token would sign, to be changed and passed to Mint.
func (i *Issuer) Claims(audience string, scopes ...string) Claims {
	scope := strings.Join(scopes, " ")
	now := i.Now().Unix()
	i.mu.Lock()
	i.minted++
	id := fmt.Sprintf("jti-%d", i.minted)
	i.mu.Unlock()
	claims := Claims{
		"iss": i.URL(), "sub": "user_1", "aud": audience, "client_id": ClientID,
		"iat": now, "exp": now + 300, "jti": id,
		"scope": scope, "permissions": must(permission.FromScope(scope)),
		"key_id": "key_1", "keyspace": "default",
	}
	if status := i.statusClaim(""); status != nil {
		claims["status"] = status
	}
	return claims
}

// Mint signs claims as they are, with the newest key.
func (i *Issuer) Mint(claims Claims) string {
	s := i.signer()
	return s.sign(s.header(), claims)
}

// MintWith is Mint with members of the header set, or removed where nil.
func (i *Issuer) MintWith(header Header, claims Claims) string {
	s := i.signer()
	h := s.header()
	for name, value := range header {
		if h[name] = value; value == nil {
			delete(h, name)
		}
	}
	return s.sign(h, claims)
}

// Sign signs header and payload byte for byte, whatever they are, with the newest
// key.
func (i *Issuer) Sign(header, payload string) string {
	return i.signer().signBytes([]byte(header), []byte(payload))
}

// KID names the key that signs now.
func (i *Issuer) KID() string { return i.signer().kid }

func (i *Issuer) signer() *signer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.signers[len(i.signers)-1]
}

func newSigner(alg sdk.Algorithm) *signer {
	s := &signer{alg: alg}
	switch alg {
	case sdk.ES256:
		s.key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case sdk.RS256:
		s.key = must(rsa.GenerateKey(rand.Reader, 2048))
	case sdk.EdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		s.key = must(key, err)
	default:
		panic(fmt.Sprintf("sdktest: no algorithm %q", alg))
	}
	jwk := s.jwk()
	s.kid = base64.RawURLEncoding.EncodeToString(must(jwk.Thumbprint(crypto.SHA256)))
	return s
}

func (s *signer) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.key.Public(), KeyID: s.kid, Algorithm: string(s.alg), Use: "sig"}
}

func (s *signer) header() Header {
	return Header{"alg": string(s.alg), "kid": s.kid, "typ": wire.TypAccessToken}
}

func (s *signer) sign(header Header, claims Claims) string {
	return s.signBytes(must(json.Marshal(header)), must(json.Marshal(claims)))
}

func (s *signer) signBytes(header, payload []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	input := encode(header) + "." + encode(payload)
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	switch key := s.key.(type) {
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(input))
	case *rsa.PrivateKey:
		signature = must(rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:]))
	case *ecdsa.PrivateKey:
		r, low, err := ecdsa.Sign(rand.Reader, key, digest[:])
		r = must(r, err)
		order := key.Params().N
		if low.Cmp(new(big.Int).Rsh(order, 1)) > 0 {
			low.Sub(order, low) // the lower of the two that verify
		}
		signature = append(r.FillBytes(make([]byte, 32)), low.FillBytes(make([]byte, 32))...)
	}
	return input + "." + encode(signature)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("sdktest: %v", err))
	}
	return v
}
