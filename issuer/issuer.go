// Package issuer turns a grant into a signed token, keeps the keys that sign, and
// publishes the status of what was signed. What is granted, and what becomes of it,
// is decided elsewhere: a token knows nothing about the API key it was made from.
package issuer

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
)

// Bounds of a token's life.
const (
	DefaultLifetime = 5 * time.Minute
	MaxLifetime     = wire.MaxTokenLifetime
)

// ErrNoSigningKey is returned before there is a key to sign with.
var ErrNoSigningKey = errors.New("no signing key")

// Config makes an Issuer.
type Config struct {
	Issuer   string        // required: the iss of every token, byte for byte
	Keyring  *Keyring      // required
	Lifetime time.Duration // of a token; zero: DefaultLifetime; at most MaxLifetime
}

// Issuer signs grants.
type Issuer struct {
	iss      string
	keys     *Keyring
	lifetime time.Duration
}

// New fails if something required is missing or the lifetime is out of bounds.
func New(cfg Config) (*Issuer, error) {
	if cfg.Issuer == "" || cfg.Keyring == nil {
		return nil, errors.New("issuer: Config.Issuer and Config.Keyring are required")
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = DefaultLifetime
	}
	if cfg.Lifetime < time.Second || cfg.Lifetime > MaxLifetime {
		return nil, fmt.Errorf("issuer: token lifetime must be between 1s and %s", MaxLifetime)
	}
	return &Issuer{cfg.Issuer, cfg.Keyring, cfg.Lifetime}, nil
}

// Grant is what a token is to say.
type Grant struct {
	Subject     string
	Audience    string
	ClientID    string
	KeyID       string
	Keyspace    string
	Permissions map[string][]string
	Metadata    json.RawMessage // a JSON object, or nil
	Lifetime    time.Duration   // zero, or longer than the issuer's: the issuer's
	NotAfter    time.Time       // the token does not outlive it; zero: no bound
	IssuedAt    time.Time       // by the database's clock: it tells which key signs
	Algorithm   string          // that its checkers can read; empty: the keyring's default
	Status      StatusRef       // required: a token without one could not be called back
}

// Token is a signed grant.
type Token struct {
	Value     string        // compact JWS; a bearer token, not for logs
	ID        string        // jti
	KID       string        // of the key that signed
	Scope     string        // as in the claim
	ExpiresIn time.Duration // whole seconds, > 0
}

// Ready returns ErrNoSigningKey if Issue would, for this algorithm.
func (i *Issuer) Ready(algorithm string) error {
	_, err := i.keys.active(algorithm, i.keys.now())
	return err
}

// Issue signs a token for g, with the header and claims of RFC 9068 §2. It lives
// for the shortest of g's and the issuer's lifetime, but never past g.NotAfter,
// to the second. It fails with ErrNoSigningKey, or for a grant without status.
func (i *Issuer) Issue(g Grant) (Token, error) {
	status, err := i.status(g.Status)
	if err != nil {
		return Token{}, err
	}
	key, err := i.keys.active(g.Algorithm, g.IssuedAt)
	if err != nil {
		return Token{}, err
	}
	issued := g.IssuedAt.Unix()
	expires := i.expiry(g)
	claims := wire.Claims{
		Issuer:      i.iss,
		Subject:     g.Subject,
		Audience:    g.Audience,
		ClientID:    g.ClientID,
		IssuedAt:    issued,
		ExpiresAt:   expires,
		ID:          newID(),
		Scope:       permission.Scope(g.Permissions),
		Permissions: g.Permissions,
		KeyID:       g.KeyID,
		Keyspace:    g.Keyspace,
		Status:      status,
		Metadata:    g.Metadata,
	}
	if claims.Permissions == nil {
		claims.Permissions = map[string][]string{}
	}
	payload, err := marshal(claims)
	if err != nil {
		return Token{}, fmt.Errorf("encoding claims: %w", err)
	}
	value, err := key.sign(key.header, payload)
	if err != nil {
		return Token{}, err
	}
	return Token{
		Value:     value,
		ID:        claims.ID,
		KID:       key.kid,
		Scope:     claims.Scope,
		ExpiresIn: time.Duration(expires-issued) * time.Second,
	}, nil
}

// expiry returns exp in seconds since 1970, at least one second after iat: a
// token that is never valid helps nobody (expires_in must be positive).
func (i *Issuer) expiry(g Grant) int64 {
	lifetime := i.lifetime
	if g.Lifetime > 0 {
		lifetime = min(lifetime, g.Lifetime)
	}
	expires := g.IssuedAt.Unix() + int64(lifetime/time.Second)
	if !g.NotAfter.IsZero() {
		expires = min(expires, g.NotAfter.Unix())
	}
	return max(expires, g.IssuedAt.Unix()+1)
}

// newID returns a jti of 128 random bits.
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return encode(id[:])
}

// marshal is json.Marshal without the escapes for HTML, which would make six
// bytes of one.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
