package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
)

// Authenticator tells what a presented token, or key, is good for. A *Client
// takes both, a *Checker tokens only. Errors are those of this package.
type Authenticator interface {
	Check(ctx context.Context, raw string) (*Token, error)
}

// Require lets through only requests whose token or key allows action on
// resource, and answers the others as RFC 6750 §3 says. It reads
// "Authorization: Bearer" and "X-API-Key", never the query. What the request
// was allowed is for the handler to read from FromContext.
//
// Caches are told that every answer depends on both headers, and one to a key in
// X-API-Key is private unless the handler says otherwise: without a word, a shared
// cache may keep it for others, as it may not where there is an Authorization (RFC
// 9111 §3.5).
//
// It panics if resource or action is empty: then it would guard nothing.
func Require(a Authenticator, resource, action string) func(http.Handler) http.Handler {
	if isNil(a) || resource == "" || action == "" {
		panic("sdk: Require needs an Authenticator, a resource and an action")
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			keepFromOthers(w.Header(), r.Header)
			token, err := Authorize(r.Context(), a, r.Header, resource, action)
			if err != nil {
				Refuse(w, a, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), token)))
		})
	}
}

// keepFromOthers has caches give the answer to nobody else. To them, X-API-Key is a
// header like any other.
func keepFromOthers(answer, request http.Header) {
	answer.Add("Vary", "Authorization, X-API-Key")
	if len(request.Values("X-Api-Key")) > 0 && answer.Get("Cache-Control") == "" {
		answer.Set("Cache-Control", "private")
	}
}

func isNil(a Authenticator) bool {
	switch v := a.(type) {
	case nil:
		return true
	case *Client:
		return v == nil
	case *Checker:
		return v == nil
	}
	return false
}

// Authorize is Require without HTTP around it, for other frameworks, and for
// permissions that depend on the request: it finds the one token or key in
// header, checks it, and fails with a *ForbiddenError if it does not allow action
// on resource. Its other errors are those of Check.
func Authorize(ctx context.Context, a Authenticator, header http.Header, resource, action string) (*Token, error) {
	needed := Permissions{resource: {action}}
	raw, err := credential(header)
	if err != nil {
		return nil, err
	}
	if resource == "" || action == "" { // nobody holds that
		return nil, &ForbiddenError{Needed: needed}
	}
	token, err := a.Check(ctx, raw)
	if err != nil {
		return nil, forbiddenHere(err, needed)
	}
	if !token.Allows(resource, action) {
		return nil, &ForbiddenError{Needed: needed}
	}
	return token, nil
}

type tokenKey struct{}

// NewContext returns ctx with token, for FromContext.
func NewContext(ctx context.Context, token *Token) context.Context {
	return context.WithValue(ctx, tokenKey{}, token)
}

// FromContext returns the token that Require let through.
func FromContext(ctx context.Context) (*Token, bool) {
	token, ok := ctx.Value(tokenKey{}).(*Token)
	return token, ok
}

var (
	errNothingSent = refused("no token or key sent")
	errAmbiguous   = refused("one token or key must be sent, in one place")
)

// credential finds the one token or key of a request. Another scheme than Bearer
// is as good as nothing (RFC 6750 §3.1).
func credential(h http.Header) (string, error) {
	authorization, keys := h.Values("Authorization"), h.Values("X-Api-Key")
	if len(authorization) > 1 || len(keys) > 1 {
		return "", errAmbiguous
	}
	key := strings.Join(keys, "")
	scheme, token, _ := strings.Cut(strings.Join(authorization, ""), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		if key == "" {
			return "", errNothingSent
		}
		return key, nil
	}
	token = strings.TrimLeft(token, " ")
	if token == "" || key != "" && key != token {
		return "", errAmbiguous
	}
	return token, nil
}

// forbiddenHere names what this place needs where a key is not for our audience.
func forbiddenHere(err error, needed Permissions) error {
	var forbidden *ForbiddenError
	if errors.As(err, &forbidden) && forbidden.Needed == nil {
		return &ForbiddenError{Needed: needed, Audience: forbidden.Audience}
	}
	return err
}

// Refuse answers a request that err keeps from being served: 401, 403, 429, 503, or
// 400 if it carried more than one token or key (RFC 6750 §3). The error of Check, of
// Authorize or of VerifyAPIKey is fine, and so is a *ForbiddenError of your own. The
// answer says nothing about a token or key but what its holder may know. a is
// who was asked: a challenge points to the metadata that it publishes.
func Refuse(w http.ResponseWriter, a Authenticator, err error) {
	var (
		forbidden *ForbiddenError
		limited   *LimitedError
		away      *UnavailableError
	)
	switch {
	case errors.Is(err, errNothingSent):
		challenge(w, a, http.StatusUnauthorized, "", "")
	case errors.Is(err, errAmbiguous):
		challenge(w, a, http.StatusBadRequest, "invalid_request", "")
	case errors.As(err, &forbidden):
		challenge(w, a, http.StatusForbidden, "insufficient_scope", permission.Scope(forbidden.Needed))
	case errors.As(err, &limited):
		if !limited.RetryAt.IsZero() {
			waitFor(w, limited.RetryAfter)
		}
		body(w, http.StatusTooManyRequests, limited.Reason)
	case errors.Is(err, ErrRefused):
		challenge(w, a, http.StatusUnauthorized, "invalid_token", "")
	case errors.As(err, &away):
		waitFor(w, away.RetryAfter)
		body(w, http.StatusServiceUnavailable, wire.ErrTemporarilyUnavailable)
	case errors.Is(err, ErrUnavailable):
		waitFor(w, 0)
		body(w, http.StatusServiceUnavailable, wire.ErrTemporarilyUnavailable)
	default:
		body(w, http.StatusInternalServerError, wire.ErrServerError)
	}
}

// challenge writes WWW-Authenticate (RFC 6750 §3, RFC 9728 §5.1). Attributes that
// are empty are left out.
func challenge(w http.ResponseWriter, a Authenticator, status int, code, scope string) {
	metadata := ""
	if publisher, ok := a.(interface{ metadataURL() string }); ok {
		metadata = publisher.metadataURL()
	}
	value := `Bearer realm="api"`
	for _, attribute := range [][2]string{{"error", code}, {"scope", scope}, {"resource_metadata", metadata}} {
		if attribute[1] != "" {
			value += ", " + attribute[0] + `="` + attribute[1] + `"`
		}
	}
	w.Header().Set("WWW-Authenticate", value)
	body(w, status, code)
}

// waitFor rounds up to whole seconds, and asks for one at least.
func waitFor(w http.ResponseWriter, d time.Duration) {
	seconds := max(1, int64(math.Ceil(d.Seconds())))
	w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
}

// body answers in place of whatever a handler has prepared.
func body(w http.ResponseWriter, status int, code string) {
	for _, name := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified"} {
		w.Header().Del(name)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", wire.MediaJSON)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Error string `json:"error,omitempty"`
	}{code}) // fails only if the caller is gone
}
