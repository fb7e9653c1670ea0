package issuer

import (
	"bytes"
	"context"
	"time"
)

// SealedKey is a signing key as stored: its private half only ever sealed with
// the master key.
type SealedKey struct {
	KID         string // RFC 7638 thumbprint of the public key
	Algorithm   string // JWS alg
	Generation  int64  // counts up from 0 within the algorithm
	PublicKey   []byte // PKIX, DER
	Sealed      []byte // the private key (PKCS #8, DER), sealed for this KID
	CreatedAt   time.Time
	ActivatesAt time.Time // signs from then on, until the next generation does
	RemovedAt   time.Time // gone from then on, whatever the timetable says; zero: by the timetable
}

// Same reports whether k and other are equal in all that is stored.
func (k SealedKey) Same(other SealedKey) bool {
	return k.KID == other.KID && k.Algorithm == other.Algorithm && k.Generation == other.Generation &&
		bytes.Equal(k.PublicKey, other.PublicKey) && bytes.Equal(k.Sealed, other.Sealed) &&
		k.CreatedAt.Equal(other.CreatedAt) && k.ActivatesAt.Equal(other.ActivatesAt) && k.RemovedAt.Equal(other.RemovedAt)
}

// KeyStore is what a keyring needs from a database.
type KeyStore interface {
	// SigningKeys returns every signing key by algorithm and generation, and the
	// database's clock.
	SigningKeys(ctx context.Context) (keys []SealedKey, now time.Time, err error)

	// ChangeSigningKeys lets change say what the signing keys are to be, and makes
	// them so, in one transaction: rows are added, altered or deleted. No two
	// changes overlap, on whatever replica; change may be called again. An error
	// from change is returned, and nothing is changed.
	ChangeSigningKeys(ctx context.Context, change func(now time.Time, keys []SealedKey) ([]SealedKey, error)) error
}
