package sdk

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

const (
	maxAnswer      = 64 << 10        // bytes of an answer of the token endpoint
	maxPatience    = 2 * time.Second // the longest pause before an exchange is repeated
	firstPause     = 100 * time.Millisecond
	maxAttempts    = 3
	leastTime      = exchangeTimeout / 2 // what a repetition must have left
	defaultBackOff = time.Second         // where an answer asks to wait and does not say how long
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

// exchange returns the token for key. It repeats only what has surely charged
// nothing, since the issuer says so: never an unknown outcome, never a cut
// connection. Nor does it begin what may be cut by its own deadline.
func (e *exchanger) exchange(ctx context.Context, key, keyspace string) (string, error) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		token, err := e.post(ctx, key, keyspace)
		var away *UnavailableError
		if !errors.As(err, &away) || !errors.Is(err, errNothingCharged) {
			return token, err
		}
		wait := max(pause, away.RetryAfter)
		if attempt == maxAttempts || wait > maxPatience || !timeFor(ctx, wait) || !sleep(ctx, wait) {
			return "", renew(err, e.now())
		}
		pause *= 2
	}
}

// timeFor reports whether ctx leaves time for an attempt after a pause.
func timeFor(ctx context.Context, pause time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline)-pause >= leastTime
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
		return readToken(string(body))
	}
	return "", e.refusal(resp, readError(string(body)))
}

var errNothingCharged = errors.New("token endpoint: nothing was charged")
