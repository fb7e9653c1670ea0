package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/failures"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// tooManyError refuses what was wrong, of a caller of whom too much was wrong before.
// It wraps why, so that counts stay right, and the caller is not told.
type tooManyError struct {
	err  error
	wait time.Duration
}

func (*tooManyError) Error() string   { return "too many attempts failed" }
func (e *tooManyError) Unwrap() error { return e.err }

// tried is what a call was made with, to know it when it comes again.
type tried struct {
	credentials *failures.Attempt // nil: none
	key         string            // as sent
}

// attempted is the attempt to authenticate that a request is, if it is one. A secret is
// the same in a header and in a form: there are clients that try the other way next. A
// request without credentials is none, since many clients wait for the challenge.
func attempted(h http.Header, f form) *failures.Attempt {
	header := h.Get("Authorization")
	id, secret, ok := parseBasic(header)
	if !ok {
		id, secret = f.get(wire.FieldClientID), f.get(wire.FieldClientSecret)
	} else {
		header = ""
	}
	assertion := f.get(wire.FieldClientAssertion)
	if header == "" && id == "" && secret == "" && assertion == "" {
		return nil
	}
	attempt := failures.AttemptOf(header, id, secret, assertion)
	return &attempt
}

// judged counts what failed, and turns it into a tooManyError where too much has: a
// failure to authenticate by the address, a bad key by the client and the address. Any
// other error is returned as it is.
func (s *Server) judged(c *call, err error) error {
	var wait time.Duration
	var over *tooManyError
	switch {
	case errors.As(err, &over): // already
	case errors.Is(err, exchange.ErrClient) && c.tried.credentials != nil:
		wait = s.failures.Failed(failures.SubjectOf("", c.remote), *c.tried.credentials)
	case verifier.BadKey(err) && c.guesses():
		wait = s.failures.Guessed(failures.SubjectOf(c.client.ID, c.remote), failures.AttemptOf(c.tried.key))
	case verifier.BadKey(err):
		wait = s.failures.Failed(failures.SubjectOf(c.client.ID, c.remote), failures.AttemptOf(c.tried.key))
	}
	if wait > 0 {
		return &tooManyError{err, wait}
	}
	return err
}

// guesses reports whether what the client has presented may be somebody's guess: it may
// use keys that can be guessed, and this is no key of our own form, none of which can.
func (c *call) guesses() bool {
	return c.client.WeakKeys && !exchange.LooksLikeJWT(c.tried.key) && !verifier.WellFormed(verifier.NewSecret(c.tried.key))
}

// held refuses a guess unseen where too many have failed, also one that is right:
// otherwise the limit would slow no guessing down. key is what was presented.
func (s *Server) held(c *call, key string) error {
	c.tried.key = key
	if !c.guesses() {
		return nil
	}
	if wait := s.failures.Hold(failures.SubjectOf(c.client.ID, c.remote)); wait > 0 {
		return &tooManyError{verifier.ErrUnknown, wait}
	}
	return nil
}

// missed counts a guess unless it has found something, where it is otherwise no error.
func (s *Server) missed(c *call, found bool) error {
	var over *tooManyError
	if !found && c.guesses() && errors.As(s.judged(c, verifier.ErrUnknown), &over) {
		return over
	}
	return nil
}

// tooMany is the answer to a tooManyError, the same for all that can be wrong.
func tooMany(err error) (answer, bool) {
	var over *tooManyError
	if !errors.As(err, &over) {
		return answer{}, false
	}
	a := say(http.StatusTooManyRequests, wire.ErrTemporarilyUnavailable, "too many attempts failed, try again later")
	a.retryAfter = max(1, roundUp(over.wait.Truncate(time.Microsecond), time.Second))
	return a, true
}
