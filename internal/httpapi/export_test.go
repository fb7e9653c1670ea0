package httpapi

import (
	"iter"
	"net/http"

	"github.com/labstack/echo/v4"
)

// Routes are the methods and paths that the public handler answers.
func (s *Server) Routes() iter.Seq2[string, string] {
	return func(yield func(method, path string) bool) {
		for _, r := range s.public.Routes() {
			if r.Method != "echo_route_not_found" && !yield(r.Method, r.Path) {
				return
			}
		}
	}
}

// Base is the path of the issuer.
func (s *Server) Base() string { return s.base }

// Panicking is a handler that panics with v, and is measured like those of s.
func Panicking(s *Server, v any) http.Handler {
	e := s.newEcho(echo.ExtractIPDirect(), s.measured)
	e.GET("/", func(echo.Context) error { panic(v) })
	return e
}

// Around returns a handler that is measured like those of s, and one that is not.
func Around(s *Server) (measured, plain http.Handler) {
	var both [2]*echo.Echo
	for i, around := range []echo.MiddlewareFunc{s.measured, s.recovered} {
		both[i] = s.newEcho(echo.ExtractIPDirect(), around)
		both[i].GET("/", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	}
	return both[0], both[1]
}
