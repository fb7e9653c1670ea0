package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// requestError is a request that no client could send with success. Its
// description never holds what was sent, and is made of the characters that RFC
// 6749 §5.2 allows.
type requestError struct {
	status      int
	code        string
	description string
}

func (e *requestError) Error() string { return e.description }

func badRequest(description string) error {
	return &requestError{http.StatusBadRequest, wire.ErrInvalidRequest, description}
}

var (
	errTooLarge  = &requestError{http.StatusRequestEntityTooLarge, wire.ErrInvalidRequest, "the body must be at most 16 KiB"}
	errMediaType = &requestError{http.StatusUnsupportedMediaType, wire.ErrInvalidRequest, "the Content-Type must be application/x-www-form-urlencoded"}
	errSlowBody  = &requestError{http.StatusRequestTimeout, wire.ErrInvalidRequest, "the body took too long to arrive"}
	errMethod    = &requestError{http.StatusMethodNotAllowed, wire.ErrInvalidRequest, "the method is not allowed here"}
	errNotFound  = &requestError{http.StatusNotFound, wire.ErrInvalidRequest, "there is nothing at this path"}

	errBody          = badRequest("the body could not be read")
	errForm          = badRequest("the body must be form-encoded UTF-8")
	errTooManyFields = badRequest("the form must have at most 50 parameters")
	errRepeated      = badRequest("a parameter other than audience and resource is repeated")
	errQuery         = badRequest("secrets must be in the body, never in the query")

	errTwoMethods = badRequest("the client must authenticate in one way only")
	errTwoClients = badRequest("client_id differs from the authenticated client")

	errGrantMissing = badRequest("grant_type is required")
	errGrantUnknown = &requestError{http.StatusBadRequest, wire.ErrUnsupportedGrantType, "grant_type must be " + wire.GrantTokenExchange}

	errSubject            = badRequest("subject_token is required")
	errSubjectTypeMissing = badRequest("subject_token_type is required")
	errSubjectType        = badRequest("subject_token_type must be " + wire.TypeAPIKey + " or " + wire.TypeAccessToken)
	errRequestedType      = badRequest("requested_token_type must be " + wire.TypeAccessToken + " or " + wire.TypeJWT)
	errActor              = badRequest("actor_token is not supported")
	errActorType          = badRequest("actor_token_type must not be sent without actor_token")
	errCost               = badRequest("cost must be a whole number from 1 to 999999999999999")
)

var (
	errBusy     = errors.New("too many exchanges at a time")
	errStarting = errors.New("starting")
	errPanicked = errors.New("panicked")
)

// answer is an error as the caller sees it.
type answer struct {
	status     int
	body       wire.ErrorResponse
	retryAfter int64  // whole seconds; zero: not said
	reason     string // for our log, also where the caller is not told
}

// answerFor turns an error into an answer: the only place where that is
// decided. reasons tells whether the caller may know what is wrong with a key.
//
// A refused key is invalid_request (RFC 8693 §2.2.2), with one answer for
// everything that can be wrong with the key itself. That it is spent or came too
// soon may be known: the key is good, and so is whoever holds it.
func answerFor(err error, reasons bool) answer {
	var request *requestError
	var spent *verifier.SpentError
	var limited *verifier.RateLimitedError
	var routing *echo.HTTPError
	if a, over := tooMany(err); over {
		return a
	}
	switch {
	case errors.As(err, &request):
		return say(request.status, request.code, request.description)
	case errors.Is(err, exchange.ErrClient):
		return say(http.StatusUnauthorized, wire.ErrInvalidClient, "the client could not be authenticated")
	case errors.Is(err, exchange.ErrRight):
		return say(http.StatusBadRequest, wire.ErrUnauthorizedClient, "the client has no right to do this")
	case errors.Is(err, exchange.ErrTokenType):
		return say(http.StatusBadRequest, wire.ErrUnsupportedTokenType, "only API keys can be revoked here, tokens end with their keys")
	case errors.As(err, &spent):
		return limit(wire.ReasonSpent, spent.At, spent.RefillAt)
	case errors.As(err, &limited):
		return limit(wire.ReasonRateLimited, limited.At, limited.RetryAt)
	case errors.Is(err, verifier.ErrAudience):
		return say(http.StatusBadRequest, wire.ErrInvalidTarget, "one target is needed that client and key may both use")
	case errors.Is(err, verifier.ErrPermission):
		return say(http.StatusBadRequest, wire.ErrInvalidScope, "the scope is malformed or exceeds what client and key hold")
	case errors.Is(err, verifier.ErrRefused):
		return badKey(err, reasons)
	case errors.Is(err, verifier.ErrRepeat):
		return keyReused(http.StatusBadRequest, wire.ErrInvalidRequest)
	case errors.Is(err, verifier.ErrBadRequest):
		return say(http.StatusBadRequest, wire.ErrInvalidRequest, "the request makes no sense")
	case errors.Is(err, issuer.ErrStatusesUnknown):
		a := say(http.StatusServiceUnavailable, wire.ErrTemporarilyUnavailable, "the statuses are not known now, try again")
		a.retryAfter = 1
		return a
	case errors.Is(err, issuer.ErrNoStatusList), errors.As(err, &routing) && routing.Code == http.StatusNotFound:
		return say(errNotFound.status, errNotFound.code, errNotFound.description)
	}
	return failure(err)
}

