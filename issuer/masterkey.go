package issuer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// MasterKey seals the signing keys in the store. It comes from a file or the
// environment, never from the store, and does not print.
type MasterKey struct{ k *[masterKeySize]byte }

const masterKeySize = 32

// ErrMasterKey is returned for text that is no master key.
var ErrMasterKey = errors.New("master key must be 32 bytes in standard base64, as cambio master-key prints it")

// ErrSealed means that the master key is not the one a signing key was sealed
// with, or that the sealed bytes were changed or belong to another key.
var ErrSealed = errors.New("signing key does not open with this master key")

// NewMasterKey makes a random master key.
func NewMasterKey() MasterKey {
	var k [masterKeySize]byte
	_, _ = rand.Read(k[:]) // never fails (crypto/rand)
	return MasterKey{&k}
}

// ParseMasterKey reads what Reveal writes; white space around it is ignored.
func ParseMasterKey(text string) (MasterKey, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(b) != masterKeySize {
		return MasterKey{}, ErrMasterKey
	}
	return MasterKey{(*[masterKeySize]byte)(b)}, nil
}

// Reveal returns the key in base64, for the one place that must show it.
func (m MasterKey) Reveal() string {
	if m.k == nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(m.k[:])
}

const redacted = "[redacted]"

func (MasterKey) String() string               { return redacted }
func (MasterKey) GoString() string             { return redacted }
func (MasterKey) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (MasterKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// seal encrypts a private key so that it opens only for this purpose and kid.
// The nonce is random and stands first (allowed in FIPS mode).
func (m MasterKey) seal(kid string, private []byte) ([]byte, error) {
	aead, err := m.aead()
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, private, sealedFor(kid)), nil //nolint:gosec // takes no nonce: it draws one
}

func (m MasterKey) open(kid string, sealed []byte) ([]byte, error) {
	aead, err := m.aead()
	if err != nil {
		return nil, err
	}
	private, err := aead.Open(nil, nil, sealed, sealedFor(kid))
	if err != nil {
		return nil, fmt.Errorf("%w (kid %s)", ErrSealed, kid)
	}
	return private, nil
}

func (m MasterKey) aead() (cipher.AEAD, error) {
	if m.k == nil {
		return nil, errors.New("issuer: a master key is required")
	}
	block, err := aes.NewCipher(m.k[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// sealedFor is the additional data: version, purpose and key id. A blob moved
// to another row does not open there.
func sealedFor(kid string) []byte {
	return []byte("cambio/1/signing-key/" + kid)
}
