package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

var errForbidden = &requestError{http.StatusForbidden, "", "the client has no right to do this"}

// fieldsError names all that is wrong with what was sent. It may repeat what the
// caller said, so it is never logged.
type fieldsError struct {
	status int
	fields []wire.FieldProblem
}

func (*fieldsError) Error() string { return "what was sent is not what is asked for" }

// refusals of manage, each with its answer. The first that fits is given.
var managedRefusals = []struct {
	err    error
	status int
	detail string
}{
	{manage.ErrDeleted, http.StatusGone, "the key is deleted"},
	{manage.ErrNotFound, http.StatusNotFound, "there is nothing of that name or id"},
	{manage.ErrForbidden, http.StatusForbidden, "it exceeds what the client itself holds"},
	{manage.ErrExists, http.StatusConflict, "it exists already"},
	{manage.ErrInUse, http.StatusConflict, "it is in use"},
	{manage.ErrRevoked, http.StatusConflict, "the key is revoked, which is final"},
	{manage.ErrReplaced, http.StatusConflict, "the key was rotated before: rotate its successor"},
	{manage.ErrNotGood, http.StatusConflict, "the key is disabled or expired"},
	{manage.ErrTwoSecrets, http.StatusConflict, "there are two secrets already: revoke one first"},
	{manage.ErrNoCredential, http.StatusConflict, "nothing would be left to authenticate with: add a secret or a key first, or disable the client"},
	{manage.ErrLastSecret, http.StatusConflict, "it is the only secret: add another first, or disable the client"},
	{issuer.ErrUnknownKID, http.StatusNotFound, "there is no signing key of that kid"},
	{issuer.ErrNoPending, http.StatusConflict, "no key waits to sign; the server makes one within a second"},
	{manage.ErrChanged, http.StatusPreconditionFailed, "it was changed meanwhile: read it again"},
}

// problemFor is answerFor for the management API: the only place where it is decided
// what an error is to a caller.
func problemFor(err error) (answer, []wire.FieldProblem) {
	var fields *fieldsError
	var request *requestError
	if a, over := tooMany(err); over {
		return a, nil
	}
	switch {
	case errors.As(err, &fields):
		return say(fields.status, "", fields.Error()), fields.fields
	case errors.Is(err, manage.ErrInvalid):
		return say(http.StatusUnprocessableEntity, "", "what was sent cannot be done"), invalidFields(err)
	case errors.As(err, &request):
		return say(request.status, request.code, request.description), nil
	case errors.Is(err, exchange.ErrClient):
		return say(http.StatusUnauthorized, wire.ErrInvalidClient, "the client could not be authenticated"), nil
	case errors.Is(err, manage.ErrRepeat), errors.Is(err, verifier.ErrRepeat):
		return keyReused(http.StatusUnprocessableEntity, ""), nil
	case errors.Is(err, verifier.ErrOutcomeUnknown):
		a := failure(err)
		a.body.Description = "it may have been done: repeat it with the same Idempotency-Key, or look"
		return a, nil
	}
	for _, r := range managedRefusals {
		if errors.Is(err, r.err) {
			return say(r.status, "", r.detail), nil
		}
	}
	return managedFailure(err), nil
}

// managedFailure is the answer when nothing was done. What a store fails with, and
// nobody here knows, is taken for a store that is away.
func managedFailure(err error) answer {
	var routing *echo.HTTPError
	if errors.As(err, &routing) || errors.Is(err, errPanicked) || errors.Is(err, verifier.ErrBadRecord) {
		return answerFor(err, false)
	}
	a := failure(fmt.Errorf("%w: %w", verifier.ErrUnavailable, err))
	a.body.Description = "nothing was done, try again"
	return a
}

// invalidFields finds every InvalidError in a tree of errors.
func invalidFields(err error) []wire.FieldProblem {
	if invalid, ok := err.(*manage.InvalidError); ok { //nolint:errorlint // the tree is walked here
		return []wire.FieldProblem{{Field: invalid.Field, Detail: invalid.Reason.Error()}}
	}
	var below []error
	switch e := err.(type) { //nolint:errorlint // likewise
	case interface{ Unwrap() []error }:
		below = e.Unwrap()
	case interface{ Unwrap() error }:
		below = []error{e.Unwrap()}
	}
	var all []wire.FieldProblem
	for _, e := range below {
		all = append(all, invalidFields(e)...)
	}
	return all
}

// refuseManaged answers with a problem, and logs it.
func (s *Server) refuseManaged(r *request, err error) {
	err = s.judged(r.call, err)
	refusal, fields := problemFor(err)
	writeProblem(r.echo, refusal, fields)
	s.logRefused(r.echo.Request().Context(), r.call, refusal, withoutIDs(r, err))
}

// withoutIDs takes what stands in the path out of the text of an error: it may be a
// key, if somebody took one for its id.
func withoutIDs(r *request, err error) error {
	text := err.Error()
	for _, id := range r.echo.ParamValues() {
		if id != "" {
			text = strings.ReplaceAll(text, id, "[id]")
		}
	}
	if text == err.Error() {
		return err
	}
	return &hiding{text, err}
}

// hiding is an error that says something else than the one it wraps.
type hiding struct {
	text string
	err  error
}

func (h *hiding) Error() string { return h.text }
func (h *hiding) Unwrap() error { return h.err }

// writeProblem sends a problem (RFC 9457 §3).
func writeProblem(c echo.Context, a answer, fields []wire.FieldProblem) {
	h := c.Response().Header()
	noStore(h)
	h.Set("Content-Type", wire.MediaProblem)
	if a.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="cambio", charset="UTF-8"`)
	}
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(a.retryAfter, 10))
	}
	c.Response().WriteHeader(a.status)
	_ = json.NewEncoder(c.Response()).Encode(wire.Problem{ // fails only if the caller has gone
		Title: http.StatusText(a.status), Status: a.status, Detail: a.body.Description, Reason: a.body.Reason, Errors: fields,
	})
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}