// keyReused is the answer when an idempotency key stands for another request.
func keyReused(status int, code string) answer {
	a := say(status, code, "the Idempotency-Key was used for another request")
	a.body.Reason, a.reason = wire.ReasonKeyReused, wire.ReasonKeyReused
	return a
}

// failure is the answer when we could not tell. It never looks like a bad key,
// and says whether the charge may have happened: if so, no Retry-After invites
// to pay twice.
func failure(err error) answer {
	a := say(http.StatusServiceUnavailable, wire.ErrTemporarilyUnavailable, "nothing was charged, try again")
	switch {
	case errors.Is(err, verifier.ErrOutcomeUnknown):
		a.body.Description = "the key may have been charged"
		a.body.Reason = wire.ReasonOutcomeUnknown
	case errors.Is(err, verifier.ErrUnavailable),
		errors.Is(err, issuer.ErrNoSigningKey),
		errors.Is(err, errBusy),
		errors.Is(err, errStarting),
		errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded):
		a.body.Reason = wire.ReasonUnavailable
		a.retryAfter = 1
	default:
		return say(http.StatusInternalServerError, wire.ErrServerError, "something went wrong on our side")
	}
	a.reason = a.body.Reason
	return a
}

func say(status int, code, description string) answer {
	return answer{status: status, body: wire.ErrorResponse{Error: code, Description: description}}
}

// limit refuses a good key until a time, or for good if that is zero. Both
// times are of the clock that decided.
func limit(reason string, now, until time.Time) answer {
	a := say(http.StatusTooManyRequests, wire.ErrInvalidRequest, "the limit of the key is reached")
	a.reason, a.body.Reason = reason, reason
	if !until.IsZero() {
		a.body.RetryAfterMS = max(1, roundUp(until.Sub(now), time.Millisecond))
		a.retryAfter = max(1, roundUp(until.Sub(now), time.Second))
	}
	return a
}

func roundUp(d, unit time.Duration) int64 { return int64((d + unit - 1) / unit) }

func badKey(err error, reasons bool) answer {
	a := say(http.StatusBadRequest, wire.ErrInvalidRequest, "the subject_token is not a key that can be exchanged")
	a.reason = verifier.Reason(err)
	if reasons {
		a.body.Reason = a.reason
	}
	return a
}

// write sends the answer. The challenge is on every 401 and only there: on a
// 400, some clients would see nothing but the challenge.
func (a answer) write(c echo.Context) {
	h := c.Response().Header()
	noStore(h)
	if a.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="cambio", charset="UTF-8"`) // RFC 6749 §5.2, RFC 7617 §2.1
	}
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(a.retryAfter, 10))
	}
	_ = c.JSON(a.status, a.body) // fails only if the caller has gone
}

// noStore keeps an answer out of every cache (RFC 6749 §5.1).
func noStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
}
