package verifier

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Sizes of a key, in bytes.
const (
	MaxKey      = 512 // the longest key accepted, imported ones included
	MaxPrefix   = 16
	randomChars = 32 // 32 · log2(62) ≥ 190 bits
	sumChars    = 6  // 62⁶ > 2³²
)

// MaxTokenMetadata is the most metadata that goes into a token, in bytes: checkers
// refuse long tokens. An imported key may have more, which stays in the store.
const MaxTokenMetadata = 2 << 10

// KeyPattern matches every key that GenerateKey makes, for secret scanners.
const KeyPattern = `\b[a-z0-9_]{1,16}_[0-9A-Za-z]{38}\b`

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var prefixPattern = regexp.MustCompile(`^[a-z0-9_]{1,16}$`)

// KeyID names a key. It is safe to log.
type KeyID string

// Digest is the SHA-256 of a whole key, the only form of it that is stored.
type Digest [sha256.Size]byte

// Secret is a key, or a client's secret, as presented. It does not print.
type Secret struct{ v *string }

// NewSecret wraps a secret that came from outside.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal returns the secret itself, for the one place that must show it.
func (s Secret) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// Digest returns the SHA-256 of the secret.
func (s Secret) Digest() Digest { return sha256.Sum256([]byte(s.Reveal())) }

const redacted = "[redacted]"

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ErrPrefix is returned for a prefix that does not match [a-z0-9_]{1,16}.
var ErrPrefix = errors.New("prefix must be 1 to 16 of a-z, 0-9 and _")

// ValidatePrefix returns ErrPrefix unless prefix may begin a key.
func ValidatePrefix(prefix string) error {
	if !prefixPattern.MatchString(prefix) {
		return ErrPrefix
	}
	return nil
}

// GenerateKey makes a key: prefix, "_", 32 random characters of base62 and 6
// more that are the CRC-32 (IEEE) of all before them. The checksum tells a
// typing error and helps scanners; it protects nothing.
func GenerateKey(prefix string) (Secret, error) {
	if err := ValidatePrefix(prefix); err != nil {
		return Secret{}, err
	}
	body := prefix + "_" + randomBase62(randomChars)
	return NewSecret(body + checksum(body)), nil
}

// WellFormed reports whether s has the form that GenerateKey makes, with a
// right checksum.
func WellFormed(s Secret) bool {
	key := s.Reveal()
	sep := len(key) - sumChars - randomChars - 1
	if sep < 1 || sep > MaxPrefix || key[sep] != '_' || ValidatePrefix(key[:sep]) != nil {
		return false
	}
	for _, c := range []byte(key[sep+1:]) {
		if strings.IndexByte(base62, c) < 0 {
			return false
		}
	}
	body := key[:len(key)-sumChars]
	return key[len(body):] == checksum(body)
}

// randomBase62 draws without modulo bias: bytes from 248 on are drawn again.
func randomBase62(n int) string {
	const fair = 256 - 256%len(base62)
	out := make([]byte, 0, n)
	buf := make([]byte, n)
	for len(out) < n {
		_, _ = rand.Read(buf) // never fails (crypto/rand)
		for _, b := range buf {
			if int(b) < fair && len(out) < n {
				out = append(out, base62[int(b)%len(base62)])
			}
		}
	}
	return string(out)
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	var out [sumChars]byte
	for i := sumChars - 1; i >= 0; i-- {
		out[i] = base62[sum%uint32(len(base62))]
		sum /= uint32(len(base62))
	}
	return string(out[:])
}

// State is what an operator decided about a key. Expiry is not a state.
type State string

// The states of a key. Revoked is final.
const (
	Active   State = "active"
	Disabled State = "disabled"
	Revoked  State = "revoked"
)

// Permissions maps a resource to the actions allowed on it. Names are exact
// and case-sensitive; see package internal/permission for the rule.
type Permissions map[string][]string

// Key is an API key as an operator set it up. Nothing in it changes by use.
type Key struct {
	ID          KeyID
	Digest      Digest
	Start       string // the first characters, to recognise it by
	Keyspace    string
	Owner       string // the token's sub; empty: the key stands for itself
	Name        string
	Permissions Permissions
	Audiences   []string        // empty: any that the client may use
	Metadata    json.RawMessage // a JSON object, or nil
	State       State
	CreatedAt   time.Time
	ExpiresAt   time.Time // refused from this instant on; zero: never
	ExternalID  string    // its id in the system that it came from
}

// Keyspace is a named group of keys with shared defaults.
type Keyspace struct {
	Name            string
	Prefix          string        // of keys made in it
	KeyLifetime     time.Duration // of keys made in it; zero: unlimited
	TokenLifetime   time.Duration // zero: the server's default
	PublishMetadata bool          // a key's metadata goes into its tokens, up to MaxTokenMetadata
	ImportedKeys    bool          // may hold keys of other forms
	WeakKeys        bool          // may hold keys that can be guessed
	CreatedAt       time.Time
}

// StatusRef says where the status of a key's tokens is published. A grant carries
// the one that was read with the key; what it means is for others to know.
type StatusRef struct{ List, Index, Generation int64 }

// Record is all that decides about a key, read in one transaction. Records of
// keys that share a budget share the pointer.
type Record struct {
	Key      Key
	Keyspace Keyspace
	Status   StatusRef
	Budget   *Budget
	Uses     []Use // to be added to the usage counters; none when loaded
}

// Use is what exchanges of a key for one client and audience add up to.
type Use struct {
	Client   string
	Audience string
	Grants   int64
	Cost     int64
}

// use counts a grant.
func (r *Record) use(client, audience string, cost int64) {
	for i := range r.Uses {
		if u := &r.Uses[i]; u.Client == client && u.Audience == audience {
			u.Grants++
			u.Cost += cost
			return
		}
	}
	r.Uses = append(r.Uses, Use{client, audience, 1, cost})
}

// snapshot returns what restores r, which may be nil, to what it is now.
func (r *Record) snapshot() (restore func()) {
	if r == nil {
		return func() {}
	}
	budget, uses := *r.Budget, slices.Clone(r.Uses)
	return func() { *r.Budget, r.Uses = budget, uses }
}

// ErrOwner is returned by ValidateOwner.
var ErrOwner = errors.New("owner must be at most 255 bytes of printable text and must not begin with key_")

// ValidateOwner refuses an owner that could be taken for the id of a key,
// which is the sub of keys without owner, or that does not print.
func ValidateOwner(owner string) error {
	if len(owner) > 255 || strings.HasPrefix(owner, "key_") || !printable(owner) {
		return ErrOwner
	}
	return nil
}

var keyspacePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// ValidateKeyspace refuses a name that is not 1 to 64 of letters, digits and
// ". _ -", beginning with a letter or digit.
func ValidateKeyspace(name string) error {
	if !keyspacePattern.MatchString(name) {
		return fmt.Errorf("keyspace name %.64q must be 1 to 64 of letters, digits and . _ -", name)
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// ErrName is returned by ValidateName.
var ErrName = errors.New("name must be at most 255 bytes of printable text")

// ValidateName refuses a key's name that is too long or does not print.
func ValidateName(name string) error {
	if len(name) > 255 || !printable(name) {
		return ErrName
	}
	return nil
}
