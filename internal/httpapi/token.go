package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	maxTargets = 10
	maxCost    = 1e15 - 1 // the most uses that a key can have
)

// token is POST /oauth2/token (RFC 8693 §2).
func (s *Server) token(c echo.Context) error {
	call := &call{began: time.Now(), remote: c.RealIP()}
	answer, err := s.exchangeForm(c, call)
	if err != nil {
		err = s.judged(call, err)
		refusal := answerFor(err, call.mayKnowReasons())
		s.metrics.exchanges.exchanged(call, err, refusal.status)
		refusal.write(c)
		s.logRefused(c.Request().Context(), call, refusal, err)
		return nil
	}
	s.metrics.exchanges.exchanged(call, nil, http.StatusOK)
	noStore(c.Response().Header())
	if call.grant.Replayed {
		c.Response().Header().Set(wire.HeaderReplayed, "true")
	}
	err = c.JSON(http.StatusOK, answer)
	s.logExchanged(c.Request().Context(), call)
	return err
}

// exchangeForm is the order of checks: form, client, grant type, right,
// parameters; then the key, its target and its scope in exchange. Nothing about
// a key is learned before the client is authenticated.
func (s *Server) exchangeForm(c echo.Context, call *call) (wire.TokenResponse, error) {
	f, err := readForm(c)
	if err != nil {
		return wire.TokenResponse{}, err
	}
	parts, release, err := s.admit(c, f, call)
	if err != nil {
		return wire.TokenResponse{}, err
	}
	defer release()
	if err := mayExchange(f, call.client); err != nil {
		return wire.TokenResponse{}, err
	}
	req, issued, err := decodeExchange(f)
	if err != nil {
		return wire.TokenResponse{}, err
	}
	if req.IdempotencyKey, err = idempotencyKey(c.Request().Header); err != nil {
		return wire.TokenResponse{}, err
	}
	call.asked = req.Targets
	if err := s.held(call, f.get(wire.FieldSubjectToken)); err != nil {
		return wire.TokenResponse{}, err
	}
	tok, grant, err := parts.Exchange.Exchange(c.Request().Context(), call.client, req)
	call.grant = grant
	if err != nil {
		return wire.TokenResponse{}, err
	}
	call.kid, call.jti = tok.KID, tok.ID
	return wire.TokenResponse{
		AccessToken:     tok.Value,
		IssuedTokenType: issued,
		TokenType:       "Bearer",
		ExpiresIn:       int64(tok.ExpiresIn / time.Second),
		Scope:           tok.Scope,
	}, nil
}

// slot takes one of the slots without waiting, or fails with errBusy.
func (s *Server) slot() (release func(), err error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	default:
		return nil, errBusy
	}
}

// admit takes a slot for a request, once its body was read, and authenticates who
// sent it. Without an error, release gives the slot back.
func (s *Server) admit(c echo.Context, f form, call *call) (parts *Parts, release func(), err error) {
	if release, err = s.slot(); err != nil {
		return nil, nil, err
	}
	if parts = s.parts.Load(); parts == nil {
		err = errStarting
	} else {
		call.tried.credentials = attempted(c.Request().Header, f)
		err = s.authenticate(c, parts.Exchange, f, call)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return parts, release, nil
}

func (s *Server) authenticate(c echo.Context, x *exchange.Exchange, f form, call *call) error {
	cred, err := s.credentialsOf(c.Request(), f)
	if err != nil {
		return err
	}
	call.client, err = cred.admitted(c.Request().Context(), x.Authenticate)
	return err
}

// mayExchange checks the grant type (RFC 6749 §5.2), then the client's right.
func mayExchange(f form, c *exchange.Caller) error {
	switch f.get(wire.FieldGrantType) {
	case wire.GrantTokenExchange:
	case "":
		return errGrantMissing
	default:
		return errGrantUnknown
	}
	if !c.Holds(client.TokensExchange) {
		return exchange.ErrRight
	}
	return nil
}

// decodeExchange reads the parameters (RFC 8693 §2.1) and returns the token
// type to answer with. Targets and scope are not judged here: what is wrong with
// them is told after what is wrong with the key.
func decodeExchange(f form) (exchange.Request, string, error) {
	issued, err := issuedType(f.get(wire.FieldRequestedTokenType))
	if err == nil {
		err = checkTokens(f)
	}
	if err != nil {
		return exchange.Request{}, "", err
	}
	cost, err := parseCost(f.get(wire.FieldCost))
	if err != nil {
		return exchange.Request{}, "", err
	}
	req := exchange.Request{
		Key:      subjectKey(f.get(wire.FieldSubjectToken)),
		Keyspace: f.get(wire.FieldKeyspace),
		Targets:  targets(f),
		Cost:     cost,
	}
	if scope := f.get(wire.FieldScope); scope != "" {
		asked, err := permission.FromScope(scope)
		req.Permissions = asked
		req.Unholdable = err != nil || len(asked) == 0
	}
	return req, issued, nil
}

func checkTokens(f form) error {
	switch {
	case f.get(wire.FieldActorToken) == "" && f.get(wire.FieldActorTokenType) != "":
		return errActorType
	case f.get(wire.FieldActorToken) != "":
		return errActor
	case f.get(wire.FieldSubjectToken) == "":
		return errSubject
	}
	switch f.get(wire.FieldSubjectTokenType) {
	case wire.TypeAPIKey, wire.TypeAccessToken:
		return nil
	case "":
		return errSubjectTypeMissing
	}
	return errSubjectType
}

// issuedType answers a request for a JWT with the same token under that name
// (RFC 8693 §3).
func issuedType(requested string) (string, error) {
	switch requested {
	case "", wire.TypeAccessToken:
		return wire.TypeAccessToken, nil
	case wire.TypeJWT:
		return wire.TypeJWT, nil
	}
	return "", errRequestedType
}

func parseCost(s string) (int64, error) {
	if s == "" {
		return 1, nil
	}
	cost, err := strconv.ParseInt(s, 10, 64)
	if err != nil || s[0] == '+' || cost < 1 || cost > maxCost {
		return 0, errCost
	}
	return cost, nil
}

// subjectKey never takes a JWT for a key: it is refused like a key that does
// not exist, without being looked up.
func subjectKey(token string) verifier.Secret {
	if exchange.LooksLikeJWT(token) {
		return verifier.Secret{}
	}
	return verifier.NewSecret(token)
}

// noTarget stands for what cannot be a target. No client has it.
const noTarget = ""

// targets returns the audiences and resources asked for, each once. A resource
// must be an absolute URI without fragment (RFC 8707 §2).
func targets(f form) []string {
	asked := slices.Clone(f[wire.FieldAudience])
	for _, resource := range f[wire.FieldResource] {
		if u, err := url.Parse(resource); err != nil || !u.IsAbs() || strings.Contains(resource, "#") {
			resource = noTarget
		}
		asked = append(asked, resource)
	}
	if len(asked) > maxTargets {
		return []string{noTarget}
	}
	slices.Sort(asked)
	return slices.Compact(asked)
}
