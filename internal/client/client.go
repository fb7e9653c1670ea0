// Package client knows who may call us: OAuth clients, their secrets, keys, rights
// and allow-lists. It decides whether a credential is right; what a client then does
// is decided elsewhere.
package client

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"regexp"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// Right is something that a client may do.
type Right string

// The rights that exist.
const (
	TokensExchange   Right = "tokens:exchange"
	KeysRead         Right = "keys:read"
	KeysWrite        Right = "keys:write"
	KeyspacesWrite   Right = "keyspaces:write"
	ClientsRead      Right = "clients:read"
	ClientsWrite     Right = "clients:write"
	SigningKeysRead  Right = "signing-keys:read"
	SigningKeysWrite Right = "signing-keys:write"
	UsageRead        Right = "usage:read"
	AuditRead        Right = "audit:read"
	ReasonsRead      Right = "reasons:read"
	TokensIntrospect Right = "tokens:introspect"
	TokensRevoke     Right = "tokens:revoke"
	KeysVerify       Right = "keys:verify"
	KeysPeek         Right = "keys:peek"
	LeaksReport      Right = "leaks:report"
)

// Rights lists every right, sorted.
func Rights() []Right {
	all := []Right{
		TokensExchange, KeysRead, KeysWrite, KeyspacesWrite, ClientsRead, ClientsWrite,
		SigningKeysRead, SigningKeysWrite, UsageRead, AuditRead, ReasonsRead,
		TokensIntrospect, TokensRevoke, KeysVerify, KeysPeek, LeaksReport,
	}
	slices.Sort(all)
	return all
}

// AnyKeyspace in Client.Keyspaces allows every keyspace, later ones included.
const AnyKeyspace = "*"

// AnyAudience in Client.Audiences lets a client give any audience to those that it
// makes. It may itself exchange for none but those that are named.
const AnyAudience = "*"

// Remembered is how long a server may go by what it has read of a client, where
// nothing else confirms it.
const Remembered = time.Second

// MaxSecrets is how many secrets of a client are live at a time.
const MaxSecrets = 2

// idPattern leaves out what form-encoding would change, for the OAuth clients that do
// not encode their id (RFC 6749 §2.3.1).
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// ValidID reports whether a client may have this id. Two that have another meaning in
// a path are none.
func ValidID(id string) bool { return idPattern.MatchString(id) && id != "." && id != ".." }

// Client is a program allowed to call us.
type Client struct {
	ID          string
	Rights      []Right
	Audiences   []string             // exact; none: it can name no target
	Keyspaces   []string             // exact, or AnyKeyspace
	Permissions verifier.Permissions // the most that its tokens may hold; nil: no bound
	Algorithm   string               // the JWS alg that its backends can read; empty: the server's first
	Secrets     []Secret             // oldest first, at most MaxSecrets
	Registered
	Disabled  bool
	CreatedAt time.Time
	ChangedAt time.Time // zero: never

	// Version grows with every change. A store sets it.
	Version int64

	// ImportedKeys is derived: a keyspace that it may use holds keys of other
	// forms, so a checksum proves nothing.
	ImportedKeys bool

	// WeakKeys is derived: a keyspace that it may use holds keys that can be guessed.
	WeakKeys bool
}

// Secret is a client's secret as stored.
type Secret struct {
	Digest    verifier.Digest
	CreatedAt time.Time // zero: before that was kept
}

// ID names the secret among those of its client. It tells nothing about it.
func (s Secret) ID() string {
	sum := sha256.Sum256(s.Digest[:])
	return "sec_" + hex.EncodeToString(sum[:6])
}

// Holds reports whether c has the right r.
func (c *Client) Holds(r Right) bool { return slices.Contains(c.Rights, r) }

// Authenticate reports whether secret is one of c's, in time that depends on
// neither. It may be called on a nil Client, the one nobody registered.
func (c *Client) Authenticate(secret verifier.Secret) bool {
	var live [MaxSecrets]Secret
	known := 0
	if c != nil && !c.Disabled {
		known = copy(live[:], c.Secrets)
	}
	got := secret.Digest()
	match := 0
	for i, want := range live {
		same := subtle.ConstantTimeCompare(got[:], want.Digest[:])
		match |= same & subtle.ConstantTimeLessOrEq(i+1, known)
	}
	return match == 1
}

// Allowance returns what c may do with a key, for the verifier's decision.
func (c *Client) Allowance() verifier.Allowance {
	return verifier.Allowance{
		ID:           c.ID,
		Version:      c.Version,
		Audiences:    c.targets(),
		AllKeyspaces: slices.Contains(c.Keyspaces, AnyKeyspace),
		Keyspaces:    c.Keyspaces,
		Permissions:  c.Permissions,
		ImportedKeys: c.ImportedKeys,
	}
}

// targets are the audiences that c may ask tokens for.
func (c *Client) targets() []string {
	if !slices.Contains(c.Audiences, AnyAudience) {
		return c.Audiences
	}
	return slices.DeleteFunc(slices.Clone(c.Audiences), func(a string) bool { return a == AnyAudience })
}
