package sdk

import (
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
)

var (
	// ErrRefused says that the token or key is not good: answer 401, or look for
	// a *ForbiddenError (403) or a *LimitedError (429) that wraps it.
	ErrRefused = errors.New("refused")

	// ErrUnavailable says that we could not tell: answer 503. An
	// *UnavailableError that wraps it may know when to try again.
	ErrUnavailable = errors.New("unavailable")
)

// Reasons of a LimitedError.
const (
	ReasonSpent       = wire.ReasonSpent       // no uses remain
	ReasonRateLimited = wire.ReasonRateLimited // too many exchanges in a while
)

// ForbiddenError refuses a good key or token that does not reach this far:
// answer 403. It wraps ErrRefused.
type ForbiddenError struct {
	Needed   Permissions // what was asked and is not held; nil: the audience is the matter
	Audience string      // the audience that the key may not be exchanged for, if that is the matter
}

func (e *ForbiddenError) Error() string {
	if e.Audience != "" {
		return fmt.Sprintf("%v: forbidden for audience %q", ErrRefused, e.Audience)
	}
	return fmt.Sprintf("%v: forbidden, needs %s", ErrRefused, permission.Scope(e.Needed))
}

// Unwrap returns ErrRefused.
func (e *ForbiddenError) Unwrap() error { return ErrRefused }

// LimitedError refuses a good key whose budget does not allow an exchange now:
// answer 429. It wraps ErrRefused.
type LimitedError struct {
	Reason     string        // ReasonSpent or ReasonRateLimited
	RetryAt    time.Time     // when it may succeed, by our clock; zero: not by waiting
	RetryAfter time.Duration // the same, from the moment of this answer
}

func (e *LimitedError) Error() string {
	if e.RetryAt.IsZero() {
		return fmt.Sprintf("%v: %s", ErrRefused, e.Reason)
	}
	return fmt.Sprintf("%v: %s, retry in %v", ErrRefused, e.Reason, e.RetryAfter)
}

// Unwrap returns ErrRefused.
func (e *LimitedError) Unwrap() error { return ErrRefused }

// UnavailableError says what kept us from telling. It wraps ErrUnavailable and
// its cause.
type UnavailableError struct {
	RetryAfter time.Duration // wait at least this long; zero: not known

	cause   error
	retryAt time.Time
	charged bool // an exchange may have been charged: do not repeat it unasked
}

func (e *UnavailableError) Error() string {
	if e.cause == nil {
		return ErrUnavailable.Error()
	}
	return ErrUnavailable.Error() + ": " + e.cause.Error()
}

// Unwrap returns ErrUnavailable and the cause.
func (e *UnavailableError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrUnavailable}
	}
	return []error{ErrUnavailable, e.cause}
}

func unavailable(cause error) *UnavailableError { return &UnavailableError{cause: cause} }

// refused makes the errors of this package that say no without data.
func refused(why string) error { return fmt.Errorf("%w: %s", ErrRefused, why) }

// renew returns a copy of err whose waiting time counts from now, for an error
// that is answered to several callers: none can spoil it for the others.
func renew(err error, now time.Time) error {
	var limited *LimitedError
	if errors.As(err, &limited) {
		again := *limited
		again.RetryAfter = until(again.RetryAt, now)
		return &again
	}
	var away *UnavailableError
	if errors.As(err, &away) {
		again := *away
		again.RetryAfter = until(again.retryAt, now)
		return &again
	}
	var forbidden *ForbiddenError
	if errors.As(err, &forbidden) {
		again := *forbidden
		return &again
	}
	return err
}

func until(t, now time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(0, t.Sub(now))
}
