package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

type auditExportCmd struct {
	auditFilter `embed:""`
	storeFlags  `embed:""`
}

func (*auditExportCmd) Help() string {
	return `Prints all that matches, oldest first, one JSON object a line, also without --json. Each is the entry byte for byte as it was hashed, with one more field at its end, hash: SHA-256 of the hash before it (32 bytes, none of them set before the first) and of the line without that field, in base64url.

Examples:

    cambio audit export > audit.jsonl
    cambio audit export --keyspace partners --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z`
}

func (c *auditExportCmd) Run(ctx context.Context, p process) error {
	return c.use(ctx, func(m *manage.Manager) error {
		q := c.query()
		q.Limit = 1000
		for {
			rows, err := m.Audit(ctx, q)
			if err != nil {
				return flagsFor(err, spanFlags())
			}
			for _, row := range rows {
				line, err := auditLine(row)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(p.stdout, "%s\n", line); err != nil {
					return err
				}
			}
			if len(rows) < q.Limit {
				return nil
			}
			q = q.Past(rows[len(rows)-1].Seq)
		}
	})
}

type auditVerifyCmd struct {
	Head       []headFlag `placeholder:"SEQ:HASH" help:"Where the log ended once, as this command or a server's log said. Repeat for more."`
	storeFlags `embed:""`
}

func (*auditVerifyCmd) Help() string {
	return `Reads the whole log. Every entry has a hash over itself and the hash before it, so an entry that was changed, removed or moved shows. Who can write to the database can also hash everything anew, or cut off the end: so keep the head that this command prints where they cannot write, and give it back with --head next time.

Exits with 1 if something was changed. With --json it prints {"ok":…,"entries":…,"head":…,"faults":[{"seq":…,"what":…}]}.

Examples:

    cambio audit verify
    cambio audit verify --head 42:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU`
}

// headFlag is what audit.ParseHead reads.
type headFlag struct{ audit.Head }

// UnmarshalText fails with audit.ErrHead.
func (f *headFlag) UnmarshalText(text []byte) (err error) {
	f.Head, err = audit.ParseHead(string(text))
	return err
}

var errTampered = errors.New("the audit log is not what was written")

func (c *auditVerifyCmd) Run(ctx context.Context, p process) error {
	known := make([]audit.Head, len(c.Head))
	for i, head := range c.Head {
		known[i] = head.Head
	}
	return c.use(ctx, func(m *manage.Manager) error {
		report, err := m.VerifyAudit(ctx, known, p.progress("entries"))
		if err != nil {
			return err
		}
		if err := c.print(p, report); err != nil || len(report.Faults) == 0 {
			return err
		}
		return errTampered
	})
}

// verifiedLog is the report as it is printed.
type verifiedLog struct {
	OK      bool       `json:"ok"`
	Entries int64      `json:"entries"`
	Head    string     `json:"head"`
	Faults  []logFault `json:"faults"`
}

type logFault struct {
	Seq  int64  `json:"seq"`
	What string `json:"what"`
}

// print has no head to write down of a log that was tampered with.
func (c *auditVerifyCmd) print(p process, report audit.Report) error {
	if c.JSON {
		v := verifiedLog{OK: len(report.Faults) == 0, Entries: report.Entries, Head: report.Head.String(), Faults: make([]logFault, len(report.Faults))}
		for i, f := range report.Faults {
			v.Faults[i] = logFault(f)
		}
		return printJSON(p.stdout, v)
	}
	for _, f := range report.Faults {
		if _, err := fmt.Fprintln(p.stdout, f.What); err != nil {
			return err
		}
	}
	if len(report.Faults) > 0 {
		return nil
	}
	p.note("%d entries, and all is as it was written; keep this head where nobody can change it who can change the database", report.Entries)
	_, err := fmt.Fprintln(p.stdout, report.Head)
	return err
}

// progress tells a person, at every tenth of the way.
func (p process) progress(of string) func(at, all int64) {
	told := int64(0)
	return func(at, all int64) {
		if tenth := at * 10 / max(all, 1); tenth > told {
			told = tenth
			p.note("%d of %d %s", at, all, of)
		}
	}
}

type auditRefusalsCmd struct {
	From       time.Time `placeholder:"TIME" help:"Hours from this time on, such as 2026-11-01T00:00:00Z."`
	To         time.Time `placeholder:"TIME" help:"Hours before this time."`
	Limit      int       `default:"100" help:"How many, at most 1000."`
	storeFlags `embed:""`
}

func (*auditRefusalsCmd) Help() string {
	return `Tells how often a client was refused because its secret was wrong, by the hour, newest first. They are written some seconds late, and of one hour only so many addresses are kept: what is left over has none.

With --json it prints {"refusals":[…]}.

Example:

    cambio audit refusals --from 2026-11-01T00:00:00Z`
}

func (c *auditRefusalsCmd) Run(ctx context.Context, p process) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return &usageError{errors.New("--limit: must be 1 to 1000")}
	}
	return c.use(ctx, func(m *manage.Manager) error {
		found, err := m.Refusals(ctx, c.From, c.To, c.Limit)
		if err != nil {
			return flagsFor(err, spanFlags())
		}
		views := make([]wire.Refusal, len(found))
		rows := [][]string{{"HOUR", "CLIENT", "FROM", "ATTEMPTS", "LAST"}}
		for i, r := range found {
			v := wire.Refusal{Hour: r.Hour.UTC(), Client: r.Client, Remote: r.Remote, Attempts: r.Attempts, LastAt: r.LastAt.UTC()}
			views[i] = v
			rows = append(rows, []string{showTime(&v.Hour, "-"), dash(v.Client), dash(v.Remote), strconv.FormatInt(v.Attempts, 10), showTime(&v.LastAt, "-")})
		}
		if c.JSON {
			return printJSON(p.stdout, map[string]any{"refusals": views})
		}
		return table(p.stdout, rows)
	})
}
