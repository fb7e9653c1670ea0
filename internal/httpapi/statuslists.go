package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

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
// A short one is not compressed again: it is zlib already, and gzip wins back
// the quarter that base64url adds.
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
	d := document{signed.Body, signed.ETag, wire.MediaStatusList, statusMaxAge}
	if signed.Gzip != nil {
		h := c.Response().Header()
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(c.Request().Header) { // other bytes have another ETag (RFC 9110 §8.8.3.3)
			h.Set("Content-Encoding", "gzip")
			d.body, d.etag = signed.Gzip, strings.TrimSuffix(signed.ETag, `"`)+`-gzip"`
		}
	}
	return d.serve(c)
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

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3).
func acceptsGzip(h http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		q, weighted := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		n, err := strconv.ParseFloat(q, 64)
		return !weighted || err == nil && n > 0
	}
	return false
}
