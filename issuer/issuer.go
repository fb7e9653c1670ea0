// Package issuer turns a grant into a signed token, keeps the keys that sign, and
// publishes the status of what was signed. What is granted, and what becomes of it,
// is decided elsewhere: a token knows nothing about the API key it was made from.
package issuer

import (
	"bytes"
	"cmp"
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

// ErrExpired is returned for a grant that was signed before and whose token would
// have expired by now.
var ErrExpired = errors.New("grant has expired")

// Config makes an Issuer.
type Config struct {
	Issuer   string        // required: the iss of every token, byte for byte
	Keyring  *Keyring      // required
	Lifetime time.Duration // of a token; zero: DefaultLifetime; at most MaxLifetime

	// Signed is called after each signature of a token with the time that it took. It
	// must not block. Nil: nobody is told.
	Signed func(algorithm string, took time.Duration)
}

// Issuer signs grants.
type Issuer struct {
	iss      string
	keys     *Keyring
	lifetime time.Duration
	signed   func(algorithm string, took time.Duration) // or nil
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
	return &Issuer{cfg.Issuer, cfg.Keyring, cfg.Lifetime, cfg.Signed}, nil
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
	IssuedAt    time.Time       // by the database's clock
	SignedAt    time.Time       // by the same clock: it tells which key signs; zero: IssuedAt
	ID          string          // jti, as NewID makes it; empty: a new one
	Algorithm   string          // that its checkers can read; empty: the keyring's default
	Status      StatusRef       // required: a token without one could not be called back
}

// Token is a signed grant.
type Token struct {
	Value     string        // compact JWS; a bearer token, not for logs
	ID        string        // jti
	KID       string        // of the key that signed
	Scope     string        // as in the claim
	ExpiresIn time.Duration // seen from when it was signed; whole seconds, > 0
}

// Ready returns ErrNoSigningKey if Issue would, for this algorithm.
func (i *Issuer) Ready(algorithm string) error {
	_, err := i.keys.active(algorithm, i.keys.now())
	return err
}

// Issue signs a token for g, with the header and claims of RFC 9068 §2. It lives
// for the shortest of g's and the issuer's lifetime, but never past g.NotAfter,
// to the second. A grant that is signed again, later, gets no later expiry. It fails
// with ErrNoSigningKey, with ErrExpired, or for a grant without status.
func (i *Issuer) Issue(g Grant) (Token, error) {
	status, err := i.status(g.Status)
	if err != nil {
		return Token{}, err
	}
	signed := g.SignedAt
	if signed.IsZero() {
		signed = g.IssuedAt
	}
	expires := i.expiry(g)
	if expires <= signed.Unix() {
		return Token{}, ErrExpired
	}
	key, err := i.keys.active(g.Algorithm, signed)
	if err != nil {
		return Token{}, err
	}
	claims := wire.Claims{
		Issuer:      i.iss,
		Subject:     g.Subject,
		Audience:    g.Audience,
		ClientID:    g.ClientID,
		IssuedAt:    g.IssuedAt.Unix(),
		ExpiresAt:   expires,
		ID:          cmp.Or(g.ID, NewID()),
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
	value, err := i.sign(key, payload)
	if err != nil {
		return Token{}, err
	}
	return Token{
		Value:     value,
		ID:        claims.ID,
		KID:       key.kid,
		Scope:     claims.Scope,
		ExpiresIn: time.Duration(expires-signed.Unix()) * time.Second,
	}, nil
}

// sign signs and tells how long that took.
func (i *Issuer) sign(key *signer, payload []byte) (string, error) {
	if i.signed == nil {
		return key.sign(key.header, payload)
	}
	began := time.Now()
	value, err := key.sign(key.header, payload)
	i.signed(key.algorithm, time.Since(began))
	return value, err
}

// Expires returns when a token for g will expire.
func (i *Issuer) Expires(g Grant) time.Time { return time.Unix(i.expiry(g), 0).UTC() }

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

// NewID returns a jti of 128 random bits.
func NewID() string {
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
