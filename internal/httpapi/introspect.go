package httpapi

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
)

var errToken = badRequest("token is required")

// introspect is POST /oauth2/introspect (RFC 7662 §2).
func (s *Server) introspect(c echo.Context) error {
	return s.withClient(c, func(call *call, parts *Parts, token string) (any, error) {
		found, err := parts.Exchange.Introspect(c.Request().Context(), call.client, token)
		if err != nil {
			return nil, err
		}
		if err := s.missed(call, found.Active); err != nil {
			return nil, err
		}
		s.log.LogAttrs(c.Request().Context(), slog.LevelInfo, "introspected",
			slog.String("client", call.client.ID), slog.Bool("active", found.Active), slog.String("key_id", string(found.KeyID)),
			slog.Duration("duration", time.Since(call.began)), slog.String("remote", call.remote))
		return encodeIntrospection(found), nil
	})
}

// revoke is POST /oauth2/revoke (RFC 7009 §2). It answers the same whether there
// was something to revoke or not (§2.2).
func (s *Server) revoke(c echo.Context) error {
	return s.withClient(c, func(call *call, parts *Parts, token string) (any, error) {
		ctx := audit.By(c.Request().Context(), audit.Actor{From: call.remote})
		id, err := parts.Exchange.Revoke(ctx, call.client, token)
		if err != nil {
			return nil, err
		}
		if err := s.missed(call, id != ""); err != nil {
			return nil, err
		}
		s.log.LogAttrs(c.Request().Context(), slog.LevelInfo, "revoked",
			slog.String("client", call.client.ID), slog.String("key_id", string(id)),
			slog.Duration("duration", time.Since(call.began)), slog.String("remote", call.remote))
		return struct{}{}, nil
	})
}

// withClient reads the form, authenticates who sent it, and answers what do says of
// its token: in the order of the token endpoint.
func (s *Server) withClient(c echo.Context, do func(call *call, parts *Parts, token string) (any, error)) error {
	call := &call{began: time.Now(), remote: c.RealIP()}
	said, err := s.ofToken(c, call, do)
	if err != nil {
		err = s.judged(call, err)
		refusal := answerFor(err, false)
		refusal.write(c)
		s.logRefused(c.Request().Context(), call, refusal, err)
		return nil
	}
	noStore(c.Response().Header())
	return c.JSON(http.StatusOK, said)
}

func (s *Server) ofToken(c echo.Context, call *call, do func(call *call, parts *Parts, token string) (any, error)) (any, error) {
	f, err := readForm(c)
	if err != nil {
		return nil, err
	}
	parts, release, err := s.admit(c, f, call)
	if err != nil {
		return nil, err
	}
	defer release()
	token := f.get(wire.FieldToken)
	if token == "" {
		return nil, errToken
	}
	if err := s.held(call, token); err != nil {
		return nil, err
	}
	return do(call, parts, token)
}

func encodeIntrospection(found exchange.Introspection) wire.Introspection {
	if !found.Active {
		return wire.Introspection{}
	}
	said := wire.Introspection{
		Active: true, TokenType: "Bearer", Scope: permission.Scope(found.Permissions), ClientID: found.ClientID,
		Subject: found.Subject, Audience: found.Audience, Issuer: found.Issuer, ID: found.ID, IssuedAt: found.IssuedAt.Unix(),
		Permissions: found.Permissions, KeyID: string(found.KeyID), Keyspace: found.Keyspace,
	}
	if found.Kind == "key" {
		said.TokenType = "api_key"
	}
	if !found.ExpiresAt.IsZero() {
		said.ExpiresAt = found.ExpiresAt.Unix()
	}
	return said
}
