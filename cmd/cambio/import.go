package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/importer"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

type importCmd struct {
	BetterAuth importBetterAuthCmd `cmd:"" help:"Import keys of Better Auth."`
	Unkey      importUnkeyCmd      `cmd:"" help:"Import keys of Unkey."`
	JSONL      importJSONLCmd      `cmd:"" name:"jsonl" help:"Import keys from anywhere else, as JSON lines."`
}

// importFlags are those of every import.
type importFlags struct {
	Keyspace    string `placeholder:"NAME" help:"The keyspace of every key. Default: the one its row names, or default."`
	DryRun      bool   `help:"Print what would become of each row, and write nothing."`
	Strict      bool   `help:"Stop at the first row that is not good, before anything of its batch of 1000 is written."`
	AllowWeak   bool   `help:"Accept keys under 20 characters, which can be guessed."`
	changeFlags `embed:""`
}

const importHelp = `Keys go on working as they are, with what is left of their limits. Each row stands for itself: what is wrong with one is printed, and the others go on. Who runs it again changes nothing, so a run that was cut short is begun again. Look at --dry-run first: it prints what has no counterpart here, too.

Keyspaces that are missing are made. The exit code is 1 if a row was bad or in conflict. With --json there is an object for every row, and one with the summary at the end.`

type importBetterAuthCmd struct {
	From            string   `required:"" env:"CAMBIO_IMPORT_FROM" placeholder:"FILE" help:"JSON lines or a JSON array of rows, - for stdin, or postgres://… for the table itself."`
	Table           string   `default:"apikey" placeholder:"NAME" help:"The table in that database, with its schema if need be. Default: apikey."`
	PlaintextConfig []string `sep:"none" placeholder:"NAME" help:"A configuration whose rows hold the key itself (disableKeyHashing). Repeat for more."`
	importFlags     `embed:""`
}

func (*importBetterAuthCmd) Help() string {
	return `Each configuration (configId) becomes the keyspace of that name. ` + importHelp + `

A URL with a password shows in lists of processes: leave the password to PGPASSWORD or ~/.pgpass, or put the URL into CAMBIO_IMPORT_FROM.

Examples:

    cambio import better-auth --from postgres://app@db.example.com/app --dry-run
    psql app -Atc 'SELECT row_to_json(t) FROM apikey t' | cambio import better-auth --from - --keyspace default
    cambio import better-auth --from apikey.jsonl --plaintext-config legacy --json`
}

func (c *importBetterAuthCmd) Run(ctx context.Context, p process) error {
	rules := c.rules()
	rules.PlaintextConfigs = c.PlaintextConfig
	if strings.HasPrefix(c.From, "postgres://") || strings.HasPrefix(c.From, "postgresql://") {
		return c.run(ctx, p, importer.BetterAuthTable(ctx, c.From, c.Table, rules))
	}
	return c.runFile(ctx, p, c.From, func(r io.Reader) importer.Source { return importer.BetterAuth(r, rules) })
}

type importUnkeyCmd struct {
	From        string `required:"" env:"CAMBIO_IMPORT_FROM" placeholder:"FILE" help:"JSON lines or a JSON array of keys; - for stdin."`
	importFlags `embed:""`
}

func (*importUnkeyCmd) Help() string {
	return `Takes keys as Unkey's API writes them, rows of its table keys, or what its migrations take; each needs its hash, or plaintext. Its API tells no hashes: they come from the database, or from Unkey. The API of a key becomes its keyspace. Permissions split at their first colon, or else at their last point; roles and limits that keys share have no counterpart.

` + importHelp + `

Example:

    cambio import unkey --from keys.json --keyspace default --dry-run`
}

func (c *importUnkeyCmd) Run(ctx context.Context, p process) error {
	return c.runFile(ctx, p, c.From, func(r io.Reader) importer.Source { return importer.Unkey(r, c.rules()) })
}

type importJSONLCmd struct {
	From        string `required:"" env:"CAMBIO_IMPORT_FROM" placeholder:"FILE" help:"JSON lines or a JSON array of keys; - for stdin."`
	importFlags `embed:""`
}

func (*importJSONLCmd) Help() string {
	return `An object for each key, with key, or key_sha256 in hexadecimal or base64. The other members are optional: keyspace, owner, name, external_id, start, permissions ({"resource":["action"]}), audiences, metadata, enabled or state, created_at, expires_at, remaining, refill (1000/month), refill_anchor (the last refill), rate (100/1m,20). Any other is an error.

` + importHelp + `

Examples:

    cambio import jsonl --from keys.jsonl --dry-run
    echo '{"key_sha256":"…","owner":"user_42","permissions":{"projects":["read"]},"rate":"100/1m"}' | cambio import jsonl --from -`
}

func (c *importJSONLCmd) Run(ctx context.Context, p process) error {
	return c.runFile(ctx, p, c.From, func(r io.Reader) importer.Source { return importer.JSONLines(r, c.rules()) })
}

func (f importFlags) rules() importer.Rules {
	return importer.Rules{Keyspace: f.Keyspace, AllowWeak: f.AllowWeak, Now: time.Now()}
}

// runFile imports from a file, or from stdin if it is called -. What looks like a URL
// is not repeated: it may hold a password.
func (f importFlags) runFile(ctx context.Context, p process, from string, source func(io.Reader) importer.Source) error {
	if from == "-" {
		return f.run(ctx, p, source(p.stdin))
	}
	if strings.Contains(from, "://") {
		return &usageError{errors.New("--from: must be a file, or - for stdin; only better-auth reads postgres://")}
	}
	file, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read from
	return f.run(ctx, p, source(file))
}

func (f importFlags) run(ctx context.Context, p process, source importer.Source) error {
	if err := verifier.ValidateKeyspace(cmp.Or(f.Keyspace, "default")); err != nil {
		return &usageError{fmt.Errorf("--keyspace: %w", err)}
	}
	return f.target(ctx, p, func(m *manage.Manager) error {
		out := importOutput{process: p, json: f.JSON, all: f.DryRun || f.JSON}
		summary, err := importer.Run(ctx, source, m, importer.Options{
			DryRun: f.DryRun, Strict: f.Strict, Report: out.row, Progress: out.progress(), Settle: client.Remembered,
		})
		err = errors.Join(err, out.summary(summary, err), out.failed)
		if bad := summary.Bad(); err == nil && bad > 0 {
			err = fmt.Errorf("%d of %d rows were bad or in conflict", bad, summary.Rows)
		}
		return err
	})
}

// target opens the store. A dry run makes none: without one it looks at a new one,
// which it throws away.
func (f importFlags) target(ctx context.Context, p process, do func(*manage.Manager) error) error {
	path, missing := f.missing()
	if !f.DryRun || !missing {
		return f.create(ctx, p, do)
	}
	dir, err := os.MkdirTemp("", "cambio-import-")
	if err != nil {
		return err
	}
	p.note("there is no store %s yet: this is what a new one would do", path)
	err = func() (err error) {
		db, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, "cambio.db"))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		return do(manage.New(db))
	}()
	return errors.Join(err, os.RemoveAll(dir))
}
