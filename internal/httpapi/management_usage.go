package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/internal/wire"
)

func usageOperations() []operation {
	return []operation{{
		method: http.MethodGet, path: wire.PathUsage, rights: []client.Right{client.UsageRead}, do: showUsage,
		query: []string{"key", "owner", "keyspace", "client", "audience", "from", "to", "by", "group", "format"},
		media: []string{wire.MediaJSON, wire.MediaCSV},
	}}
}

// showUsage is GET /v1/usage.
func showUsage(r *request) (result, error) {
	q := usage.Query{
		Key: r.keyParameter("key"), Owner: r.query.Get("owner"), Keyspaces: r.query["keyspace"],
		Client: r.query.Get("client"), Audience: r.query.Get("audience"),
		From: r.time("from"), To: r.time("to"),
		By: usage.Step(r.oneOf("by", string(usage.Hour), string(usage.Day))), Group: r.group(),
	}
	format := r.oneOf("format", "json", "csv")
	if err := r.asked(); err != nil {
		return result{}, err
	}
	points, err := r.manager().Usage(r.ctx, q)
	if err != nil {
		return result{}, err
	}
	if format == "csv" || format == "" && r.media == wire.MediaCSV {
		return result{media: wire.MediaCSV + "; charset=utf-8; header=present", stream: func(_ context.Context, w *echo.Response) error {
			return manage.WriteUsageCSV(w, q, points)
		}}, nil
	}
	return result{body: map[string]any{"usage": manage.UsageWire(q, points)}}, nil
}

// group reads what points are told apart by.
func (r *request) group() []usage.Dimension {
	if !r.query.Has("group") {
		return nil
	}
	var group []usage.Dimension
	for name := range strings.SplitSeq(r.query.Get("group"), ",") {
		d := usage.Dimension(name)
		if !slices.Contains(usage.Dimensions(), d) {
			r.fault("group", "must be some of key, owner, keyspace, client, audience and outcome, separated by commas")
			return nil
		}
		group = append(group, d)
	}
	return group
}
