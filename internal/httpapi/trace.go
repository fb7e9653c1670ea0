package httpapi

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"
)

// Tracer follows requests of the public listener.
type Tracer interface {
	// Request begins what is told of a request, by the path of its route. The context
	// is for all that is done for it. id is that of the trace, in hex, or empty if it
	// is not kept. end is called with the status of the answer, or a negative number
	// if that was cut off.
	Request(r *http.Request, endpoint string) (ctx context.Context, id string, end func(status int))
}

// requestTrace is one request on its way. Its zero value does nothing.
type requestTrace struct {
	id  string
	end func(status int)
}

func (s *Server) beginTrace(c echo.Context, endpoint string) (t requestTrace) {
	var ctx context.Context
	ctx, t.id, t.end = s.tracer.Request(c.Request(), endpoint)
	c.SetRequest(c.Request().WithContext(ctx))
	return t
}

func (t requestTrace) finish(status int) {
	if t.end != nil {
		t.end(status)
	}
}
