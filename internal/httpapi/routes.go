package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/wire"
)

// publicRoutes puts everything under the path of the issuer. Metadata stands
// at both places that its standards name: inserted before that path (RFC 8414
// §3, §5) and appended to it (OpenID Connect Discovery §4).
func (s *Server) publicRoutes(base string, address echo.IPExtractor) *echo.Echo {
	e := s.newEcho(address, s.measured)
	e.Use(s.bodies.bounded)
	route(e, base+wire.PathToken, s.token, http.MethodPost)
	route(e, base+wire.PathIntrospect, s.introspect, http.MethodPost)
	route(e, base+wire.PathRevoke, s.revoke, http.MethodPost)
	route(e, base+wire.PathVerify, s.verify, http.MethodPost)
	s.manageRoutes(e, base)
	route(e, base+wire.PathJWKS, s.serveJWKS, http.MethodGet, http.MethodHead)
	route(e, base+wire.PathStatusLists, s.serveStatusLists, http.MethodGet, http.MethodHead)
	route(e, base+wire.PathStatusLists+"/:list", s.serveStatusList, http.MethodGet, http.MethodHead)
	for _, path := range []string{wire.PathOAuthServer, wire.PathOpenID} {
		route(e, path+base, s.serveMetadata, http.MethodGet, http.MethodHead)
		if base != "" {
			route(e, base+path, s.serveMetadata, http.MethodGet, http.MethodHead)
		}
	}
	for _, r := range e.Routes() {
		path := strings.TrimPrefix(r.Path, base)
		s.metrics.endpoints.add(r.Path, strings.TrimSuffix(path, base))
	}
	return e
}

// manageRoutes has one handler for all operations of a path.
func (s *Server) manageRoutes(e *echo.Echo, base string) {
	route(e, base+wire.PathOpenAPI, s.serveOpenAPI, http.MethodGet, http.MethodHead)
	of := map[string][]operation{}
	for _, op := range slices.Concat(
		keyOperations(), keyspaceOperations(), clientOperations(), signingKeyOperations(),
		usageOperations(), auditOperations(), leakOperations(),
	) {
		of[op.path] = append(of[op.path], op)
	}
	for path, ops := range of {
		methods := make([]string, len(ops))
		for i, op := range ops {
			methods[i] = op.method
		}
		route(e, base+path, s.managed(ops), methods...)
	}
}

func (s *Server) operationsRoutes() *echo.Echo {
	e := s.newEcho(echo.ExtractIPDirect(), s.recovered)
	route(e, "/livez", s.livez, http.MethodGet, http.MethodHead)
	route(e, "/readyz", s.readyz, http.MethodGet, http.MethodHead)
	route(e, "/metrics", s.metrics.serve(), http.MethodGet, http.MethodHead)
	return e
}

func (s *Server) newEcho(address echo.IPExtractor, around echo.MiddlewareFunc) *echo.Echo {
	e := echo.New()
	e.Logger.SetOutput(io.Discard) // we have our own
	e.IPExtractor = address
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		switch {
		case c.Response().Committed:
		case strings.HasPrefix(c.Request().URL.Path, s.base+wire.PathManagement):
			refusal, fields := problemFor(err)
			writeProblem(c, refusal, fields)
		default:
			answerFor(err, false).write(c)
		}
	}
	e.Use(around)
	return e
}

// route answers path, spelled exactly so, and tells other methods which are
// allowed (RFC 9110 §15.5.6).
func route(e *echo.Echo, path string, h echo.HandlerFunc, methods ...string) {
	allow := strings.Join(methods, ", ")
	e.Match(methods, path, h)
	e.RouteNotFound(path, func(c echo.Context) error {
		c.Response().Header().Set("Allow", allow)
		return errMethod
	})
}

// recovered is safely as a middleware.
func (s *Server) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error { return s.safely(next, c) }
}

// safely turns a panic into an error. What was panicked with may hold anything, also a
// secret, so only the runtime's own errors are logged.
func (s *Server) safely(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if e, ok := v.(error); ok && errors.Is(e, http.ErrAbortHandler) {
			panic(v) // net/http cuts the connection
		}
		what := fmt.Sprintf("%T", v)
		if e, ok := v.(runtime.Error); ok {
			what = e.Error()
		}
		s.log.ErrorContext(c.Request().Context(), "panicked",
			"panic", what, "path", c.Path(), "remote", c.RealIP(), "stack", string(debug.Stack()))
		err = errPanicked
	}()
	return next(c)
}

// clientAddress finds where a request came from: the peer of the connection,
// or what the nearest of the trusted proxies says in X-Forwarded-For.
func clientAddress(trusted []netip.Prefix) echo.IPExtractor {
	options := []echo.TrustOption{
		echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false),
	}
	for _, p := range trusted {
		options = append(options, echo.TrustIPRange(&net.IPNet{
			IP:   p.Addr().AsSlice(),
			Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}
