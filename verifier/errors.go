package verifier

import (
	"errors"
	"fmt"
	"time"
)

// ErrRefused is wrapped by every refusal: we said no, nothing was charged, and
// asking again without a change gives the same answer.
var ErrRefused = errors.New("key refused")

// Refusals that say something about the key itself. They are for our own log;
// a caller is told them apart only by right.
var (
	ErrMalformed     = fmt.Errorf("%w: malformed", ErrRefused)
	ErrUnknown       = fmt.Errorf("%w: unknown", ErrRefused)
	ErrWrongKeyspace = fmt.Errorf("%w: wrong keyspace", ErrRefused)
	ErrRevoked       = fmt.Errorf("%w: revoked", ErrRefused)
	ErrDisabled      = fmt.Errorf("%w: disabled", ErrRefused)
	ErrExpired       = fmt.Errorf("%w: expired", ErrRefused)
)

// Refusals of a good key: it is not for this audience, or does not hold what
// was asked.
var (
	ErrAudience   = fmt.Errorf("%w: audience not allowed", ErrRefused)
	ErrPermission = fmt.Errorf("%w: permission not held", ErrRefused)
)

// SpentError refuses a good key whose remaining uses do not cover the cost.
type SpentError struct {
	At       time.Time // when this was decided, by the database's clock
	RefillAt time.Time // when a refill will cover the cost; zero: never
}

func (*SpentError) Error() string { return "key refused: spent" }
func (*SpentError) Unwrap() error { return ErrRefused }

// RateLimitedError refuses a good key that came too soon.
type RateLimitedError struct {
	At      time.Time // when this was decided, by the database's clock
	RetryAt time.Time // zero: the cost exceeds the burst, so never
}

func (*RateLimitedError) Error() string { return "key refused: rate limited" }
func (*RateLimitedError) Unwrap() error { return ErrRefused }

// We could not tell. Neither says anything about the key.
var (
	// ErrUnavailable: the store did not answer. Nothing was charged.
	ErrUnavailable = errors.New("key store unavailable")
	// ErrOutcomeUnknown: the connection broke during the commit. The charge may
	// have happened, so it is never tried again.
	ErrOutcomeUnknown = errors.New("outcome of the charge unknown")
)

// ErrBadRecord is wrapped by errors of stores about a key that cannot be read
// or written as it stands.
var ErrBadRecord = errors.New("stored record is damaged")

// ErrClientChanged means that the client is another than when it was read.
// Nothing was charged; read it again, and decide anew whether it may call.
var ErrClientChanged = errors.New("client changed meanwhile")

// ErrBadRequest marks a request that no key could satisfy: a cost below one
// without peeking, or malformed permissions.
var ErrBadRequest = errors.New("bad request")

// BadKey reports whether err refuses a key for what it is, whatever was asked for:
// all that Verify tells of it is which key it was, if any.
func BadKey(err error) bool {
	for _, bad := range []error{ErrMalformed, ErrUnknown, ErrWrongKeyspace, ErrRevoked, ErrDisabled, ErrExpired} {
		if errors.Is(err, bad) {
			return true
		}
	}
	return false
}

// Reason names why err refuses, in one word for logs, counters and those who
// may know; empty if it is no refusal.
func Reason(err error) string {
	var spent *SpentError
	var limited *RateLimitedError
	switch {
	case errors.As(err, &spent):
		return "spent"
	case errors.As(err, &limited):
		return "rate_limited"
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	return ""
}

var reasons = []struct {
	err  error
	word string
}{
	{ErrMalformed, "malformed"},
	{ErrUnknown, "unknown"},
	{ErrWrongKeyspace, "wrong_keyspace"},
	{ErrRevoked, "revoked"},
	{ErrDisabled, "disabled"},
	{ErrExpired, "expired"},
	{ErrAudience, "audience"},
	{ErrPermission, "permission"},
}
