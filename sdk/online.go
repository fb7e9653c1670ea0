package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

// onlineCall is what one call asks of the issuer about a key. Nil is an exchange.
type onlineCall struct {
	permissions    Permissions
	cost           *int64 // nil: 1
	idempotencyKey string
}

func newOnlineCall(req VerifyRequest) *onlineCall {
	call := &onlineCall{idempotencyKey: req.IdempotencyKey}
	if len(req.Permissions) > 0 { // to ask for none of them is not to ask
		call.permissions = req.Permissions
	}
	if req.Cost > 1 || req.Peek {
		call.cost = &req.Cost
	}
	return call
}

// safe reports whether to ask again charges nothing more.
func (c *onlineCall) safe() bool { return c != nil && (c.named() || c.cost != nil && *c.cost == 0) }

// named reports whether the answer may be that to an earlier call, whatever the
// budget allows by now.
func (c *onlineCall) named() bool { return c != nil && c.idempotencyKey != "" }

// typical reports whether a time to wait that the call was told is one for every
// call: what is too dear for one may not be for the next.
func (c *onlineCall) typical() bool { return c.cost == nil || *c.cost <= 1 }

// verify has the issuer decide about one call.
func (e *exchanger) verify(ctx context.Context, key, keyspace string, call *onlineCall) (v *verified, err error) {
	body, err := encodeCall(wire.VerifyRequest{
		Key: key, Keyspace: keyspace, Audience: e.audience, Permissions: call.permissions, Cost: call.cost,
	})
	if err != nil {
		return nil, unavailable(err)
	}
	err = e.repeat(ctx, call.safe(), func() error {
		v, err = e.ask(ctx, body, key, keyspace, call)
		return err
	})
	return v, err
}

// encodeCall leaves <, > and & as they are, so that a key in an error is found.
func encodeCall(asked wire.VerifyRequest) (string, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(asked)
	return body.String(), err
}

func (e *exchanger) ask(ctx context.Context, body, key, keyspace string, call *onlineCall) (*verified, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.verifyURL, strings.NewReader(body))
	if err != nil {
		return nil, unavailable(err)
	}
	req.Header.Set("Content-Type", wire.MediaJSON)
	if call.named() {
		req.Header.Set(wire.HeaderIdempotencyKey, quoted(call.idempotencyKey))
	}
	said, err := e.send(req, key)
	switch {
	case err != nil:
		return nil, err
	case said.status == http.StatusOK:
		return e.verdict(said, keyspace, call)
	}
	return nil, e.problem(said)
}

// quoted is s as a string of a structured field (RFC 9651 §3.3.3).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

var errReused = errors.New("sdk: the IdempotencyKey stands for another request")

// problem turns an answer that decides nothing into an error. None is a word about
// the key.
func (e *exchanger) problem(a answer) error {
	said := readError(a.body)
	wait, told := retryAfter(a.header, said.RetryAfterMS, e.now())
	switch a.status {
	case http.StatusUnauthorized:
		return e.later(errors.New("the issuer refuses this client (401): check ClientID and ClientSecret (or its certificate)"), 0, false)
	case http.StatusForbidden:
		return unavailable(errors.New("the issuer refuses this client (403): it needs the right keys:verify, and keys:peek to Peek"))
	case http.StatusUnprocessableEntity:
		if said.Reason == wire.ReasonKeyReused {
			return errReused
		}
	case http.StatusTooManyRequests:
		return e.later(errors.New("the issuer answers 429: too many attempts"), wait, told)
	case http.StatusServiceUnavailable:
		if said.Reason == wire.ReasonUnavailable {
			return e.later(errNothingCharged, wait, told)
		}
		return e.unknown(errors.New("the issuer cannot tell the outcome"), wait, told)
	}
	cause := fmt.Errorf("the issuer answers %d to whether a key is good", a.status)
	if a.status < 300 || a.status >= 500 {
		return e.unknown(cause, wait, told)
	}
	return unavailable(cause) // which may be due to what this call asked
}

// settleOnline remembers what an online call says to others. A grant says only that
// an earlier refusal is over, and a refusal of the key ends the token kept for it.
// The caller holds mu.
func (g *grants) settleOnline(s subject, flight *exchange, now time.Time) {
	var (
		away      *UnavailableError
		limited   *LimitedError
		forbidden *ForbiddenError
		exchanged = s
	)
	exchanged.online = false
	switch {
	case flight.err == nil:
		g.inVain.Remove(s)
		if r, ok := g.refusals.Peek(exchanged); ok && !r.wait && !flight.started.Before(r.from) {
			g.refusals.Remove(exchanged)
		}
	case errors.As(flight.err, &away):
		if away.charged && !flight.call.safe() {
			flight.err = g.chargedInVain(s, flight, away, now)
		} else if !away.retryAt.IsZero() {
			g.wait(s, flight, away.retryAt, now)
		}
	case errors.As(flight.err, &limited):
		if flight.call.typical() && !limited.RetryAt.IsZero() {
			g.wait(s, flight, limited.RetryAt, now)
		}
	case errors.As(flight.err, &forbidden) && forbidden.Needed != nil: // for what this call asked
	case errors.Is(flight.err, ErrRefused):
		g.turnDown(exchanged, flight, now)
	}
}
