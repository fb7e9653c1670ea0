package sdk

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

const (
	maxAnswer      = 64 << 10        // bytes of an answer about a key
	maxPatience    = 2 * time.Second // the longest pause before an exchange is repeated
	firstPause     = 100 * time.Millisecond
	maxAttempts    = 3
	leastTime      = exchangeTimeout / 2 // what a repetition must have left
	defaultBackOff = time.Second         // where an answer asks to wait and does not say how long
)

// exchanger shows API keys to the issuer: for an access token (RFC 8693), or for
// an answer about one call.
type exchanger struct {
	identity
	url       string // the token endpoint
	verifyURL string
	issuer    string
	audience  string
	http      *http.Client
	now       func() time.Time
}

// basicAuth encodes id and secret apart, then joins them (RFC 6749 §2.3.1).
func basicAuth(id, secret string) Secret {
	pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
	return NewSecret("Basic " + base64.StdEncoding.EncodeToString([]byte(pair)))
}

// exchange returns the token for key.
func (e *exchanger) exchange(ctx context.Context, key, keyspace string) (token string, err error) {
	err = e.repeat(ctx, false, func() error {
		token, err = e.post(ctx, key, keyspace)
		return err
	})
	return token, err
}

// repeat returns what once does in the end. It is called again only after what has
// surely charged nothing, since the issuer says so or was not reached: never after
// an unknown outcome or a cut connection, unless it is safe, as all its calls
// together are charged at most once. Nor does it begin what may be cut by its own
// deadline, unless that does no harm.
func (e *exchanger) repeat(ctx context.Context, safe bool, once func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := once()
		var away *UnavailableError
		if !errors.As(err, &away) {
			return err
		}
		if again := errors.Is(err, errNothingCharged) || safe && away.charged; !again {
			return err
		}
		wait := max(pause, away.RetryAfter)
		if attempt == maxAttempts || wait > maxPatience || !safe && !timeFor(ctx, wait) || !sleep(ctx, wait) {
			return renew(err, e.now())
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
	if err := e.identify(form, e.issuer, e.now()); err != nil {
		return "", e.later(errors.New("the ClientKey does not sign"), 0, false)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader(form.Encode()))
	if err != nil {
		return "", unavailable(err)
	}
	req.Header.Set("Content-Type", wire.MediaForm)
	said, err := e.send(req, key)
	switch {
	case err != nil:
		return "", err
	case said.status == http.StatusOK:
		return readToken(said.body)
	}
	return "", e.refusal(said, readError(said.body))
}

// answer is what the issuer said, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

func (e *exchanger) send(req *http.Request, key string) (answer, error) {
	req.Header.Set("Accept", wire.MediaJSON)
	e.head(req.Header)
	resp, err := e.http.Do(req)
	if err != nil {
		return answer{}, e.noAnswer(err, key)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readAtMost(resp.Body, maxAnswer)
	if err != nil {
		return answer{}, &UnavailableError{cause: fmt.Errorf("answer of the issuer: %w", e.plain(err, key)), charged: true}
	}
	return answer{resp.StatusCode, resp.Header, string(body)}, nil
}

var errNothingCharged = errors.New("the issuer has charged nothing")

// noAnswer tells a request that never left us from one whose outcome is unknown.
func (e *exchanger) noAnswer(err error, key string) error {
	var (
		op          *net.OpError
		certificate *tls.CertificateVerificationError
	)
	cause := e.plain(err, key)
	switch {
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return &UnavailableError{cause: fmt.Errorf("%w: %w", errNothingCharged, cause), retryAt: e.now().Add(defaultBackOff)}
	case errors.As(err, &certificate), errors.Is(err, http.ErrSchemeMismatch):
		return e.later(cause, 0, false) // and trying again would not help
	}
	return &UnavailableError{cause: cause, charged: true}
}

// plain is why there is no answer, in words that hold no secret. An error of net/http
// may quote what came in, up to whole lines, and with it a key or a token. Of an
// error that might, only its type is told; and none is kept that is not our own or
// net's, since it could hold anything.
func (e *exchanger) plain(err error, key string) error {
	var (
		op          *net.OpError
		certificate *tls.CertificateVerificationError
		slow        net.Error
	)
	switch {
	case errors.As(err, &op):
		return op
	case errors.As(err, &certificate):
		return certificate
	case errors.As(err, &slow) && slow.Timeout():
		return context.DeadlineExceeded
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	var request *url.Error // whose URL is known, and whose text is that of the error in it
	if errors.As(err, &request) {
		err = request.Err
	}
	text := strings.ReplaceAll(err.Error(), `\`, "") // it may be quoted
	_, credentials, _ := strings.Cut(e.authorization.reveal(), " ")
	for _, secret := range []string{key, url.QueryEscape(key), credentials, "eyJ"} {
		if secret != "" && strings.Contains(text, strings.ReplaceAll(secret, `\`, "")) {
			return fmt.Errorf("no answer that can be read (%T)", err)
		}
	}
	return errors.New(text)
}
