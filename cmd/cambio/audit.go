package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

type auditCmd struct {
	List     auditListCmd     `cmd:"" help:"List changes."`
	Show     auditShowCmd     `cmd:"" help:"Show a change: what was before, and after."`
	Export   auditExportCmd   `cmd:"" help:"Print every change as a line of JSON."`
	Verify   auditVerifyCmd   `cmd:"" help:"Find out whether the log was tampered with."`
	Refusals auditRefusalsCmd `cmd:"" help:"List authentications that were refused."`
}

// auditFilter narrows what is listed or exported.
type auditFilter struct {
	Target   string    `placeholder:"ID" help:"Only changes of this key, client, keyspace or signing key."`
	Actor    string    `placeholder:"ID" help:"Only changes by this client or user."`
	Action   string    `placeholder:"ACTION" help:"Only changes of this kind, such as key.create, or key for all of keys."`
	Keyspace []string  `placeholder:"NAME" help:"Only changes in this keyspace. Repeat for more."`
	From     time.Time `placeholder:"TIME" help:"Only changes from this time on, such as 2026-11-01T00:00:00Z."`
	To       time.Time `placeholder:"TIME" help:"Only changes before this time."`
}

func (f auditFilter) query() audit.Query {
	return audit.Query{Target: f.Target, Actor: f.Actor, Action: f.Action, Keyspaces: f.Keyspace, From: f.From, To: f.To}
}

type auditListCmd struct {
	auditFilter `embed:""`
	Newest      bool  `help:"Newest first."`
	Limit       int   `default:"100" help:"How many, at most 1000."`
	After       int64 `placeholder:"SEQ" help:"Only those that follow this one in the order listed: next of the page before."`
	storeFlags  `embed:""`
}

func (*auditListCmd) Help() string {
	return `With --json it prints {"entries":[…],"next":…}: next goes into --after for the next page, and is null at the end.

Examples:

    cambio audit list --newest --limit 20
    cambio audit list --target key_0198c0ffee… --json
    cambio audit list --action client --from 2026-11-01T00:00:00Z`
}

func (c *auditListCmd) Run(ctx context.Context, p process) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return &usageError{errors.New("--limit: must be 1 to 1000")}
	}
	return c.use(ctx, func(m *manage.Manager) error {
		q := c.query()
		q.Newest, q.Limit = c.Newest, c.Limit
		rows, last, err := m.PageOfAudit(ctx, q.Past(c.After))
		if err != nil {
			return flagsFor(err, spanFlags())
		}
		if c.JSON {
			return c.printJSON(p, rows, last)
		}
		if last != 0 {
			p.note("There are more: --after %d", last)
		}
		return table(p.stdout, auditRows(rows))
	})
}

func (c *auditListCmd) printJSON(p process, rows []audit.Row, last int64) error {
	entries := make([]json.RawMessage, len(rows))
	for i, row := range rows {
		var err error
		if entries[i], err = auditLine(row); err != nil {
			return err
		}
	}
	page := wire.AuditPage{Entries: entries}
	if last != 0 {
		page.Next = &last
	}
	return printJSON(p.stdout, page)
}

// spanFlags names the flags that bound a time.
func spanFlags() map[string]string { return map[string]string{"to": "--to"} }

func auditRows(entries []audit.Row) [][]string {
	rows := [][]string{{"SEQ", "AT", "ACTOR", "ACTION", "TARGET", "KEYSPACE", "REASON"}}
	for _, row := range entries {
		e := entryOf(row)
		rows = append(rows, []string{
			strconv.FormatInt(row.Seq, 10), e.At.UTC().Format(time.RFC3339), showActor(e.Actor), e.Action, dash(e.Target), dash(e.Keyspace), e.Reason,
		})
	}
	return rows
}

// entryOf is what the columns say where the entry itself cannot be read: to verify
// is another command.
func entryOf(row audit.Row) audit.Entry {
	if e, err := row.Rest(); err == nil {
		return e
	}
	return row.Entry
}

func showActor(a audit.Actor) string {
	who := a.Kind
	if a.ID != "" {
		who += " " + a.ID
	}
	if a.From != "" {
		who += " from " + a.From
	}
	return who
}

// auditLine refuses an entry that is no line of JSON any more.
func auditLine(row audit.Row) (json.RawMessage, error) {
	if !bytes.HasSuffix(row.JSON, []byte("}")) || !json.Valid(row.JSON) || slices.Contains(row.JSON, '\n') {
		return nil, fmt.Errorf("entry %d is not what was written; see cambio audit verify", row.Seq)
	}
	return row.Line(), nil
}

type auditShowCmd struct {
	Seq        int64 `arg:"" help:"The number of the change, as audit list prints it."`
	storeFlags `embed:""`
}

func (*auditShowCmd) Help() string {
	return `Example:

    cambio audit show 42`
}

func (c *auditShowCmd) Run(ctx context.Context, p process) error {
	return c.use(ctx, func(m *manage.Manager) error {
		rows, err := m.Audit(ctx, audit.Query{After: c.Seq - 1, Before: c.Seq + 1, Limit: 1})
		if err == nil && len(rows) == 0 {
			err = fmt.Errorf("entry %d: %w", c.Seq, manage.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if c.JSON {
			line, err := auditLine(rows[0])
			if err != nil {
				return err
			}
			return printJSON(p.stdout, line)
		}
		return showEntry(p, rows[0])
	})
}

func showEntry(p process, row audit.Row) error {
	e := entryOf(row)
	var out page
	out.line("seq", strconv.FormatInt(row.Seq, 10))
	out.line("at", e.At.UTC().Format(time.RFC3339Nano))
	out.line("actor", showActor(e.Actor))
	out.line("action", e.Action)
	out.line("target", e.Target)
	out.line("keyspace", e.Keyspace)
	out.line("reason", e.Reason)
	out.line("hash", row.Hash.String())
	if err := table(p.stdout, out); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		text json.RawMessage
	}{{"before", e.Before}, {"after", e.After}} {
		if len(part.text) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(p.stdout, "\n%s:\n%s\n", part.name, pretty(part.text)); err != nil {
			return err
		}
	}
	return nil
}

// pretty indents JSON, and shows what would steer a terminal.
func pretty(text json.RawMessage) string {
	var out bytes.Buffer
	if json.Indent(&out, text, "", "  ") != nil {
		return visible(string(text))
	}
	lines := strings.Split(out.String(), "\n")
	for i, line := range lines {
		lines[i] = visible(line)
	}
	return strings.Join(lines, "\n")
}
