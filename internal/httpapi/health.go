package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

const readyTimeout = 2 * time.Second

var errStopping = errors.New("stopping")

// livez says that the process answers, and nothing else: a database that is
// away is no reason to start us again.
func (s *Server) livez(c echo.Context) error {
	return c.String(http.StatusOK, "ok\n")
}

// readyz says whether exchanges would be answered, and if not, why: whoever can ask
// runs us.
func (s *Server) readyz(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyTimeout)
	defer cancel()
	part, err := s.readiness(ctx)
	if c.Request().Context().Err() == nil { // else the asker has left, and it means nothing
		s.logReadiness(ctx, part, err)
	}
	if err != nil {
		return c.String(http.StatusServiceUnavailable, "not ready\n"+part+": "+err.Error()+"\n")
	}
	return c.String(http.StatusOK, "ready\n")
}

// readiness returns what is amiss, and the part of us that it is amiss with.
func (s *Server) readiness(ctx context.Context) (part string, err error) {
	p := s.parts.Load()
	switch {
	case s.stopping.Load():
		return "server", errStopping
	case p == nil:
		return "server", errStarting
	}
	if err := p.Ready(ctx); err != nil {
		return "store", err
	}
	if p.Keys != nil {
		if err := p.Keys.Ready(); err != nil {
			return "signing keys", err
		}
	}
	if err := p.Statuses.Ready(ctx); err != nil {
		return "status lists", err
	}
	return "", nil
}

// logReadiness says it once, and not each time that somebody asks.
func (s *Server) logReadiness(ctx context.Context, part string, err error) {
	last := s.unready.Swap(&part)
	switch {
	case err != nil && (last == nil || *last != part):
		s.log.WarnContext(ctx, "not ready", "part", part, "err", err)
	case err == nil && last != nil && *last != "":
		s.log.InfoContext(ctx, "ready again", "part", *last)
	}
}
