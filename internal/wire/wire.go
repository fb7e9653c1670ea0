// Package wire names what crosses the network: paths, form fields, token
// types, error codes and the shapes of answers and claims. It decides nothing.
// The server writes these, the sdk reads them, and neither knows the other.
package wire

import (
	"encoding/json"
	"time"
)

// Paths of the public listener.
const (
	PathToken       = "/oauth2/token"
	PathIntrospect  = "/oauth2/introspect"
	PathRevoke      = "/oauth2/revoke"
	PathJWKS        = "/.well-known/jwks.json"
	PathOAuthServer = "/.well-known/oauth-authorization-server" // RFC 8414 §3
	PathOpenID      = "/.well-known/openid-configuration"       // OpenID Connect Discovery §4
	PathStatusLists = "/statuslists"                            // Token Status List §9; each list is below
)

// GrantTokenExchange is the only grant (RFC 8693 §2.1).
const GrantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// Token types (RFC 8693 §3). The registered access_token type is accepted for
// an API key too, for clients that can only name registered types.
const (
	TypeAPIKey      = "urn:cambio:params:oauth:token-type:api-key"
	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// AssertionJWT is the client_assertion_type of a JWT (RFC 7523 §2.2).
const AssertionJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// HeaderClientID names a client that authenticates with the certificate of its TLS
// connection where no form could. It is our own: a certificate may stand for several
// clients, so each says which it is (RFC 8705 §2).
const HeaderClientID = "Cambio-Client-Id"

// Form fields of the token endpoint (RFC 6749, RFC 8693 §2.1, RFC 8707 §2).
// Keyspace and Cost are our own.
const (
	FieldGrantType          = "grant_type"
	FieldSubjectToken       = "subject_token"
	FieldSubjectTokenType   = "subject_token_type"
	FieldActorToken         = "actor_token"
	FieldActorTokenType     = "actor_token_type"
	FieldRequestedTokenType = "requested_token_type"
	FieldAudience           = "audience"
	FieldResource           = "resource"
	FieldScope              = "scope"
	FieldClientID           = "client_id"
	FieldClientSecret       = "client_secret"
	FieldClientAssertion    = "client_assertion"
	FieldAssertionType      = "client_assertion_type" // RFC 7521 §4.2
	FieldKeyspace           = "keyspace"
	FieldCost               = "cost"
	FieldToken              = "token" // RFC 7662 §2.1, RFC 7009 §2.1
)

// Error codes (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8707 §2).
const (
	ErrInvalidRequest         = "invalid_request"
	ErrInvalidClient          = "invalid_client"
	ErrUnauthorizedClient     = "unauthorized_client"
	ErrUnsupportedGrantType   = "unsupported_grant_type"
	ErrInvalidTarget          = "invalid_target"
	ErrInvalidScope           = "invalid_scope"
	ErrTemporarilyUnavailable = "temporarily_unavailable"
	ErrServerError            = "server_error"
	ErrUnsupportedTokenType   = "unsupported_token_type" // RFC 7009 §2.2.1
)

// Reasons say more than the error code, where the caller may know more.
// The first group is told only to clients with the right reasons:read.
const (
	ReasonMalformed     = "malformed"
	ReasonUnknown       = "unknown"
	ReasonWrongKeyspace = "wrong_keyspace"
	ReasonRevoked       = "revoked"
	ReasonDisabled      = "disabled"
	ReasonExpired       = "expired"

	ReasonAudience       = "audience"
	ReasonPermission     = "permission"
	ReasonSpent          = "spent"
	ReasonRateLimited    = "rate_limited"
	ReasonKeyReused      = "idempotency_key_reused" // it stands for another request
	ReasonUnavailable    = "unavailable"            // nothing was charged; try again
	ReasonOutcomeUnknown = "outcome_unknown"        // may have been charged
)

// Media types.
const (
	MediaForm = "application/x-www-form-urlencoded"
	MediaJSON = "application/json"

	MediaProblem = "application/problem+json"     // RFC 9457 §3
	MediaPatch   = "application/merge-patch+json" // RFC 7396
	MediaLines   = "application/jsonl"
	MediaCSV     = "text/csv" // RFC 4180

	MediaStatusList = "application/statuslist+jwt"
)

// SigningAlgs are the JWS algorithms that a token may be signed with, the default
// first.
func SigningAlgs() []string { return []string{"EdDSA", "ES256", "RS256"} }

// MaxTokenLifetime is the cap of every token: no server issues a longer one, and
// no checker accepts it.
const MaxTokenLifetime = 15 * time.Minute

// The JWT header typ of an access token (RFC 9068 §2.1), of a status list (Token
// Status List §5.1), and of a client assertion (draft-ietf-oauth-rfc7523bis).
const (
	TypAccessToken     = "at+jwt"
	TypStatusList      = "statuslist+jwt"
	TypClientAssertion = "client-authentication+jwt"
)

// TokenResponse is the success answer (RFC 8693 §2.2.1).
type TokenResponse struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type"`
	TokenType       string `json:"token_type"` // always "Bearer"
	ExpiresIn       int64  `json:"expires_in"` // seconds, > 0
	Scope           string `json:"scope,omitempty"`
}

