package sdk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

const (
	maxAnswer      = 64 << 10        // bytes of an answer of the token endpoint
	maxPatience    = 2 * time.Second // the longest pause before an exchange is repeated
	firstPause     = 100 * time.Millisecond
	maxAttempts    = 3
	defaultBackOff = time.Second // where an answer asks to wait and does not say how long
)

// exchanger speaks RFC 8693 with the issuer: an API key in, an access token out.
type exchanger struct {
	url           string
	authorization Secret // the header: id and secret are never kept apart from it
	audience      string
	http          *http.Client
	now           func() time.Time
}

// basicAuth encodes id and secret apart, then joins them (RFC 6749 §2.3.1).
func basicAuth(id, secret string) Secret {
	pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
	return NewSecret("Basic " + base64.StdEncoding.EncodeToString([]byte(pair)))
}

// exchange returns the token for key. It repeats only what the issuer says has
// charged nothing: never an unknown outcome, never a cut connection.
func (e *exchanger) exchange(ctx context.Context, key, keyspace string) (string, error) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		token, err := e.post(ctx, key, keyspace)
		var away *UnavailableError
		if !errors.As(err, &away) || !errors.Is(err, errNothingCharged) {
			return token, err
		}
		wait := max(pause, away.RetryAfter)
		if attempt == maxAttempts || wait > maxPatience || !sleep(ctx, wait) {
			return "", renew(err, e.now())
		}
		pause *= 2
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (e *exchanger) post(ctx context.Context, key, keyspace string) (string, error) {
	form := url.Values{
		wire.FieldGrantType:        {wire.GrantTokenExchange},
		wire.FieldSubjectToken:     {key},
		wire.FieldSubjectTokenType: {wire.TypeAPIKey},
		wire.FieldAudience:         {e.audience},
	}
	if keyspace != "" {
		form.Set(wire.FieldKeyspace, keyspace)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader(form.Encode()))
	if err != nil {
		return "", unavailable(err)
	}
	req.Header.Set("Content-Type", wire.MediaForm)
	req.Header.Set("Accept", wire.MediaJSON)
	req.Header.Set("Authorization", e.authorization.reveal())
	resp, err := e.http.Do(req)
	if err != nil {
		return "", &UnavailableError{cause: err, charged: true}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readAtMost(resp.Body, maxAnswer)
	if err != nil {
		return "", &UnavailableError{cause: fmt.Errorf("token endpoint: %w", err), charged: true}
	}
	if resp.StatusCode == http.StatusOK {
		return readTokenResponse(body)
	}
	return "", e.refusal(resp, body)
}

func readTokenResponse(body []byte) (string, error) {
	var answer wire.TokenResponse
	// The decoder's error may quote what it read.
	if json.Unmarshal(body, &answer) != nil || answer.AccessToken == "" || !strings.EqualFold(answer.TokenType, "Bearer") {
		return "", &UnavailableError{cause: errors.New("token endpoint answers 200 without a bearer token"), charged: true}
	}
	return answer.AccessToken, nil
}

var (
	errKeyRefused     = refused("API key not accepted")
	errNothingCharged = errors.New("token endpoint: nothing was charged")
)

// refusal turns an answer other than 200 into an error. What the issuer says of
// us, its client, is never taken for a word about the key.
func (e *exchanger) refusal(resp *http.Response, body []byte) error {
	var answer wire.ErrorResponse
	_ = json.Unmarshal(body, &answer) // no JSON: the status alone speaks
	wait, told := retryAfter(resp.Header, answer, e.now())
	switch resp.StatusCode {
	case http.StatusBadRequest:
		switch answer.Error {
		case wire.ErrInvalidRequest:
			return errKeyRefused
		case wire.ErrInvalidTarget, wire.ErrInvalidScope:
			return &ForbiddenError{Audience: e.audience}
		}
	case http.StatusTooManyRequests:
		if answer.Error == wire.ErrInvalidRequest && (answer.Reason == ReasonSpent || answer.Reason == ReasonRateLimited) {
			limited := &LimitedError{Reason: answer.Reason}
			if told {
				limited.RetryAfter, limited.RetryAt = wait, e.now().Add(wait)
			}
			return limited
		}
		return e.later(errors.New("token endpoint: too many attempts"), wait, told)
	case http.StatusServiceUnavailable:
		if answer.Reason == wire.ReasonUnavailable {
			return e.later(errNothingCharged, wait, told)
		}
		away := &UnavailableError{cause: errors.New("token endpoint: outcome unknown"), charged: true}
		if told {
			away.RetryAfter, away.retryAt = wait, e.now().Add(wait)
		}
		return away
	}
	if clientAtFault(resp.StatusCode, answer.Error) {
		return e.later(fmt.Errorf("the issuer refuses this client (%s): check ClientID, ClientSecret and its rights", errorCode(answer.Error)), 0, false)
	}
	return &UnavailableError{cause: fmt.Errorf("token endpoint answers %d", resp.StatusCode), charged: resp.StatusCode >= 500}
}

// later is an ErrUnavailable that says when to come back, and has charged nothing.
func (e *exchanger) later(cause error, wait time.Duration, told bool) error {
	if !told {
		wait = defaultBackOff
	}
	return &UnavailableError{cause: cause, RetryAfter: wait, retryAt: e.now().Add(wait)}
}

func clientAtFault(status int, code string) bool {
	switch code {
	case wire.ErrInvalidClient, wire.ErrUnauthorizedClient, wire.ErrUnsupportedGrantType:
		return true
	}
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// errorCode lets through only what could be an error code.
func errorCode(code string) string {
	for _, c := range code {
		if c != '_' && (c < 'a' || c > 'z') {
			return "no error code"
		}
	}
	return code
}

// retryAfter prefers our own milliseconds to the header's seconds or date
// (RFC 9110 §10.2.3).
func retryAfter(h http.Header, answer wire.ErrorResponse, now time.Time) (wait time.Duration, told bool) {
	const longest = 400 * 24 * time.Hour
	header := h.Get("Retry-After")
	if answer.RetryAfterMS > 0 {
		return time.Duration(min(answer.RetryAfterMS, longest.Milliseconds())) * time.Millisecond, true
	}
	if n, err := strconv.ParseUint(header, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, longest), true
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(0, at.Sub(now)), longest), true
	}
	return 0, false
}
