package client

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of the keys of a client.
const (
	MaxKeys         = 4
	MaxCertificates = 4
	MaxKID          = 128 // bytes
	minRSABits      = 2048
	maxRSABits      = 4096 // larger ones only make checking slow
	minRSAExponent  = 65537
)

// The JWS algorithms that a client may sign with.
const (
	EdDSA = string(jose.EdDSA) // Ed25519
	ES256 = string(jose.ES256)
	RS256 = string(jose.RS256)
)

// Algorithms lists them all.
func Algorithms() []string { return []string{EdDSA, ES256, RS256} }

// Registered is what a client may authenticate with beside its secrets. All of it is
// public.
type Registered struct {
	Keys         []Key        `json:"keys,omitempty"`         // at most MaxKeys, no kid twice
	Certificates []Thumbprint `json:"certificates,omitempty"` // at most MaxCertificates
	SANDNS       string       `json:"san_dns,omitempty"`      // that a certificate of an authority must have
	SANURI       string       `json:"san_uri,omitempty"`      // likewise, instead
}

// Any reports whether anything is registered.
func (r Registered) Any() bool {
	return len(r.Keys) > 0 || len(r.Certificates) > 0 || r.SANDNS != "" || r.SANURI != ""
}

// Text is r as JSON, empty for nothing.
func (r Registered) Text() (string, error) {
	if !r.Any() {
		return "", nil
	}
	text, err := json.Marshal(r)
	return string(text), err
}

// ParseRegistered reads what Text wrote.
func ParseRegistered(text string) (r Registered, err error) {
	if text == "" {
		return r, nil
	}
	return r, json.Unmarshal([]byte(text), &r)
}

// Key is a public key that verifies the assertions of a client, by one algorithm only
// (RFC 8725 §3.1).
type Key struct {
	ID        string // its kid
	Algorithm string
	Public    crypto.PublicKey
}

// ParseKey reads a JWK. Its kid is by default its thumbprint (RFC 7638), its
// algorithm that of its type. Errors hold nothing of it: it may be a private key.
func ParseKey(jwk []byte) (Key, error) {
	var read jose.JSONWebKey
	var said struct {
		Ops []string `json:"key_ops"`
	}
	if read.UnmarshalJSON(jwk) != nil || json.Unmarshal(jwk, &said) != nil {
		return Key{}, errors.New("is no JWK that can be read")
	}
	k := Key{ID: read.KeyID, Public: read.Key}
	if k.Algorithm = algorithmOf(read.Key); k.Algorithm == "" {
		return Key{}, fmt.Errorf("must be the public half of an Ed25519 or P-256 key, or of an RSA key of %d to %d bits", minRSABits, maxRSABits)
	}
	alg := read.Algorithm
	if alg == "Ed25519" { // its other name (RFC 9864)
		alg = EdDSA
	}
	switch {
	case alg != "" && alg != k.Algorithm:
		return Key{}, fmt.Errorf("its alg must be %s", k.Algorithm)
	case read.Use != "" && read.Use != "sig", said.Ops != nil && !slices.Contains(said.Ops, "verify"):
		return Key{}, errors.New("is not for signatures, by its use or key_ops")
	case len(k.ID) > MaxKID:
		return Key{}, fmt.Errorf("its kid must be at most %d bytes", MaxKID)
	case k.ID != "":
		return k, nil
	}
	sum, err := read.Thumbprint(crypto.SHA256)
	k.ID = base64.RawURLEncoding.EncodeToString(sum)
	return k, err
}

// algorithmOf is empty for a key that is none of ours, or a private one.
func algorithmOf(public crypto.PublicKey) string {
	switch key := public.(type) {
	case ed25519.PublicKey:
		if len(key) == ed25519.PublicKeySize {
			return EdDSA
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return ES256
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits >= minRSABits && bits <= maxRSABits && key.E >= minRSAExponent {
			return RS256
		}
	}
	return ""
}

// JWK is k as a JWK.
func (k Key) JWK() ([]byte, error) {
	return jose.JSONWebKey{Key: k.Public, KeyID: k.ID, Algorithm: k.Algorithm, Use: "sig"}.MarshalJSON()
}

// MarshalJSON writes k as a JWK.
func (k Key) MarshalJSON() ([]byte, error) { return k.JWK() }

// UnmarshalJSON reads what MarshalJSON wrote.
func (k *Key) UnmarshalJSON(text []byte) (err error) {
	*k, err = ParseKey(text)
	return err
}

// Equal reports whether two keys are the same in all.
func (k Key) Equal(other Key) bool {
	public, ok := k.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.ID == other.ID && k.Algorithm == other.Algorithm && public.Equal(other.Public)
}

// verifies checks a signature as JWS has it (RFC 7518 §3).
func (k Key) verifies(message, signature []byte) bool {
	switch key := k.Public.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, signature)
	case *ecdsa.PublicKey:
		if len(signature) != 64 {
			return false
		}
		digest := sha256.Sum256(message)
		return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	case *rsa.PublicKey:
		digest := sha256.Sum256(message)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	}
	return false
}

// decoy is a key that nobody has, for the work of an assertion whose client has none.
func decoy(algorithm string) Key { return decoys()[algorithm] }

var decoys = sync.OnceValue(func() map[string]Key {
	modulus := new(big.Int).Lsh(big.NewInt(1), minRSABits)
	modulus.Sub(modulus, big.NewInt(1))
	return map[string]Key{
		EdDSA: {Public: ed25519.PublicKey(bytesOf(0x58, 0x66))}, // the base point (RFC 8032 §5.1)
		ES256: {Public: basePoint()},
		RS256: {Public: &rsa.PublicKey{N: modulus, E: minRSAExponent}},
	}
})

// basePoint is a public key whose private half is 1.
func basePoint() *ecdsa.PublicKey {
	g, point := elliptic.P256().Params(), make([]byte, 65)
	point[0] = 4 // uncompressed (SEC 1 §2.3.3)
	g.Gx.FillBytes(point[1:33])
	g.Gy.FillBytes(point[33:])
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		panic(err) // of a constant
	}
	return key
}

func bytesOf(first, rest byte) []byte {
	b := make([]byte, ed25519.PublicKeySize)
	for i := range b {
		b[i] = rest
	}
	b[0] = first
	return b
}

// ParseThumbprint reads what String wrote.
func ParseThumbprint(text string) (Thumbprint, error) {
	sum, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sum) != sha256.Size || len(text) != base64.RawURLEncoding.EncodedLen(sha256.Size) {
		return Thumbprint{}, errors.New("must be the SHA-256 of a certificate in DER, 43 characters of base64url")
	}
	return Thumbprint(sum), nil
}

// ThumbprintOf is that of a certificate.
func ThumbprintOf(cert *x509.Certificate) Thumbprint { return sha256.Sum256(cert.Raw) }

// String is base64url without padding, as in x5t#S256.
func (t Thumbprint) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// MarshalText is String.
func (t Thumbprint) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseThumbprint.
func (t *Thumbprint) UnmarshalText(text []byte) (err error) {
	*t, err = ParseThumbprint(string(text))
	return err
}
