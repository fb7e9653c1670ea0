package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

type usageCmd struct {
	Key        string    `placeholder:"KEY-ID" help:"Of one key."`
	Owner      string    `placeholder:"ID" help:"Of the keys of one owner."`
	Keyspace   []string  `placeholder:"NAME" help:"Of the keys of one keyspace. Repeat for more."`
	Client     string    `placeholder:"CLIENT-ID" help:"By one client."`
	Audience   string    `placeholder:"URL" help:"For one audience."`
	From       time.Time `placeholder:"TIME" help:"Hours from this time on, such as 2026-11-01T00:00:00Z."`
	To         time.Time `placeholder:"TIME" help:"Hours before this time."`
	By         string    `placeholder:"STEP" help:"A line for every hour or day (UTC) in place of totals."`
	Group      []string  `placeholder:"WHAT,…" help:"What lines are told apart by: some of key, owner, keyspace, client, audience, outcome. Default: client, audience and outcome."`
	CSV        bool      `name:"csv" help:"Print CSV."`
	storeFlags `embed:""`
}

func (*usageCmd) Help() string {
	return `Tells how often keys were exchanged and how often they were refused, with the uses that were charged. Refusals are written some seconds late; those of unknown keys are not counted.

With --json it prints {"usage":[…]}.

Examples:

    cambio usage
    cambio usage --owner user_42 --by day --from 2026-11-01T00:00:00Z --json
    cambio usage --group owner,outcome --csv`
}

func (c *usageCmd) Run(ctx context.Context, p process) error {
	return c.use(ctx, func(m *manage.Manager) error {
		q := usage.Query{
			Key: verifier.KeyID(c.Key), Owner: c.Owner, Keyspaces: c.Keyspace, Client: c.Client, Audience: c.Audience,
			From: c.From, To: c.To, By: usage.Step(c.By),
		}
		for _, what := range c.Group {
			q.Group = append(q.Group, usage.Dimension(what))
		}
		points, err := m.Usage(ctx, q)
		switch {
		case err != nil:
			return flagsFor(err, map[string]string{"by": "--by", "to": "--to", "group": "--group"})
		case c.JSON:
			return printJSON(p.stdout, map[string]any{"usage": manage.UsageWire(q, points)})
		case c.CSV:
			return manage.WriteUsageCSV(p.stdout, q, points)
		}
		return table(p.stdout, usageRows(q, points))
	})
}

func usageRows(q usage.Query, points []usage.Point) [][]string {
	row := func(start string, of func(usage.Dimension) string, requests, cost string) []string {
		cells := []string{start}
		for _, d := range usage.Dimensions() {
			if q.Tells(d) {
				cells = append(cells, of(d))
			}
		}
		return append(cells, requests, cost)
	}
	rows := [][]string{row("START", func(d usage.Dimension) string { return strings.ToUpper(string(d)) }, "REQUESTS", "COST")}
	for _, p := range points {
		value := map[usage.Dimension]string{
			usage.ByKey: string(p.Key), usage.ByOwner: p.Owner, usage.ByKeyspace: p.Keyspace,
			usage.ByClient: p.Client, usage.ByAudience: p.Audience, usage.ByOutcome: p.Outcome,
		}
		rows = append(rows, row(showTime(wire.Pointer(p.Start), "total"), func(d usage.Dimension) string { return dash(value[d]) },
			strconv.FormatInt(p.Requests, 10), strconv.FormatInt(p.Cost, 10)))
	}
	return rows
}
