package sdk

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Permissions map a resource to the actions allowed on it. Names are exact and
// case-sensitive; there are no patterns.
type Permissions map[string][]string

// Token is what a checked token says (RFC 9068 §2.2), or what the issuer answers to
// a call that was Online. It is shared by all who present the same one, and what it
// says cannot be changed. A nil or zero Token allows nothing.
//
// Issuer and Subject belong together: a subject means something to its issuer
// only.
type Token struct{ v *verified }

// verified is a set of claims together with the key that signed them, nil for an
// answer Online. It is shared by everybody who presents the same token, so nobody writes to it.
type verified struct {
	claims
	key    *publicKey
	status *statusSource // nil: the token has none
	budget *Budget       // nil: this is a token, and does not say
	shared Token         // what callers are given, so that a hit allocates nothing
}

func newVerified(said claims, key *publicKey, status *statusSource) *verified {
	v := &verified{claims: said, key: key, status: status}
	v.shared.v = v
	return v
}

// token returns the one to share. Whoever overwrites it spoils it for nobody who
// comes later.
func (v *verified) token() *Token {
	if v.shared.v != v {
		return &Token{v}
	}
	return &v.shared
}

type claims struct {
	issuer, subject, audience, clientID string
	id, scope, keyID, keyspace          string
	issuedAt, expiresAt, notBefore      int64 // seconds since 1970
	permissions                         map[string][]string
	statusURI                           string // "": none
	statusIndex                         int64
	metadata                            string
}

func (t *Token) claims() *claims {
	if t == nil || t.v == nil {
		return &claims{}
	}
	return &t.v.claims
}

// Allows reports whether the token carries action on resource.
func (t *Token) Allows(resource, action string) bool {
	return t != nil && t.v != nil && slices.Contains(t.v.permissions[resource], action)
}

// Permissions returns a copy of all that the token carries.
func (t *Token) Permissions() Permissions {
	held := Permissions(maps.Clone(t.claims().permissions))
	for resource, actions := range held {
		held[resource] = slices.Clone(actions)
	}
	return held
}

// Issuer is who signed the token (iss).
func (t *Token) Issuer() string { return t.claims().issuer }

// Subject is the owner of the key, or the key itself if it has none (sub).
func (t *Token) Subject() string { return t.claims().subject }

// Audience is the one that this token was checked for (aud).
func (t *Token) Audience() string { return t.claims().audience }

// ClientID is the program that exchanged the key (client_id).
func (t *Token) ClientID() string { return t.claims().clientID }

// ID is unique to this token (jti). An answer Online has none.
func (t *Token) ID() string { return t.claims().id }

// Scope is the scope claim as it stands. It may say less than Permissions.
func (t *Token) Scope() string { return t.claims().scope }

// KeyID names the API key behind the token; it is safe to log (key_id).
func (t *Token) KeyID() string { return t.claims().keyID }

// Keyspace is the group of keys that the key belongs to (keyspace).
func (t *Token) Keyspace() string { return t.claims().keyspace }

// IssuedAt is when the token was signed (iat); zero for an answer Online.
func (t *Token) IssuedAt() time.Time { return instant(t.claims().issuedAt) }

// ExpiresAt is the instant from which the token is refused, leeway aside (exp). For
// an answer Online it is the second in which the key expires; zero: never.
func (t *Token) ExpiresAt() time.Time { return instant(t.claims().expiresAt) }

// Metadata is a copy of the JSON that came with the key, nil if there is none.
func (t *Token) Metadata() json.RawMessage {
	if t.claims().metadata == "" {
		return nil
	}
	return json.RawMessage(t.claims().metadata)
}

func instant(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
