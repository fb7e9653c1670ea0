package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
)

// statusMaxAge is how many seconds a shared cache may keep a list. A checker
// counts the ttl of a list from when it has asked, so what a cache adds is added to
// the time that a revocation takes. A second is enough to spare us all but one
// request of many checkers.
const statusMaxAge = 1

// errNoPast answers a query for a past status (Token Status List §8.4), also one
// without a value: an answer of now would pass for one of then.
var errNoPast = &requestError{http.StatusNotImplemented, wire.ErrInvalidRequest, "past statuses are not kept"}

// serveStatusList answers with a Token Status List (§8.1, §8.2).
//
// It is not compressed again: what is long in it is zlib already, and gzip would
// win back at most the quarter that base64url adds, of some hundred bytes as a
// rule. A strong ETag is then true of the one form that there is.
func (s *Server) serveStatusList(c echo.Context) error {
	p := s.parts.Load()
	if p == nil {
		return errStarting
	}
	if c.QueryParams().Has("time") {
		return errNoPast
	}
	signed, err := p.Statuses.Token(c.Request().Context(), c.Param("list"))
	if err != nil {
		return s.unpublished(c, err)
	}
	return document{signed.Body, signed.ETag, wire.MediaStatusList, statusMaxAge}.serve(c)
}

// serveStatusLists tells where the lists are (Token Status List §9.3).
func (s *Server) serveStatusLists(c echo.Context) error {
	p := s.parts.Load()
	if p == nil {
		return errStarting
	}
	uris, err := p.Statuses.URIs(c.Request().Context())
	if err != nil {
		return s.unpublished(c, err)
	}
	body, err := json.Marshal(map[string][]string{"status_lists": uris})
	if err != nil {
		return fmt.Errorf("encoding the names of status lists: %w", err)
	}
	sum := sha256.Sum256(body)
	return document{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`, wire.MediaJSON, statusMaxAge}.serve(c)
}

// unpublished logs what the caller is not told.
func (s *Server) unpublished(c echo.Context, err error) error {
	if !errors.Is(err, issuer.ErrNoStatusList) {
		s.log.WarnContext(c.Request().Context(), "no status list", "err", err)
	}
	return err
}
