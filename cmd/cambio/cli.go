package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/cambio-auth/cambio/internal/manage"
)

// cli is the grammar of the command line.
type cli struct {
	Serve      serveCmd      `cmd:"" help:"Serve the exchange."`
	Dev        devCmd        `cmd:"" help:"Try it: a server, a key and a backend that last until Ctrl-C."`
	Keyspace   keyspaceCmd   `cmd:"" help:"Manage keyspaces: groups of keys with shared defaults."`
	Client     clientCmd     `cmd:"" help:"Manage clients: programs that may exchange keys."`
	Key        keyCmd        `cmd:"" help:"Manage API keys."`
	Import     importCmd     `cmd:"" help:"Import keys that were made elsewhere."`
	Void       voidCmd       `cmd:"" help:"Make tokens void that were issued so far."`
	Leak       leakCmd       `cmd:"" help:"Revoke keys that were found where they should not be."`
	SigningKey signingKeyCmd `cmd:"" help:"Manage the keys that sign tokens."`
	Usage      usageCmd      `cmd:"" help:"Tell who used what."`
	Audit      auditCmd      `cmd:"" help:"Tell who changed what, and whether the log of it is whole."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the schema of a store up to date, or tell its version."`
	Backup     backupCmd     `cmd:"" help:"Copy an SQLite database while it is in use."`
	Restored   restoredCmd   `cmd:"" help:"Begin anew after a backup was restored."`
	Doctor     doctorCmd     `cmd:"" help:"Look at everything that a server needs, and say what to do."`
	Health     healthCmd     `cmd:"" help:"Ask a running server whether it is ready."`
	Bench      benchCmd      `cmd:"" help:"Measure this machine: exchanges on the configured kind of store, and checks."`
	MasterKey  masterKeyCmd  `cmd:"" help:"Make a master key, which seals the signing keys in the store."`
	Completion completionCmd `cmd:"" help:"Print a script that completes commands in a shell."`
	Version    versionCmd    `cmd:"" help:"Print the version."`

	BenchServer benchServerCmd `cmd:"" hidden:"" help:"What cambio bench measures."`
}

const description = `Cambio exchanges long-lived API keys for short-lived signed tokens. The key is verified once; backends check the token offline.`

// process is what a command sees of the process it runs in.
type process struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	name           string // as the user called it
	terminal       bool   // stdout is read by a person
	watched        bool   // stderr is
	user, host     string // who called it, and where; for the audit log
}

func thisProcess() process {
	host, _ := os.Hostname() // a machine without a name has none in the log either
	return process{
		stdin:    os.Stdin,
		stdout:   os.Stdout,
		stderr:   os.Stderr,
		getenv:   os.Getenv,
		name:     os.Args[0],
		terminal: term.IsTerminal(int(os.Stdout.Fd())),
		watched:  term.IsTerminal(int(os.Stderr.Fd())),
		user:     userName(),
		host:     host,
	}
}

// userName falls back to the number of a user without a name, as in containers.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// run returns the exit code: 0, or 1 for a failure, or 2 for what the user can
// mend on the command line.
func run(ctx context.Context, args []string, p process) int {
	parser, err := kong.New(&cli{},
		kong.Name("cambio"),
		kong.Description(description),
		kong.Writers(p.stdout, p.stderr),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		return p.fail(err)
	}
	command, err := parser.Parse(args)
	if err != nil {
		return p.fail(err)
	}
	return p.fail(command.Run())
}

// usageError is a mistake on the command line or in the settings.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// fail tells the error, if there is one, and returns the exit code.
func (p process) fail(err error) int {
	if err == nil {
		return 0
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		_, _ = fmt.Fprintf(p.stderr, "cambio: %s\n", line)
	}
	var parsing *kong.ParseError
	var usage *usageError
	switch {
	case errors.As(err, &parsing):
		_, _ = fmt.Fprintf(p.stderr, "Try: %s --help\n", commandOf(parsing))
		return 2
	case errors.As(err, &usage), errors.Is(err, manage.ErrInvalid):
		return 2
	}
	return 1
}

func commandOf(err *kong.ParseError) string {
	if node := err.Context.Selected(); node != nil {
		return node.FullPath()
	}
	return "cambio"
}

// flagsFor replaces the names that package manage gives to fields, as in JSON,
// by those of flags.
func flagsFor(err error, names map[string]string) error {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	var invalid *manage.InvalidError
	switch {
	case !errors.Is(err, manage.ErrInvalid):
		return err
	case errors.As(err, &joined) && !isInvalid(err):
		var errs []error
		for _, e := range joined.Unwrap() {
			errs = append(errs, flagsFor(e, names))
		}
		return errors.Join(errs...)
	case errors.As(err, &invalid):
		if name, ok := names[invalid.Field]; ok {
			return &manage.InvalidError{Field: name, Reason: invalid.Reason}
		}
	}
	return err
}

func isInvalid(err error) bool {
	_, ok := err.(*manage.InvalidError) //nolint:errorlint // this very error, not what it wraps
	return ok
}
