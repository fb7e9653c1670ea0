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

// readyz says whether exchanges would be answered. Why not is in the log.
func (s *Server) readyz(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyTimeout)
	defer cancel()
	err := errStarting
	if p := s.parts.Load(); p != nil {
		err = p.Ready(ctx)
	}
	if s.stopping.Load() {
		err = errStopping
	}
	if err != nil {
		s.log.WarnContext(ctx, "not ready", "err", err)
		return c.String(http.StatusServiceUnavailable, "not ready\n")
	}
	return c.String(http.StatusOK, "ready\n")
}
