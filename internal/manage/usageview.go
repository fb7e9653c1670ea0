package manage

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/internal/wire"
)

// UsageWire is what others are told of points.
func UsageWire(q usage.Query, points []usage.Point) []wire.UsagePoint {
	told := make([]wire.UsagePoint, len(points))
	for i, p := range points {
		told[i] = usagePoint(q, p)
	}
	return told
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

// WriteUsageCSV writes a line of names and one for each point (RFC 4180).
func WriteUsageCSV(w io.Writer, q usage.Query, points []usage.Point) error {
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
	for _, p := range UsageWire(q, points) {
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
