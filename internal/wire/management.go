package wire

import (
	"encoding/json"
	"time"
)

// Paths of the management API. What is managed is below them, by its id or name.
const (
	PathManagement  = "/v1/"
	PathKeys        = "/v1/keys"
	PathKeyspaces   = "/v1/keyspaces"
	PathClients     = "/v1/clients"
	PathSigningKeys = "/v1/signing-keys"
	PathVoid        = "/v1/void"
	PathLeaks       = "/v1/leaks"
	PathUsage       = "/v1/usage"
	PathAudit       = "/v1/audit"
	PathRefusals    = "/v1/audit/refusals"
	PathOpenAPI     = "/v1/openapi.json"
)

// What the management API and the command line say of what they manage. Times are
// RFC 3339, in UTC.

// Key is an API key. It never holds the key itself; CreatedKey does, once.
type Key struct {
	ID          string              `json:"id"`
	Start       string              `json:"start"` // what it begins with
	Keyspace    string              `json:"keyspace"`
	Owner       string              `json:"owner"` // empty: the key stands for itself
	Name        string              `json:"name"`
	ExternalID  string              `json:"external_id"` // its id in the system that it came from
	Permissions map[string][]string `json:"permissions"`
	Audiences   []string            `json:"audiences"` // none: any that the client may use
	Metadata    json.RawMessage     `json:"metadata"`
	State       string              `json:"state"`  // active, disabled or revoked
	Reason      string              `json:"reason"` // why it is disabled or revoked
	Expired     bool                `json:"expired"`
	CreatedAt   *time.Time          `json:"created_at"`
	ChangedAt   *time.Time          `json:"changed_at"`
	ExpiresAt   *time.Time          `json:"expires_at"` // null: never
	DeletedAt   *time.Time          `json:"deleted_at"`
	Remaining   *int64              `json:"remaining"` // null: no limit
	Refill      *string             `json:"refill"`    // such as 1000/month
	RefillAt    *time.Time          `json:"refill_at"`
	Rate        *string             `json:"rate"`        // such as 100/1m or 100/1m,20
	Budget      string              `json:"budget"`      // its id; keys of one budget share remaining and rate
	Replaces    *string             `json:"replaces"`    // the id of its predecessor
	ReplacedBy  *string             `json:"replaced_by"` // and of its successor
	Version     int64               `json:"version"`
}

// CreatedKey is a key that was just made.
type CreatedKey struct {
	Secret   *string `json:"key"`                // null if Replayed
	Replayed bool    `json:"replayed,omitempty"` // the answer to a repeat
	Key
}

// RotatedKey is the answer to a rotation.
type RotatedKey struct {
	CreatedKey
	Predecessor Key `json:"predecessor"`
}

// Keyspace is a named group of keys with shared defaults.
type Keyspace struct {
	Name            string     `json:"name"`
	Prefix          string     `json:"prefix"`
	KeyLifetime     int64      `json:"key_lifetime"`   // seconds; 0: unlimited
	TokenLifetime   int64      `json:"token_lifetime"` // seconds; 0: the server's default
	PublishMetadata bool       `json:"publish_metadata"`
	ImportedKeys    bool       `json:"imported_keys"`
	WeakKeys        bool       `json:"weak_keys"`
	CreatedAt       *time.Time `json:"created_at"`
	ChangedAt       *time.Time `json:"changed_at"`
	Version         int64      `json:"version"`
}

// Client is a program that may call us.
type Client struct {
	ID          string              `json:"client_id"`
	Rights      []string            `json:"rights"`
	Audiences   []string            `json:"audiences"`
	Keyspaces   []string            `json:"keyspaces"`
	Permissions map[string][]string `json:"permissions"` // null: no bound
	Algorithm   string              `json:"algorithm"`   // empty: the server's first
	Disabled    bool                `json:"disabled"`
	Secrets     []ClientSecret      `json:"secrets"` // their ids, oldest first

	JWKS         *JWKS    `json:"jwks"`         // its public keys; null: none
	Certificates []string `json:"certificates"` // thumbprints, x5t#S256
	SANDNS       string   `json:"tls_client_auth_san_dns"`
	SANURI       string   `json:"tls_client_auth_san_uri"`

	CreatedAt *time.Time `json:"created_at"`
	ChangedAt *time.Time `json:"changed_at"`
	Version   int64      `json:"version"`
}

// JWKS is a set of public keys (RFC 7517 §5).
type JWKS struct {
	Keys []json.RawMessage `json:"keys"`
}

// ClientSecret names a secret of a client, and does not hold it.
type ClientSecret struct {
	ID        string     `json:"id"`
	CreatedAt *time.Time `json:"created_at"`
}

// CreatedClient is a client that was just made or given another secret.
type CreatedClient struct {
	Secret   *string `json:"client_secret"` // null if Replayed, or if it has none
	SecretID string  `json:"secret_id"`     // empty likewise
	Replayed bool    `json:"replayed,omitempty"`
	Client
}

// Leak is what became of one suspected leak.
type Leak struct {
	Ours     bool   `json:"ours"` // it is, or was, a key
	KeyID    string `json:"key_id,omitempty"`
	Keyspace string `json:"keyspace,omitempty"`
	Owner    string `json:"owner,omitempty"`
	Revoked  bool   `json:"revoked"` // by this report; false: it was already
}

// KeyPage is a page of keys.
type KeyPage struct {
	Keys []Key   `json:"keys"`
	Next *string `json:"next"` // the id after which the next page begins; null: this is the last
}

// Voided tells how much a voiding reached.
type Voided struct {
	Keys      *int `json:"keys,omitempty"`      // of an owner
	Keyspaces *int `json:"keyspaces,omitempty"` // all keys of these
}

// UsagePoint is what was used in one step, or in all the time asked for. What was not
// asked to be told apart is left out.
type UsagePoint struct {
	Start    *time.Time `json:"start"` // null: of all the time asked for
	KeyID    *string    `json:"key_id,omitempty"`
	Owner    *string    `json:"owner,omitempty"`
	Keyspace *string    `json:"keyspace,omitempty"`
	Client   *string    `json:"client,omitempty"`
	Audience *string    `json:"audience,omitempty"`
	Outcome  *string    `json:"outcome,omitempty"`
	Requests int64      `json:"requests"`
	Cost     int64      `json:"cost"` // uses charged
}

// AuditPage is a page of the log. An entry is as it was hashed, with its hash as one
// more member at its end.
type AuditPage struct {
	Entries []json.RawMessage `json:"entries"`
	Next    *int64            `json:"next"` // the entry that the next page follows; null: this is the last
}

// Refusal is how often the authentication of a client was refused, in one hour.
type Refusal struct {
	Hour     time.Time `json:"hour"`
	Client   string    `json:"client"` // empty: of nobody that is known
	Remote   string    `json:"remote"` // empty: of more addresses than are kept
	Attempts int64     `json:"attempts"`
	LastAt   time.Time `json:"last_at"`
}

// Pointer returns t, and nil for the zero time.
func Pointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
