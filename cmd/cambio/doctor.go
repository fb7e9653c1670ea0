package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/store"
)

type doctorCmd struct {
	config.Settings `embed:""`
	output          `embed:""`
}

func (*doctorCmd) Help() string {
	return `Give it the flags and the environment of serve, on the machine of the server and as its user. It looks at settings, store, clocks, files, master key, signing keys, status lists, audit log, clients and keyspaces, and asks a server that runs. It makes and changes nothing, but brings the schema of an older store up to date, as every command does.

Prints a line for each check: ok, warn or fail, what is the case, and after a dash what to do. With --json [{"check":…,"state":…,"what":…,"do":…},…]. Exits with 1 if a check failed.

Examples:

    cambio doctor
    cambio doctor --json | jq '.[] | select(.state != "ok")'`
}

// finding is what came of a check.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"` // ok, warn or fail
	What  string `json:"what"`
	Do    string `json:"do"` // empty: nothing
}

// States of a finding.
const (
	wellFound = "ok"
	doubtful  = "warn"
	broken    = "fail"
)

func (f finding) String() string {
	line := fmt.Sprintf("%-4s  %s: %s", f.State, f.Check, f.What)
	if f.Do != "" {
		line += " — " + f.Do
	}
	return visible(strings.ReplaceAll(line, "\n", "; "))
}

// examination is a round of checks, with what they have found so far.
type examination struct {
	process process
	cfg     config.Config
	found   []finding
}

func (e *examination) note(check, state, what, do string) {
	e.found = append(e.found, finding{check, state, what, do})
}

func (e *examination) failures() (n int) {
	for _, f := range e.found {
		if f.State == broken {
			n++
		}
	}
	return n
}

func (c *doctorCmd) Run(ctx context.Context, p process) error {
	e := &examination{process: p, found: []finding{}}
	if e.settings(c.Settings) {
		e.server(ctx)
		e.files()
		e.store(ctx)
	}
	if err := c.print(p, e.found); err != nil {
		return err
	}
	if n := e.failures(); n > 0 {
		return fmt.Errorf("%s failed", count(n, "check"))
	}
	return nil
}

func (c *doctorCmd) print(p process, found []finding) error {
	if c.JSON {
		return printJSON(p.stdout, found)
	}
	for _, f := range found {
		if _, err := fmt.Fprintln(p.stdout, f); err != nil {
			return err
		}
	}
	return nil
}

// settings reports whether the others can be checked: with a mistake among them,
// what they would look at is not what serve will.
func (e *examination) settings(given config.Settings) bool {
	const check = "settings"
	cfg, err := given.Config(e.process.getenv)
	if err == nil {
		_, err = tlsConfig(cfg, slog.New(slog.DiscardHandler))
	}
	if err == nil {
		_, err = clientCAs(cfg, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			e.note(check, broken, line, "mend it and run cambio doctor again, which looked no further")
		}
		return false
	}
	e.cfg = cfg
	if cfg.Issuer == "" {
		e.note(check, wellFound, "tokens say an issuer that is made from the listen address, "+cfg.Listen, "set CAMBIO_ISSUER if clients reach the server by another name")
		return true
	}
	e.note(check, wellFound, "tokens are issued by "+cfg.Issuer, "")
	return true
}

// server asks one that may be running. That none is, is nobody's fault.
func (e *examination) server(ctx context.Context) {
	const check = "server"
	answer, err := askReady(ctx, e.cfg.OpsListen)
	switch {
	case err != nil:
		e.note(check, wellFound, "none answers at "+e.cfg.OpsListen, "if one should, start it, or say where with --ops-listen")
	case answer.code != http.StatusOK:
		e.note(check, broken, fmt.Sprintf("the one at %s is not ready: it answers %s", e.cfg.OpsListen, answer.status), "read its log")
	default:
		e.note(check, wellFound, "the one at "+e.cfg.OpsListen+" is ready", "")
	}
}

// store looks at the database, and at what is in it.
func (e *examination) store(ctx context.Context) {
	const check = "store"
	if path, missing := (storeFlags{Store: config.Store{Store: e.cfg.Store}}).missing(); missing {
		e.note(check, wellFound, "there is no database "+path+" yet", "cambio serve makes it, and so does any command that creates something")
		return
	}
	db, err := openDatabase(ctx, e.cfg.Store, e.cfg.NoMigrate)
	if err != nil {
		e.note(check, broken, err.Error(), "cambio serve needs it")
		return
	}
	e.schema(ctx)
	e.restored(ctx, db)
	e.writing(ctx, db)
	e.signing(ctx, db)
	e.log(ctx, db)
	e.clients(ctx, db)
	e.keyspaces(ctx, db)
	if err := db.Close(); err != nil {
		e.note(check, broken, err.Error(), "")
	}
}

// schema tells whether a newer binary has migrated.
func (e *examination) schema(ctx context.Context) {
	const check = "store"
	state, err := store.Schema(ctx, e.cfg.Store)
	switch {
	case err != nil:
		e.failed(check, err)
	case state.Ahead():
		e.note(check, doubtful, fmt.Sprintf("it answers, and its schema is version %d, which is newer than this binary's %d but takes it", state.Version, state.Newest), "finish the upgrade")
	default:
		e.note(check, wellFound, "it answers, and its schema is the newest that this binary knows", "")
	}
}

// failed notes that something could not be looked at.
func (e *examination) failed(check string, err error) {
	do := "see whether the database is well"
	if errors.Is(err, context.Canceled) {
		do = "" // the user's own doing
	}
	e.note(check, broken, err.Error(), do)
}
