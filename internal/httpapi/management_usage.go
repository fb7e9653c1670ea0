package httpapi

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/client"
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
	told := make([]wire.UsagePoint, len(points))
	for i, p := range points {
		told[i] = usagePoint(q, p)
	}
	if format == "csv" || format == "" && r.media == wire.MediaCSV {
		return result{media: wire.MediaCSV + "; charset=utf-8; header=present", stream: func(_ context.Context, w *echo.Response) error {
			return writeCSV(w, q, told)
		}}, nil
	}
	return result{body: map[string]any{"usage": told}}, nil
}

// group reads what points are told apart by.
func (r *request) group() []usage.Dimension {
	if !r.query.Has("group") {
		return nil
	}
	var group []usage.Dimension
	for name := range strings.SplitSeq(r.query.Get("group"), ",") {
		d := usage.Dimension(name)
		if !slices.Contains(usage.Dimensions(), d) || slices.Contains(group, d) {
			r.fault("group", "must be some of key, owner, keyspace, client, audience and outcome, separated by commas")
			return nil
		}
		group = append(group, d)
	}
	return group
}

func usagePoint(q usage.Query, p usage.Point) wire.UsagePoint {
	said := func(d usage.Dimension, value string) *string {
		if !q.Tells(d) {
			return nil
		}
		return &value
	}
	return wire.UsagePoint{
		Start:    wire.Pointer(p.Start),
		KeyID:    said(usage.ByKey, string(p.Key)),
		Owner:    said(usage.ByOwner, p.Owner),
		Keyspace: said(usage.ByKeyspace, p.Keyspace),
		Client:   said(usage.ByClient, p.Client),
		Audience: said(usage.ByAudience, p.Audience),
		Outcome:  said(usage.ByOutcome, p.Outcome),
		Requests: p.Requests,
		Cost:     p.Cost,
	}
}

// writeCSV writes a line of names and one for each point (RFC 4180).
func writeCSV(w io.Writer, q usage.Query, points []wire.UsagePoint) error {
	columns := []struct {
		name string
		of   func(p wire.UsagePoint) *string
	}{
		{"key_id", func(p wire.UsagePoint) *string { return p.KeyID }},
		{"owner", func(p wire.UsagePoint) *string { return p.Owner }},
		{"keyspace", func(p wire.UsagePoint) *string { return p.Keyspace }},
		{"client", func(p wire.UsagePoint) *string { return p.Client }},
		{"audience", func(p wire.UsagePoint) *string { return p.Audience }},
		{"outcome", func(p wire.UsagePoint) *string { return p.Outcome }},
	}
	out := csv.NewWriter(w)
	names := []string{"start"}
	for i, d := range usage.Dimensions() {
		if q.Tells(d) {
			names = append(names, columns[i].name)
		}
	}
	_ = out.Write(append(names, "requests", "cost")) // Error tells
	for _, p := range points {
		line := []string{""}
		if p.Start != nil {
			line[0] = p.Start.Format(time.RFC3339)
		}
		for _, c := range columns {
			if said := c.of(p); said != nil {
				line = append(line, cell(*said))
			}
		}
		_ = out.Write(append(line, strconv.FormatInt(p.Requests, 10), strconv.FormatInt(p.Cost, 10)))
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("writing usage: %w", err)
	}
	return nil
}

// cell keeps a spreadsheet from taking text for a formula: owners are named by others.
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}
