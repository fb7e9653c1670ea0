package sdk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-auth/cambio/internal/wire"
)

// assertionLifetime is how long an assertion is good for. Each is sent once.
const assertionLifetime = time.Minute

// ClientKey is a private key that a client proves with who it is (private_key_jwt, RFC
// 7523), in place of a secret. It does not print, not even from an unexported field of
// another struct, where fmt follows a pointer but no function.
type ClientKey struct{ v func() clientKey }

type clientKey struct {
	kid    string
	signer crypto.Signer
}

// NewClientKey wraps a private key, which may be one that never leaves a key store:
// Ed25519, ECDSA on P-256, or RSA of at least 2048 bits. The issuer must have its
// public half, as a JWK of this kid; empty: of none, for which its thumbprint stands
// (RFC 7638). It must be safe for concurrent use, as those of the standard library are.
func NewClientKey(signer crypto.Signer, kid string) ClientKey {
	return ClientKey{func() clientKey { return clientKey{kid, signer} }}
}

// String returns "[redacted]".
func (ClientKey) String() string { return redacted }

// GoString returns "[redacted]".
func (ClientKey) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (ClientKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (ClientKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// algorithm is empty for a key that signs nothing here.
func (k ClientKey) algorithm() Algorithm {
	if k.v == nil || k.v().signer == nil {
		return ""
	}
	return k.v().algorithm()
}

func (k clientKey) algorithm() Algorithm {
	switch public := k.signer.Public().(type) {
	case ed25519.PublicKey:
		return EdDSA
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			return ES256
		}
	case *rsa.PublicKey:
		if public.N.BitLen() >= minRSABits {
			return RS256
		}
	}
	return ""
}

// identity says to the issuer who we are, in one of three ways.
type identity struct {
	clientID      string
	authorization Secret      // the header: the secret is never kept apart from it
	assertions    jose.Signer // nil: no ClientKey
	mutualTLS     bool
}

func newIdentity(config ClientConfig) (identity, error) {
	who := identity{clientID: config.ClientID, mutualTLS: config.MutualTLS}
	if secret := config.ClientSecret.reveal(); secret != "" {
		who.authorization = basicAuth(config.ClientID, secret)
	}
	if config.ClientKey.v == nil {
		return who, nil
	}
	alg := config.ClientKey.algorithm()
	if alg == "" {
		return who, errors.New("ClientKey is neither Ed25519 nor P-256, nor RSA of at least 2048 bits")
	}
	key := config.ClientKey.v()
	if key.kid == "" {
		sum, err := (&jose.JSONWebKey{Key: key.signer.Public()}).Thumbprint(crypto.SHA256)
		if err != nil {
			return who, fmt.Errorf("ClientKey: %w", err)
		}
		key.kid = base64.RawURLEncoding.EncodeToString(sum)
	}
	options := new(jose.SignerOptions).WithType(wire.TypClientAssertion)
	var err error
	who.assertions, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: opaqueKey{key}}, options)
	return who, err
}

// identify adds to a form what belongs there. An assertion is for the issuer alone, and
// for this one request (RFC 7523 §3).
func (i identity) identify(form url.Values, issuer string, now time.Time) error {
	if i.mutualTLS {
		form.Set(wire.FieldClientID, i.clientID)
	}
	if i.assertions == nil {
		return nil
	}
	claims, err := json.Marshal(map[string]any{
		"iss": i.clientID, "sub": i.clientID, "aud": issuer, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertionLifetime).Unix(),
	})
	if err != nil {
		return err
	}
	signed, err := i.assertions.Sign(claims)
	if err != nil {
		return err
	}
	assertion, err := signed.CompactSerialize()
	form.Set(wire.FieldAssertionType, wire.AssertionJWT)
	form.Set(wire.FieldClientAssertion, assertion)
	return err
}

// head adds to a request what belongs there whatever its body is.
func (i identity) head(h http.Header) {
	if authorization := i.authorization.reveal(); authorization != "" {
		h.Set("Authorization", authorization)
	}
	if i.mutualTLS && h.Get("Content-Type") != wire.MediaForm {
		h.Set(wire.HeaderClientID, i.clientID)
	}
}

// opaqueKey has go-jose sign with any crypto.Signer.
type opaqueKey struct{ clientKey }

// Public implements jose.OpaqueSigner.
func (k opaqueKey) Public() *jose.JSONWebKey {
	return &jose.JSONWebKey{Key: k.signer.Public(), KeyID: k.kid}
}

// Algs implements jose.OpaqueSigner.
func (k opaqueKey) Algs() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.SignatureAlgorithm(k.algorithm())}
}

// SignPayload implements jose.OpaqueSigner, in the forms of JWS (RFC 7518 §3).
func (k opaqueKey) SignPayload(payload []byte, alg jose.SignatureAlgorithm) ([]byte, error) {
	if alg == jose.EdDSA {
		return k.signer.Sign(rand.Reader, payload, crypto.Hash(0))
	}
	digest := sha256.Sum256(payload)
	signature, err := k.signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil || alg != jose.ES256 {
		return signature, err
	}
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &pair); err != nil || len(rest) > 0 || pair.R.Sign() < 0 || pair.S.Sign() < 0 || pair.R.BitLen() > 256 || pair.S.BitLen() > 256 {
		return nil, errors.New("the ClientKey does not sign as ECDSA does")
	}
	return append(pair.R.FillBytes(make([]byte, 32)), pair.S.FillBytes(make([]byte, 32))...), nil
}
