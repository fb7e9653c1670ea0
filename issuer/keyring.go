package issuer

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-auth/cambio/internal/wire"
)

// EdDSA is the JWS algorithm of Ed25519 keys (RFC 8037), our default.
const EdDSA = string(jose.EdDSA)

// KeyringConfig opens a Keyring.
type KeyringConfig struct {
	Store     KeyStore         // required
	MasterKey MasterKey        // required
	Now       func() time.Time // zero: time.Now
}

// Keyring holds the signing keys of the store, opened, and their public halves.
// It is fixed once made.
type Keyring struct {
	signers []*signer // oldest first
	jwks    JWKS
}

// OpenKeyring opens every key of the store. If there is none it makes the
// first; of several servers that start at once, one succeeds and all use its key.
// It fails with ErrSealed if the master key is not the one they were sealed with.
func OpenKeyring(ctx context.Context, cfg KeyringConfig) (*Keyring, error) {
	if cfg.Store == nil {
		return nil, errors.New("issuer: KeyringConfig.Store is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	stored, err := cfg.Store.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	if len(stored) == 0 {
		if stored, err = addFirst(ctx, cfg); err != nil {
			return nil, err
		}
	}
	ring := &Keyring{}
	for _, k := range stored {
		s, err := openSigner(cfg.MasterKey, k)
		if err != nil {
			return nil, err
		}
		ring.signers = append(ring.signers, s)
	}
	ring.jwks, err = newJWKS(ring.signers)
	return ring, err
}

func addFirst(ctx context.Context, cfg KeyringConfig) ([]SealedKey, error) {
	k, err := generate(cfg.MasterKey, cfg.Now().UTC())
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	if _, err := cfg.Store.AddFirstSigningKey(ctx, k); err != nil {
		return nil, fmt.Errorf("storing a signing key: %w", err)
	}
	stored, err := cfg.Store.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	return stored, nil
}

// JWKS returns the public keys.
func (r *Keyring) JWKS() JWKS { return r.jwks }

// active returns the key that signs.
func (r *Keyring) active() (*signer, error) {
	if len(r.signers) == 0 {
		return nil, ErrNoSigningKey
	}
	return r.signers[len(r.signers)-1], nil
}

// signer is one signing key, opened. Its private half has no way out.
type signer struct {
	kid     string
	public  ed25519.PublicKey
	private ed25519.PrivateKey
	header  string // the encoded JWS header, the same for every token
}

func newSigner(private ed25519.PrivateKey) (*signer, error) {
	s := &signer{private: private, public: private.Public().(ed25519.PublicKey)}
	var err error
	if s.kid, err = thumbprint(s.public); err != nil {
		return nil, err
	}
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		KID string `json:"kid"`
		Typ string `json:"typ"`
	}{EdDSA, s.kid, wire.TypAccessToken})
	s.header = encode(header)
	return s, err
}

// sign returns the compact JWS of payload (RFC 7515 §7.1), signing exactly the
// bytes that travel.
func (s *signer) sign(payload []byte) string {
	b64 := base64.RawURLEncoding
	token := make([]byte, 0, len(s.header)+b64.EncodedLen(len(payload))+b64.EncodedLen(ed25519.SignatureSize)+2)
	token = append(append(token, s.header...), '.')
	token = b64.AppendEncode(token, payload)
	signature := ed25519.Sign(s.private, token)
	return string(b64.AppendEncode(append(token, '.'), signature))
}

// generate makes a key pair and seals its private half.
func generate(master MasterKey, now time.Time) (SealedKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return SealedKey{}, err
	}
	s, err := newSigner(private)
	if err != nil {
		return SealedKey{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(s.public)
	if err != nil {
		return SealedKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return SealedKey{}, err
	}
	defer clear(der)
	sealed, err := master.seal(s.kid, der)
	return SealedKey{KID: s.kid, Algorithm: EdDSA, PublicKey: public, Sealed: sealed, CreatedAt: now}, err
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
	ed, ok := private.(ed25519.PrivateKey)
	if !ok || k.Algorithm != EdDSA {
		return nil, fmt.Errorf("signing key %s: algorithm %q is not supported by this version", k.KID, k.Algorithm)
	}
	s, err := newSigner(ed)
	if err != nil {
		return nil, err
	}
	if s.kid != k.KID {
		return nil, fmt.Errorf("signing key %s: its thumbprint is %s", k.KID, s.kid)
	}
	return s, nil
}