// ErrorResponse is every error answer of the OAuth endpoints (RFC 6749 §5.2).
type ErrorResponse struct {
	Error        string `json:"error"`
	Description  string `json:"error_description,omitempty"`
	Reason       string `json:"reason,omitempty"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
}

// Values of a status (Token Status List §7.1).
const (
	StatusValid     = 0
	StatusInvalid   = 1 // for good
	StatusSuspended = 2 // for now
)

// Status says where the status of a token is found (Token Status List §6.1).
type Status struct {
	StatusList StatusReference `json:"status_list"`
}

// StatusReference is an entry of a status list.
type StatusReference struct {
	Index int64  `json:"idx"`
	URI   string `json:"uri"`
}

// StatusListClaims is the payload of a status list (Token Status List §5.1).
// Times and TTL are in seconds.
type StatusListClaims struct {
	Issuer    string     `json:"iss"`
	Subject   string     `json:"sub"` // its own URI
	IssuedAt  int64      `json:"iat"`
	ExpiresAt int64      `json:"exp"`
	TTL       int64      `json:"ttl"`
	Version   int64      `json:"version"`   // ours: grows with each change
	KeySet    string     `json:"jwks_s256"` // ours: base64url of the SHA-256 of the key set now
	List      StatusList `json:"status_list"`
}

// StatusList holds statuses of so many bits each, the first in the least
// significant bits; zlib, then base64url (Token Status List §4).
type StatusList struct {
	Bits int    `json:"bits"`
	List string `json:"lst"`
}

// Introspection is the answer of the introspection endpoint (RFC 7662 §2.2). Of what
// is not active it says nothing more.
type Introspection struct {
	Active      bool                `json:"active"`
	TokenType   string              `json:"token_type,omitempty"` // "Bearer" for a token, "api_key" for a key
	Scope       string              `json:"scope,omitempty"`
	ClientID    string              `json:"client_id,omitempty"`
	Subject     string              `json:"sub,omitempty"`
	Audience    string              `json:"aud,omitempty"`
	Issuer      string              `json:"iss,omitempty"`
	ID          string              `json:"jti,omitempty"`
	IssuedAt    int64               `json:"iat,omitempty"`
	ExpiresAt   int64               `json:"exp,omitempty"`
	Permissions map[string][]string `json:"permissions,omitempty"`
	KeyID       string              `json:"key_id,omitempty"`
	Keyspace    string              `json:"keyspace,omitempty"`
}

// SigningKey is a key that signs tokens, as operators see it: its public side.
type SigningKey struct {
	KID         string     `json:"kid"`
	Algorithm   string     `json:"alg"`
	State       string     `json:"state"` // pending, active, retiring, removed
	CreatedAt   *time.Time `json:"created_at"`
	ActivatesAt *time.Time `json:"activates_at"`
	StopsAt     *time.Time `json:"stops_at"` // signs no more from then on; null: not known yet
	GoneAt      *time.Time `json:"gone_at"`  // leaves the key set; null: not known yet
}

// Problem is an error of the management API (RFC 9457 §3.1).
type Problem struct {
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitempty"`
	Reason string         `json:"reason,omitempty"` // ReasonUnavailable, ReasonOutcomeUnknown or ReasonKeyReused
	Errors []FieldProblem `json:"errors,omitempty"` // all that is wrong with what was sent
}

// FieldProblem is what is wrong with one member of a body, or one parameter.
type FieldProblem struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Claims is the payload of an access token (RFC 9068 §2.2). Times are seconds
// since 1970.
type Claims struct {
	Issuer      string              `json:"iss"`
	Subject     string              `json:"sub"` // the key's owner, or its id
	Audience    string              `json:"aud"`
	ClientID    string              `json:"client_id"` // who exchanged the key (RFC 8693 §4.3)
	IssuedAt    int64               `json:"iat"`
	ExpiresAt   int64               `json:"exp"`
	ID          string              `json:"jti"`
	Scope       string              `json:"scope,omitempty"`
	Permissions map[string][]string `json:"permissions"` // lossless; scope may say less
	KeyID       string              `json:"key_id"`
	Keyspace    string              `json:"keyspace"`
	Status      *Status             `json:"status,omitempty"`
	Metadata    json.RawMessage     `json:"metadata,omitempty"`
}
