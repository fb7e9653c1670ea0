package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-auth/cambio/internal/wire"
)

// The JWS algorithms that a token may be signed with.
const (
	EdDSA = string(jose.EdDSA) // Ed25519 (RFC 8037); the default: small, and cheap to sign and check
	ES256 = string(jose.ES256) // for checkers that do not know EdDSA
	RS256 = string(jose.RS256) // the one that every checker knows (RFC 9068 §2.1); some 40 times dearer to sign
)

const rsaBits = 2048

// Algorithms lists them all.
func Algorithms() []string { return wire.SigningAlgs() }

// KnownAlgorithm reports whether tokens may be signed with algorithm.
func KnownAlgorithm(algorithm string) bool { return slices.Contains(Algorithms(), algorithm) }

// signer is one signing key, opened. Its private half has no way out.
type signer struct {
	kid       string
	algorithm string
	private   crypto.Signer
	header    string // the encoded JWS header of an access token
	list      string // and that of a status list
}

func newSigner(algorithm string, private crypto.Signer) (*signer, error) {
	if !fits(algorithm, private) {
		return nil, fmt.Errorf("a %T does not sign %s", private, algorithm)
	}
	kid, err := thumbprint(private.Public())
	if err != nil {
		return nil, err
	}
	s := &signer{kid: kid, algorithm: algorithm, private: private}
	s.header, s.list = s.headed(wire.TypAccessToken), s.headed(wire.TypStatusList)
	return s, nil
}

func fits(algorithm string, private crypto.Signer) bool {
	switch key := private.(type) {
	case ed25519.PrivateKey:
		return algorithm == EdDSA
	case *ecdsa.PrivateKey:
		return algorithm == ES256 && key.Curve == elliptic.P256()
	case *rsa.PrivateKey:
		return algorithm == RS256 && key.N.BitLen() >= rsaBits
	}
	return false
}

func (s *signer) headed(typ string) string {
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		KID string `json:"kid"`
		Typ string `json:"typ"`
	}{s.algorithm, s.kid, typ})
	if err != nil {
		panic(err) // of three strings
	}
	return encode(header)
}

// sign returns the compact JWS of payload under header (RFC 7515 §7.1), signing
// exactly the bytes that travel.
func (s *signer) sign(header string, payload []byte) (string, error) {
	const longest = rsaBits / 8 * 2
	b64 := base64.RawURLEncoding
	token := make([]byte, 0, len(header)+b64.EncodedLen(len(payload))+b64.EncodedLen(longest)+2)
	token = append(append(token, header...), '.')
	token = b64.AppendEncode(token, payload)
	signature, err := s.signature(token)
	if err != nil {
		return "", fmt.Errorf("signing with %s: %w", s.kid, err)
	}
	return string(b64.AppendEncode(append(token, '.'), signature)), nil
}

func (s *signer) signature(message []byte) ([]byte, error) {
	if key, ok := s.private.(ed25519.PrivateKey); ok {
		return ed25519.Sign(key, message), nil
	}
	digest := sha256.Sum256(message)
	if key, ok := s.private.(*ecdsa.PrivateKey); ok {
		return signES256(key, digest[:])
	}
	return s.private.Sign(rand.Reader, digest[:], crypto.SHA256)
}

// signES256 returns r and s, 32 bytes each (RFC 7518 §3.4), with the lower of the
// two s that verify: so that a token has one spelling, and our sdk takes it.
func signES256(key *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, err
	}
	order := key.Params().N
	if s.Cmp(new(big.Int).Rsh(order, 1)) > 0 {
		s.Sub(order, s)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, nil
}

// generate makes a key pair and seals its private half. An RSA key takes a good
// part of a second.
func generate(master MasterKey, algorithm string, now time.Time) (SealedKey, error) {
	private, err := newPrivateKey(algorithm)
	if err != nil {
		return SealedKey{}, err
	}
	s, err := newSigner(algorithm, private)
	if err != nil {
		return SealedKey{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return SealedKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return SealedKey{}, err
	}
	defer clear(der)
	sealed, err := master.seal(s.kid, der)
	return SealedKey{KID: s.kid, Algorithm: algorithm, PublicKey: public, Sealed: sealed, CreatedAt: now, ActivatesAt: now}, err
}

func newPrivateKey(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, fmt.Errorf("there is no algorithm %q", algorithm)
}

// openSigner refuses a row whose parts do not belong together.
func openSigner(master MasterKey, k SealedKey) (*signer, error) {
	der, err := master.open(k.KID, k.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", k.KID, err)
	}
	key, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s: a %T does not sign", k.KID, private)
	}
	s, err := newSigner(k.Algorithm, key)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", k.KID, err)
	}
	if s.kid != k.KID {
		return nil, fmt.Errorf("signing key %s: its thumbprint is %s", k.KID, s.kid)
	}
	return s, nil
}
