package issuer

import (
	"context"
	"time"
)

// SealedKey is a signing key as stored: its private half only ever sealed with
// the master key.
type SealedKey struct {
	KID       string // RFC 7638 thumbprint of the public key
	Algorithm string // JWS alg
	PublicKey []byte // PKIX, DER
	Sealed    []byte // the private key (PKCS #8, DER), sealed for this KID
	CreatedAt time.Time
}

// KeyStore is what a keyring needs from a database.
type KeyStore interface {
	// SigningKeys returns every signing key, oldest first.
	SigningKeys(ctx context.Context) ([]SealedKey, error)

	// AddFirstSigningKey stores k if there is no key of its algorithm yet, so
	// that of several servers starting at once one makes the key. It reports
	// whether k was stored.
	AddFirstSigningKey(ctx context.Context, k SealedKey) (bool, error)
}
