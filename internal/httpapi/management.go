package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/wire"
)

// manageTimeout is how long what is managed may take: a database that hangs must not
// hang its callers, and an answer must still be written in time.
const manageTimeout = 20 * time.Second

// operation is something that a client with one of these rights may do, by
// client_secret_basic or a certificate.
type operation struct {
	method, path string // the path is below the issuer's
	rights       []client.Right
	query        []string // the parameters that it knows; all but keyspace stand once
	media        []string // what it can answer with; none: JSON
	body         int      // bytes that it reads, at most; zero: it takes no body
	empty        bool     // the body may be missing
	patches      bool     // the body may be a merge patch
	once         bool     // it may be repeated under an Idempotency-Key

	// version tells which version of a thing is there now, for If-Match. Nil: it is
	// about nothing that has one.
	version func(r *request) (int64, error)

	do func(r *request) (result, error)
}

func (o *operation) changes() bool { return o.method != http.MethodGet }

// result is what was done, or found.
type result struct {
	status   int    // zero: 200
	body     any    // nil: none
	version  int64  // of what is in the body, for its ETag; zero: it has none
	location string // of what was made, below the issuer's path
	next     url.Values
	target   string // the id, name or kid for the log: something that is on record

	// stream writes what is not JSON, of a media type, when everything else is done.
	stream func(ctx context.Context, w *echo.Response) error
	media  string
}

// managed serves the operations of one path, each of its own method. Their errors are
// problems (RFC 9457). Whoever fails to authenticate is told nothing else.
func (s *Server) managed(ops []operation) echo.HandlerFunc {
	return func(c echo.Context) error {
		op := &ops[slices.IndexFunc(ops, func(o operation) bool { return o.method == c.Request().Method })]
		call := &call{began: time.Now(), remote: c.RealIP(), route: op.method + " " + op.path}
		r := &request{echo: c, op: op, call: call}
		noStore(c.Response().Header())
		done, err := s.manage(r)
		if err != nil {
			s.refuseManaged(r, err)
			return nil
		}
		s.logManaged(r, done)
		return s.answerManaged(r, done)
	}
}

// manage is the order of checks: client, right, query, body, conditions; then what
// manage has against it.
func (s *Server) manage(r *request) (result, error) {
	body, unread := r.readBody() // told to nobody who is not authenticated
	release, err := s.admitManager(r)
	if err != nil {
		return result{}, err
	}
	defer release()
	if !slices.ContainsFunc(r.op.rights, r.call.client.Holds) {
		return result{}, errForbidden
	}
	if r.parts.Manage == nil || r.parts.Keys == nil {
		return result{}, errNotFound
	}
	if err := errors.Join(unread, r.open(body)); err != nil {
		return result{}, err
	}
	ctx := r.echo.Request().Context()
	if r.op.changes() { // is not cut in two by a caller that leaves
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, manageTimeout)
	defer cancel()
	r.ctx = ctx
	if err := r.condition(); err != nil {
		return result{}, err
	}
	return r.op.do(r)
}

// admitManager is admit for who manages: its rights are never taken from memory.
func (s *Server) admitManager(r *request) (release func(), err error) {
	if release, err = s.slot(); err != nil {
		return nil, err
	}
	if r.parts = s.parts.Load(); r.parts == nil {
		err = errStarting
	} else {
		r.call.tried.credentials = attempted(r.echo.Request().Header, nil)
		var cred credentials
		if cred, err = s.credentialsOf(r.echo.Request(), nil); err == nil {
			r.call.client, err = cred.admitted(r.echo.Request().Context(), r.parts.Exchange.AuthenticateFresh)
		}
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

var errNoBody = &requestError{http.StatusBadRequest, "", "there must be a JSON object in the body"}

func (r *request) readBody() ([]byte, error) {
	req := r.echo.Request()
	most := int64(r.op.body)
	if req.ContentLength > most {
		return nil, r.tooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(r.echo.Response().Writer, req.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, r.tooLarge()
	case errors.Is(err, errBusy):
		return nil, errBusy
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errSlowBody
	case err != nil:
		return nil, errBody
	}
	if len(body) == 0 && most > 0 && !r.op.empty {
		return nil, errNoBody
	}
	return body, nil
}

func (r *request) tooLarge() error {
	if r.op.body == 0 {
		return &requestError{http.StatusBadRequest, "", "there must be no body"}
	}
	return &requestError{http.StatusRequestEntityTooLarge, "", "the body must be at most " + strconv.Itoa(r.op.body>>10) + " KiB"}
}

// answerManaged writes what was done. What is streamed is written without a slot: who
// reads slowly keeps nobody out.
func (s *Server) answerManaged(r *request, done result) error {
	c, h := r.echo, r.echo.Response().Header()
	if done.version != 0 {
		h.Set("ETag", `"`+strconv.FormatInt(done.version, 10)+`"`)
	}
	if done.location != "" {
		h.Set("Location", s.base+done.location)
	}
	if done.next != nil {
		h.Set("Link", `<?`+done.next.Encode()+`>; rel="next"`) // RFC 8288 §3
	}
	if r.did.Replayed {
		h.Set(wire.HeaderReplayed, "true")
	}
	status := max(done.status, http.StatusOK)
	switch {
	case done.stream != nil:
		return s.stream(r, done)
	case done.body == nil:
		return c.NoContent(status)
	}
	return c.JSON(status, done.body)
}

// stream cuts the connection if it cannot go on: half of a list must not pass for a
// whole one.
func (s *Server) stream(r *request, done result) error {
	c := r.echo
	c.Response().Header().Set("Content-Type", done.media)
	c.Response().WriteHeader(http.StatusOK)
	if err := done.stream(c.Request().Context(), c.Response()); err != nil {
		s.log.WarnContext(c.Request().Context(), "cut off", "route", r.call.route, "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// logManaged writes one line for each call. With a change it has where the audit log
// ended: a log that is rewritten later no longer passes through there.
func (s *Server) logManaged(r *request, done result) {
	attrs := []slog.Attr{
		slog.String("route", r.call.route),
		slog.Int("status", max(done.status, http.StatusOK)),
		slog.String("client", r.call.client.ID),
		slog.Duration("duration", time.Since(r.call.began)),
		slog.String("remote", r.call.remote),
	}
	if done.target != "" {
		attrs = append(attrs, slog.String("target", done.target))
	}
	if r.did.Log != (audit.Head{}) {
		attrs = append(attrs, slog.Int64("audit_seq", r.did.Log.Seq), slog.String("audit_hash", r.did.Log.Hash.String()))
	}
	if r.did.Replayed {
		attrs = append(attrs, slog.Bool("replayed", true))
	}
	s.log.LogAttrs(r.echo.Request().Context(), slog.LevelInfo, "managed", attrs...)
}
