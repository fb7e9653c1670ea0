package sdk

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

// longestWait is what a longer time to wait is taken for.
const longestWait = 400 * 24 * time.Hour

// readToken takes the token out of a successful answer (RFC 8693 §2.2.1). Of what
// stands beside it only the type matters: for how long and for what it is good,
// the token itself says.
func readToken(body string) (string, error) {
	var token, kind string
	var r jsonReader
	r.read(body)
	for r.open('{'); r.more('}'); {
		switch r.name() {
		case "access_token":
			token = r.text()
		case "token_type":
			kind = r.text()
		default:
			r.skip()
		}
	}
	if r.end() != nil || token == "" || !strings.EqualFold(kind, "Bearer") {
		return "", &UnavailableError{cause: errors.New("token endpoint answers 200 without a bearer token"), charged: true}
	}
	return token, nil
}

// readError reads any other answer (RFC 6749 §5.2). Where it is not what an issuer
// says, since it is no JSON or says a thing twice, the status alone speaks.
func readError(body string) wire.ErrorResponse {
	var said wire.ErrorResponse
	var r jsonReader
	r.read(body)
	for r.open('{'); r.more('}'); {
		switch r.name() {
		case "error":
			said.Error = textIf(&r)
		case "reason":
			said.Reason = textIf(&r)
		case "retry_after_ms":
			// What is out of range becomes the greatest there is.
			n, err := strconv.ParseInt(r.value(), 10, 64)
			if err == nil || errors.Is(err, strconv.ErrRange) {
				said.RetryAfterMS = n
			}
		default:
			r.skip()
		}
	}
	if r.end() != nil {
		return wire.ErrorResponse{}
	}
	return said
}

// textIf reads a text, and takes any other value for none.
func textIf(r *jsonReader) string {
	if r.next() == '"' {
		return r.text()
	}
	r.skip()
	return ""
}

var errKeyRefused = refused("API key not accepted")

// refusal turns an answer other than 200 into an error. What the issuer says of
// us, its client, is never taken for a word about the key.
func (e *exchanger) refusal(a answer, said wire.ErrorResponse) error {
	wait, told := retryAfter(a.header, said.RetryAfterMS, e.now())
	switch a.status {
	case http.StatusBadRequest:
		switch said.Error {
		case wire.ErrInvalidRequest:
			return errKeyRefused
		case wire.ErrInvalidTarget, wire.ErrInvalidScope:
			return &ForbiddenError{Audience: e.audience}
		}
	case http.StatusTooManyRequests:
		if said.Error == wire.ErrInvalidRequest && (said.Reason == ReasonSpent || said.Reason == ReasonRateLimited) {
			return e.limited(said.Reason, wait, told)
		}
		return e.later(errors.New("token endpoint: too many attempts"), wait, told)
	case http.StatusServiceUnavailable:
		if said.Reason == wire.ReasonUnavailable {
			return e.later(errNothingCharged, wait, told)
		}
		return e.unknown(errors.New("token endpoint: outcome unknown"), wait, told)
	}
	if who := refusesUs(a.status, said.Error); who != "" {
		return e.later(fmt.Errorf("the issuer refuses this client (%s): check ClientID, ClientSecret (or its key or certificate) and its rights", who), 0, false)
	}
	cause := fmt.Errorf("token endpoint answers %d", a.status)
	if a.status < 300 || a.status >= 500 {
		return e.unknown(cause, wait, told)
	}
	return e.later(cause, wait, told)
}

// limited refuses a key for its budget.
func (e *exchanger) limited(reason string, wait time.Duration, told bool) error {
	limited := &LimitedError{Reason: reason}
	if told {
		limited.RetryAfter, limited.RetryAt = wait, e.now().Add(wait)
	}
	return limited
}

// later is an ErrUnavailable that says when to come back, and has charged nothing.
func (e *exchanger) later(cause error, wait time.Duration, told bool) error {
	if !told {
		wait = defaultBackOff
	}
	return &UnavailableError{cause: cause, RetryAfter: wait, retryAt: e.now().Add(wait)}
}

// unknown is an ErrUnavailable that may have been charged.
func (e *exchanger) unknown(cause error, wait time.Duration, told bool) error {
	away := &UnavailableError{cause: cause, charged: true}
	if told {
		away.RetryAfter, away.retryAt = wait, e.now().Add(wait)
	}
	return away
}

// refusesUs names how an answer says that our client is at fault, if it does.
func refusesUs(status int, code string) string {
	switch code {
	case wire.ErrInvalidClient, wire.ErrUnauthorizedClient, wire.ErrUnsupportedGrantType:
		return code
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return strconv.Itoa(status)
	}
	return ""
}

// retryAfter prefers our own milliseconds to the header's seconds or date (RFC
// 9110 §10.2.3). A date is of the clock that wrote it, which is not ours.
func retryAfter(h http.Header, ms int64, now time.Time) (wait time.Duration, told bool) {
	if ms > 0 {
		return time.Duration(min(ms, longestWait.Milliseconds())) * time.Millisecond, true
	}
	header := h.Get("Retry-After")
	if n, err := strconv.ParseUint(header, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(n, uint64(longestWait/time.Second))) * time.Second, true
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(0, at.Sub(now)), longestWait), true
}
