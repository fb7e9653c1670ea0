package wire

import (
	"encoding/json"
	"time"
)

// PathVerify is where a key is verified, and charged, without a token.
const PathVerify = "/v1/keys/verify"

// A request under HeaderIdempotencyKey is done once, however often it is sent
// (draft-ietf-httpapi-idempotency-key-header). The answer to a repeat says so.
const (
	HeaderIdempotencyKey = "Idempotency-Key"
	HeaderReplayed       = "Idempotent-Replayed" // true
)

// Codes of an answer beside the reasons. Invalid stands for everything that is
// wrong with the key itself, for clients that may not know more.
const (
	CodeValid   = "valid"
	CodeInvalid = "invalid"
)

// VerifyRequest asks whether a key is good, and charges it if so.
type VerifyRequest struct {
	Key         string              `json:"key"`
	Keyspace    string              `json:"keyspace,omitempty"`   // empty: any that the client may use
	Audience    string              `json:"audience,omitempty"`   // empty: the client's only one, or none if it has none
	Permissions map[string][]string `json:"permissions,omitzero"` // that the key must hold; nil: none is asked for
	Cost        *int64              `json:"cost,omitempty"`       // nil: 1; 0 asks without charging
}

// Verified is the answer.
type Verified struct {
	Valid        bool         `json:"valid"`
	Code         string       `json:"code"`     // CodeValid, CodeInvalid or a reason
	Key          *VerifiedKey `json:"key"`      // null: what was sent is no good key
	Audience     string       `json:"audience"` // empty: none
	Remaining    *int64       `json:"remaining"`
	RefillAt     *time.Time   `json:"refill_at"`                // null: never
	RateLimit    *RateLimit   `json:"rate_limit"`               // null: none
	RetryAfterMS int64        `json:"retry_after_ms,omitempty"` // of one that is spent or rate limited
	Replayed     bool         `json:"replayed,omitempty"`       // the answer to a repeat
}

// VerifiedKey is what the caller may know of a good key.
type VerifiedKey struct {
	ID          string              `json:"id"`
	Owner       string              `json:"owner"` // empty: the key stands for itself
	Keyspace    string              `json:"keyspace"`
	Name        string              `json:"name"`
	ExternalID  string              `json:"external_id"`
	Permissions map[string][]string `json:"permissions"` // those asked for; with none, or not valid, all that key and client hold
	Metadata    json.RawMessage     `json:"metadata"`
	ExpiresAt   *time.Time          `json:"expires_at"` // null: never
}

// RateLimit is the rate limit of a key, and what is left of it.
type RateLimit struct {
	Limit     int64     `json:"limit"` // uses in a window
	WindowMS  int64     `json:"window_ms"`
	Burst     int64     `json:"burst"`     // uses that may come at once
	Remaining int64     `json:"remaining"` // and how many could now
	ResetAt   time.Time `json:"reset_at"`  // when that is the whole burst again
}
