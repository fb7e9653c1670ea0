package sdktest

import (
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/sdk"
)

// Key is an API key that the token endpoint exchanges, and that can be verified
// Online.
type Key struct {
	Key         string          // the key itself; zero: a random one
	ID          string          // zero: "key_1"
	Owner       string          // the token's sub; zero: "user_1"
	Keyspace    string          // zero: "default"
	Permissions sdk.Permissions // zero: none
	Lifetime    time.Duration   // of its tokens; zero: 5 min
	Metadata    any             // anything that marshals to JSON; zero: no such claim

	Limited    bool          // whether Uses counts; zero: no limit
	Uses       int           // charges left, if Limited: of 1 by an exchange, of its Cost by an Online call
	RetryAfter time.Duration // told once they are gone; zero: never again
}

// AddKey registers a key, replacing one of the same text, and returns its text.
func (i *Issuer) AddKey(key Key) string {
	if key.Key == "" {
		key.Key = "ck_" + rand.Text()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys[key.Key] = &key
	return key.Key
}

// RemoveKey makes the issuer refuse a key.
func (i *Issuer) RemoveKey(key string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.keys, key)
}

// token is the exchange: as small as it can be, with the answers of the real one.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	if !authenticated(r) {
		w.Header().Set("WWW-Authenticate", challenge)
		reply(w, http.StatusUnauthorized, wire.ErrorResponse{Error: wire.ErrInvalidClient})
		return
	}
	field := r.PostFormValue
	switch {
	case field(wire.FieldGrantType) != wire.GrantTokenExchange:
		reply(w, http.StatusBadRequest, wire.ErrorResponse{Error: wire.ErrUnsupportedGrantType})
		return
	case field(wire.FieldAudience) == "":
		reply(w, http.StatusBadRequest, wire.ErrorResponse{Error: wire.ErrInvalidTarget})
		return
	}
	key, ok := i.charge(field(wire.FieldSubjectToken), field(wire.FieldKeyspace))
	switch {
	case !ok || field(wire.FieldSubjectTokenType) != wire.TypeAPIKey:
		reply(w, http.StatusBadRequest, wire.ErrorResponse{Error: wire.ErrInvalidRequest})
	case key.Limited && key.Uses < 0:
		if key.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((key.RetryAfter+time.Second-1)/time.Second)))
		}
		reply(w, http.StatusTooManyRequests, wire.ErrorResponse{
			Error: wire.ErrInvalidRequest, Reason: wire.ReasonSpent, RetryAfterMS: key.RetryAfter.Milliseconds(),
		})
	default:
		i.grant(w, key, field(wire.FieldAudience))
	}
}

// charge takes one use and returns the key as it is after; Uses is negative if
// there was none.
func (i *Issuer) charge(text, keyspace string) (Key, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := i.keys[text]
	if key == nil {
		return Key{}, false
	}
	charged := *key
	charged.Keyspace = charged.keyspace()
	if keyspace != "" && keyspace != charged.Keyspace {
		return Key{}, false
	}
	charged.Uses--
	key.Uses = max(0, charged.Uses)
	return charged, true
}

func (i *Issuer) grant(w http.ResponseWriter, key Key, audience string) {
	lifetime := key.Lifetime
	if lifetime == 0 {
		lifetime = 5 * time.Minute
	}
	held := map[string][]string{}
	maps.Copy(held, key.Permissions)
	claims := i.Claims(audience)
	claims["exp"] = i.Now().Add(lifetime).Unix()
	claims["permissions"], claims["scope"] = held, permission.Scope(held)
	claims["keyspace"] = key.Keyspace
	if status := i.statusClaim(key.Key); status != nil {
		claims["status"] = status
	}
	if key.ID != "" {
		claims["key_id"] = key.ID
	}
	if key.Owner != "" {
		claims["sub"] = key.Owner
	}
	if key.Metadata != nil {
		claims["metadata"] = key.Metadata
	}
	reply(w, http.StatusOK, wire.TokenResponse{
		AccessToken: i.Mint(claims), IssuedTokenType: wire.TypeAccessToken, TokenType: "Bearer",
		ExpiresIn: int64(lifetime / time.Second), Scope: permission.Scope(held),
	})
}

const challenge = `Basic realm="sdktest", charset="UTF-8"`

func authenticated(r *http.Request) bool {
	id, secret, _ := r.BasicAuth()
	return unescape(id) == ClientID && unescape(secret) == ClientSecret
}

// unescape undoes the form encoding of RFC 6749 §2.3.1.
func unescape(s string) string {
	plain, err := url.QueryUnescape(s)
	if err != nil {
		return ""
	}
	return plain
}
