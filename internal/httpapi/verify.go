package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// verifyOperation is one of the management API as far as its form goes. It is a
// matter of keys in use, so its client may come from memory, as for an exchange.
var verifyOperation = operation{method: http.MethodPost, path: wire.PathVerify, body: maxBody, empty: true, once: true}

// verify is POST /v1/keys/verify. What is said of a key, good or bad, is a 200; its
// errors are problems (RFC 9457).
func (s *Server) verify(c echo.Context) error {
	call := &call{began: time.Now(), remote: c.RealIP(), route: verifyOperation.method + " " + verifyOperation.path}
	noStore(c.Response().Header())
	found, err := s.verifyBody(c, call)
	if err != nil {
		err = s.judged(call, err)
		refusal, fields := verifyProblem(err)
		s.metrics.exchanges.verified(call, err, refusal.status)
		writeProblem(c, refusal, fields)
		s.logRefused(c.Request().Context(), call, refusal, err)
		return nil
	}
	s.metrics.exchanges.verified(call, found.Refusal, http.StatusOK)
	if found.Grant.Replayed {
		c.Response().Header().Set(wire.HeaderReplayed, "true")
	}
	s.logVerified(c.Request().Context(), call, found.Refusal)
	return c.JSON(http.StatusOK, encodeVerified(found, call.mayKnowReasons()))
}

// verifyBody is the order of checks: client, right, form; then the key in exchange.
func (s *Server) verifyBody(c echo.Context, call *call) (exchange.Verified, error) {
	r := &request{echo: c, op: &verifyOperation, call: call}
	body, unread := r.readBody() // told to nobody who is not authenticated
	parts, release, err := s.admit(c, nil, call)
	if err != nil {
		return exchange.Verified{}, err
	}
	defer release()
	if err := exchange.MayVerify(call.client); err != nil {
		return exchange.Verified{}, err
	}
	if unread != nil {
		return exchange.Verified{}, unread
	}
	req, err := r.decodeVerify(body)
	if err != nil {
		return exchange.Verified{}, err
	}
	if req.Audience != "" {
		call.asked = []string{req.Audience}
	}
	call.peek = req.Cost == 0
	if err := s.held(call, req.Key.Reveal()); err != nil {
		return exchange.Verified{}, err
	}
	found, err := parts.Exchange.Verify(c.Request().Context(), call.client, req)
	call.grant = found.Grant
	var over *tooManyError
	if errors.As(s.judged(call, found.Refusal), &over) {
		err = over
	}
	return found, err
}

// decodeVerify reads what is asked. What is absent is not asked for; null and the
// empty string could be a mistake of the caller's, so they are refused.
func (r *request) decodeVerify(body []byte) (req exchange.VerifyRequest, err error) {
	if err := r.openQuery(); err != nil {
		return req, err
	}
	if _, err := r.accepted(); err != nil {
		return req, err
	}
	if err := r.mediaType(body); err != nil {
		return req, err
	}
	if req.IdempotencyKey, err = idempotencyKey(r.echo.Request().Header); err != nil {
		return req, err
	}
	if r.body, err = parseMembers(body); err != nil {
		return req, err
	}
	key := given[string](r.body, "key")
	keyspace, audience := given[string](r.body, "keyspace"), given[string](r.body, "audience")
	permissions := given[verifier.Permissions](r.body, "permissions")
	req.Cost = or(given[int64](r.body, "cost"), 1)
	err = r.body.wrong(errors.Join(
		named("key", or(key, "")), named("keyspace", or(keyspace, "any")), named("audience", or(audience, "any")),
		payable(req.Cost),
	))
	req.Key, req.Keyspace, req.Audience = verifier.NewSecret(zero(key)), zero(keyspace), zero(audience)
	req.Permissions = zero(permissions)
	return req, err
}

func named(field, text string) error {
	if text == "" {
		return &manage.InvalidError{Field: field, Reason: errors.New("must not be empty")}
	}
	return nil
}

func payable(cost int64) error {
	if cost < 0 || cost > maxCost {
		return &manage.InvalidError{Field: "cost", Reason: errors.New("must be a whole number from 0 to 999999999999999")}
	}
	return nil
}

// verifyProblem is problemFor where a key is verified: nothing is managed there, and
// what nobody knows is our own fault.
func verifyProblem(err error) (answer, []wire.FieldProblem) {
	var request *requestError
	var fields *fieldsError
	if a, over := tooMany(err); over {
		return a, nil
	}
	switch {
	case errors.Is(err, exchange.ErrRight):
		return problemFor(errForbidden)
	case errors.Is(err, verifier.ErrBadRequest):
		return problemFor(&manage.InvalidError{Field: "permissions", Reason: errors.New("must have an action for each resource, and at most 1000 in all")})
	case errors.As(err, &request), errors.As(err, &fields), errors.Is(err, manage.ErrInvalid), errors.Is(err, exchange.ErrClient), errors.Is(err, verifier.ErrRepeat):
		return problemFor(err)
	}
	return failure(err), nil
}

// encodeVerified tells what is wrong with a key itself only by right. What is said of
// a good key may be known: whoever holds it is its holder.
func encodeVerified(found exchange.Verified, reasons bool) wire.Verified {
	said := wire.Verified{Valid: found.Refusal == nil, Code: wire.CodeValid, Audience: found.Grant.Audience, Replayed: found.Grant.Replayed}
	if found.Refusal != nil {
		said.Code = verifier.Reason(found.Refusal)
		if verifier.BadKey(found.Refusal) {
			if !reasons {
				said.Code = wire.CodeInvalid
			}
			return said
		}
		said.RetryAfterMS = answerFor(found.Refusal, false).body.RetryAfterMS
	}
	said.Key = encodeVerifiedKey(found.Grant)
	left := found.Grant.Balance
	if left.Counted {
		said.Remaining, said.RefillAt = &left.Remaining, wire.Pointer(left.RefillAt)
	}
	if left.Rate != (verifier.Rate{}) {
		said.RateLimit = &wire.RateLimit{
			Limit: left.Rate.Limit, WindowMS: roundUp(left.Rate.Window, time.Millisecond), Burst: left.Rate.Burst,
			Remaining: left.RateRemaining, ResetAt: left.RateResetAt,
		}
	}
	return said
}

func encodeVerifiedKey(g verifier.Grant) *wire.VerifiedKey {
	permissions := map[string][]string(g.Permissions)
	if permissions == nil {
		permissions = map[string][]string{}
	}
	return &wire.VerifiedKey{
		ID: string(g.KeyID), Owner: g.Owner, Keyspace: g.Keyspace, Name: g.Name, ExternalID: g.ExternalID,
		Permissions: permissions, Metadata: g.KeyMetadata, ExpiresAt: wire.Pointer(g.NotAfter),
	}
}
