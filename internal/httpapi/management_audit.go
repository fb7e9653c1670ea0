package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

const (
	maxPage = 1000
	maxSeq  = 1<<53 - 1 // exact in every JSON parser
)

func auditOperations() []operation {
	read := []client.Right{client.AuditRead}
	return []operation{
		{
			method: http.MethodGet, path: wire.PathAudit, rights: read, do: showAudit,
			query: []string{"after", "before", "limit", "order", "target", "actor", "action", "keyspace", "from", "to"},
			media: []string{wire.MediaJSON, wire.MediaLines},
		},
		{method: http.MethodGet, path: wire.PathRefusals, rights: read, do: showRefusals, query: []string{"from", "to", "limit"}},
	}
}

// showAudit is GET /v1/audit: a page, or all that matches as JSON lines.
func showAudit(r *request) (result, error) {
	q := audit.Query{
		After: r.number("after", 0, 0, maxSeq), Before: r.number("before", 0, 1, maxSeq),
		Target: r.query.Get("target"), Actor: r.query.Get("actor"), Action: r.query.Get("action"), Keyspaces: r.query["keyspace"],
		From: r.time("from"), To: r.time("to"),
		Newest: r.oneOf("order", "newest", "oldest") != "oldest", Limit: int(r.number("limit", 100, 1, maxPage)),
	}
	if err := r.asked(); err != nil {
		return result{}, err
	}
	if r.media == wire.MediaLines {
		return streamAudit(r, q)
	}
	rows, last, err := r.manager().PageOfAudit(r.ctx, q)
	if err != nil {
		return result{}, err
	}
	page := wire.AuditPage{Entries: make([]json.RawMessage, len(rows))}
	for i, row := range rows {
		page.Entries[i] = row.Line()
	}
	done := result{media: wire.MediaJSON, stream: func(_ context.Context, w *echo.Response) error { return writeAsIs(w, page) }}
	if last == 0 {
		return done, nil
	}
	page.Next = &last
	name := "after"
	if q.Newest {
		name = "before"
	}
	done.next = r.following(name, strconv.FormatInt(last, 10))
	return done, nil
}

// writeAsIs leaves the bytes of entries as they were hashed.
func writeAsIs(w io.Writer, page wire.AuditPage) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(page)
}

// streamAudit writes page after page, as fast as it is read and with no end to the
// time that this takes.
func streamAudit(r *request, q audit.Query) (result, error) {
	left := -1 // all
	if r.query.Has("limit") {
		left = q.Limit
	}
	q.Limit = maxPage
	m := r.manager()
	rows, err := m.Audit(r.ctx, q)
	if err != nil {
		return result{}, err
	}
	return result{media: wire.MediaLines, stream: func(ctx context.Context, w *echo.Response) error {
		return (&auditStream{m, q, left}).write(ctx, w, rows)
	}}, nil
}

// auditStream is how far a stream of entries has come.
type auditStream struct {
	manager *manage.Manager
	query   audit.Query
	left    int // entries still to be written; negative: all
}

func (s *auditStream) write(ctx context.Context, w *echo.Response, rows []audit.Row) error {
	patience := http.NewResponseController(w)
	for len(rows) > 0 && s.left != 0 {
		_ = patience.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails where there is none
		for _, row := range rows {
			if s.left == 0 {
				return nil
			}
			s.left--
			if _, err := w.Write(append(row.Line(), '\n')); err != nil {
				return fmt.Errorf("writing the log: %w", err)
			}
		}
		if len(rows) < s.query.Limit {
			return nil
		}
		s.query = s.query.Past(rows[len(rows)-1].Seq)
		var err error
		if rows, err = s.page(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *auditStream) page(ctx context.Context) ([]audit.Row, error) {
	ctx, cancel := context.WithTimeout(ctx, manageTimeout)
	defer cancel()
	return s.manager.Audit(ctx, s.query)
}

// showRefusals is GET /v1/audit/refusals.
func showRefusals(r *request) (result, error) {
	from, to, limit := r.time("from"), r.time("to"), int(r.number("limit", 100, 1, maxPage))
	if err := r.asked(); err != nil {
		return result{}, err
	}
	found, err := r.manager().Refusals(r.ctx, from, to, limit)
	if err != nil {
		return result{}, err
	}
	all := make([]wire.Refusal, len(found))
	for i, f := range found {
		all[i] = wire.Refusal{Hour: f.Hour.UTC(), Client: f.Client, Remote: f.Remote, Attempts: f.Attempts, LastAt: f.LastAt.UTC()}
	}
	return result{body: map[string]any{"refusals": all}}, nil
}
