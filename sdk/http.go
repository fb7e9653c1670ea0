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
// It panics if resource or action is empty: then it would guard nothing.
func Require(a Authenticator, resource, action string) func(http.Handler) http.Handler {
	if a == nil || resource == "" || action == "" {
		panic("sdk: Require needs an Authenticator, a resource and an action")
	}
	needed := Permissions{resource: {action}}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, err := credential(r.Header)
			if err != nil {
				answer(w, err)
				return
			}
			token, err := a.Check(r.Context(), raw)
			if err == nil && !token.Allows(resource, action) {
				err = &ForbiddenError{Needed: needed}
			}
			if err != nil {
				answer(w, forbiddenHere(err, needed))
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tokenKey{}, token)))
		})
	}
}

type tokenKey struct{}

// FromContext returns the token that Require let through.
func FromContext(ctx context.Context) (*Token, bool) {
	token, ok := ctx.Value(tokenKey{}).(*Token)
	return token, ok
}

var (
	errNothingSent = errors.New("no token or key sent")
	errAmbiguous   = errors.New("one token or key must be sent, in one place")
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

// answer is the one place where an error becomes a response.
func answer(w http.ResponseWriter, err error) {
	var (
		forbidden *ForbiddenError
		limited   *LimitedError
		away      *UnavailableError
	)
	switch {
	case errors.Is(err, errNothingSent):
		challenge(w, http.StatusUnauthorized, "")
	case errors.Is(err, errAmbiguous):
		challenge(w, http.StatusBadRequest, "invalid_request")
	case errors.As(err, &forbidden):
		challenge(w, http.StatusForbidden, "insufficient_scope", "scope", permission.Scope(forbidden.Needed))
	case errors.As(err, &limited):
		if !limited.RetryAt.IsZero() {
			waitFor(w, limited.RetryAfter)
		}
		body(w, http.StatusTooManyRequests, limited.Reason)
	case errors.Is(err, ErrRefused):
		challenge(w, http.StatusUnauthorized, "invalid_token")
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

// challenge writes WWW-Authenticate, whose attributes come in pairs; an empty
// value, or an empty code, is left out.
func challenge(w http.ResponseWriter, status int, code string, attributes ...string) {
	value := `Bearer realm="api"`
	attributes = append([]string{"error", code}, attributes...)
	for i := 0; i < len(attributes); i += 2 {
		if attributes[i+1] != "" {
			value += ", " + attributes[i] + `="` + attributes[i+1] + `"`
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

func body(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", wire.MediaJSON)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Error string `json:"error,omitempty"`
	}{code}) // fails only if the caller is gone
}
