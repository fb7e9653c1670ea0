package main

import (
	"context"
	"strconv"
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
	storeFlags `embed:""`
}

func (*usageCmd) Help() string {
	return `Tells how often keys were exchanged and how often they were refused, with the uses that were charged. Refusals are written some seconds late; those of unknown keys are not counted.

With --json it prints {"usage":[…]}.

Examples:

    cambio usage
    cambio usage --owner user_42 --by day --from 2026-11-01T00:00:00Z --json`
}

func (c *usageCmd) Run(ctx context.Context, p process) error {
	return c.use(ctx, func(m *manage.Manager) error {
		points, err := m.Usage(ctx, usage.Query{
			Key: verifier.KeyID(c.Key), Owner: c.Owner, Keyspaces: c.Keyspace, Client: c.Client, Audience: c.Audience,
			From: c.From, To: c.To, By: usage.Step(c.By),
		})
		if err != nil {
			return flagsFor(err, map[string]string{"by": "--by", "to": "--to"})
		}
		if c.JSON {
			return printJSON(p.stdout, map[string]any{"usage": viewUsage(points)})
		}
		rows := [][]string{{"START", "CLIENT", "AUDIENCE", "OUTCOME", "REQUESTS", "COST"}}
		for _, u := range viewUsage(points) {
			rows = append(rows, []string{
				showTime(u.Start, "total"), dash(u.Client), dash(u.Audience), u.Outcome,
				strconv.FormatInt(u.Requests, 10), strconv.FormatInt(u.Cost, 10),
			})
		}
		return table(p.stdout, rows)
	})
}

type usageJSON struct {
	Start    *time.Time `json:"start"` // null: of all the time asked for
	Client   string     `json:"client"`
	Audience string     `json:"audience"`
	Outcome  string     `json:"outcome"`
	Requests int64      `json:"requests"`
	Cost     int64      `json:"cost"`
}

func viewUsage(points []usage.Point) []usageJSON {
	views := make([]usageJSON, len(points))
	for i, p := range points {
		views[i] = usageJSON{wire.Pointer(p.Start), p.Client, p.Audience, p.Outcome, p.Requests, p.Cost}
	}
	return views
}
