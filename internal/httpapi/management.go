package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
)

var (
	errForbidden = &requestError{http.StatusForbidden, "", "the client has no right to do this"}
	errJSON      = &requestError{http.StatusBadRequest, "", "the body must be a JSON object with no other members than are known here"}
)

// managed is a handler of the management API: for clients with a right, by
// client_secret_basic. Its errors are problems (RFC 9457). Whoever fails to
// authenticate is told nothing else.
func (s *Server) managed(right client.Right, do func(c echo.Context, call *call, keys *issuer.Keyring) (any, error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		call := &call{began: time.Now(), remote: c.RealIP()}
		said, err := s.manage(c, call, right, do)
		noStore(c.Response().Header())
		if err == nil {
			s.log.LogAttrs(c.Request().Context(), slog.LevelInfo, "managed",
				slog.String("client", call.client.ID), slog.String("route", c.Request().Method+" "+c.Path()),
				slog.Duration("duration", time.Since(call.began)), slog.String("remote", call.remote))
			return c.JSON(http.StatusOK, said)
		}
		refusal := problemFor(err)
		s.logRefused(c.Request().Context(), call, refusal, err)
		if refusal.status == http.StatusUnauthorized {
			c.Response().Header().Set("WWW-Authenticate", `Basic realm="cambio", charset="UTF-8"`)
		}
		c.Response().Header().Set("Content-Type", wire.MediaProblem)
		c.Response().WriteHeader(refusal.status)
		return json.NewEncoder(c.Response()).Encode(wire.Problem{
			Title: http.StatusText(refusal.status), Status: refusal.status, Detail: refusal.body.Description,
		})
	}
}

func (s *Server) manage(c echo.Context, call *call, right client.Right, do func(c echo.Context, call *call, keys *issuer.Keyring) (any, error)) (any, error) {
	parts, release, err := s.admit(c, nil, call)
	if err != nil {
		return nil, err
	}
	defer release()
	if !call.client.Holds(right) {
		return nil, errForbidden
	}
	if parts.Keys == nil {
		return nil, errNotFound
	}
	return do(c, call, parts.Keys)
}

// problemFor is answerFor for the management API.
func problemFor(err error) answer {
	switch {
	case errors.Is(err, issuer.ErrUnknownKID):
		return say(http.StatusNotFound, "", "there is no signing key of that kid")
	case errors.Is(err, issuer.ErrNoPending):
		return say(http.StatusConflict, "", "no key waits to sign; the server makes one within a second")
	case errors.Is(err, exchange.ErrClient):
		return say(http.StatusUnauthorized, wire.ErrInvalidClient, "the client could not be authenticated")
	}
	return answerFor(err, false)
}

// signingKeys is GET /v1/signing-keys.
func (s *Server) signingKeys(c echo.Context, _ *call, keys *issuer.Keyring) (any, error) {
	views, err := keys.Keys(c.Request().Context())
	if err != nil {
		return nil, err
	}
	all := make([]wire.SigningKey, len(views))
	for i, v := range views {
		all[i] = v.Wire()
	}
	return map[string]any{"signing_keys": all}, nil
}

// rotateSigningKeys is POST /v1/signing-keys/rotate.
func (s *Server) rotateSigningKeys(c echo.Context, call *call, keys *issuer.Keyring) (any, error) {
	var how struct {
		Emergency bool `json:"emergency"`
		Fresh     bool `json:"fresh"`
	}
	if err := readJSON(c, &how); err != nil {
		return nil, err
	}
	if how.Fresh && !how.Emergency {
		return nil, &requestError{http.StatusBadRequest, "", "fresh is for an emergency"}
	}
	if err := keys.Rotate(c.Request().Context(), issuer.Rotation{Emergency: how.Emergency, Fresh: how.Fresh}); err != nil {
		return nil, err
	}
	return s.signingKeys(c, call, keys)
}

// revokeSigningKey is POST /v1/signing-keys/KID/revoke.
func (s *Server) revokeSigningKey(c echo.Context, call *call, keys *issuer.Keyring) (any, error) {
	if err := keys.Revoke(c.Request().Context(), c.Param("kid")); err != nil {
		return nil, err
	}
	return s.signingKeys(c, call, keys)
}

// readJSON reads a body that may be empty.
func readJSON(c echo.Context, v any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(c.Response().Writer, c.Request().Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return errJSON
	}
	if decoder.More() {
		return errJSON
	}
	return nil
}
