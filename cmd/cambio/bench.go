package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/load"
)

type benchCmd struct {
	config.Store `embed:""`
	OpsListen    string        `placeholder:"ADDR" env:"CAMBIO_OPS_LISTEN" default:"127.0.0.1:9090" help:"Where a running server would serve its health. Default: 127.0.0.1:9090."`
	Time         time.Duration `xor:"time" placeholder:"DURATION" help:"How long to measure, from 1s to 10m. Default: 60s."`
	Quick        bool          `xor:"time" help:"Measure for 10 seconds."`
	Yes          bool          `help:"Measure although a server runs here; its callers will wait."`
	output       `embed:""`
}

func (*benchCmd) Help() string {
	return `Measures the machine it runs on: exchanges over HTTP on the kind of store that is configured, in groups and with one commit for each, with many keys and with one, beside a bare handler; and checks of tokens by the sdk, beside bare signatures. Everything takes turns, so that ratios hold where times do not. Server and load share the machine.

It reads and changes nothing in the store. It makes another one beside it, in a directory cambio-bench-… on the same disk or in a schema cambio_bench_… of the same database, and removes it at the end, and after Ctrl-C; a second Ctrl-C ends it at once and leaves that. On PostgreSQL its user needs the right to create schemas. It exits with 1 if the store has not recorded exactly what was answered.

With --json it prints one object: machine, store, exchange, check and ratios (arrays of objects), and granted, recorded and spent, which are one number. Times are in the unit that their names end with; server_cpu_us, times_echo and times_signature (of EdDSA) are null where they are not known.

Examples:

    cambio bench
    cambio bench --quick --json | jq .ratios
    CAMBIO_STORE=postgres://cambio@db/cambio cambio bench --time 2m`
}

// Bounds of --time.
const (
	benchTime  = time.Minute
	benchQuick = 10 * time.Second
	benchLeast = time.Second
	benchMost  = 10 * time.Minute
)

func (c *benchCmd) duration() (time.Duration, error) {
	switch {
	case c.Quick:
		return benchQuick, nil
	case c.Time == 0:
		return benchTime, nil
	case c.Time < benchLeast || c.Time > benchMost:
		return 0, &usageError{fmt.Errorf("--time: must be from %v to %v", benchLeast, benchMost)}
	}
	return c.Time, nil
}

func (c *benchCmd) Run(ctx context.Context, p process) error {
	total, err := c.duration()
	if err != nil {
		return err
	}
	if err := c.alone(ctx); err != nil {
		return err
	}
	found, err := c.measure(ctx, p, total)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(p.stdout, found)
	}
	return found.print(p.stdout)
}

var errInterrupted = errors.New("interrupted, so there are no figures")

const sayYes = "its callers would wait, and the figures would be wrong; stop it, or say --yes"

// alone fails if a server answers here.
func (c *benchCmd) alone(ctx context.Context) error {
	if c.Yes {
		return nil
	}
	_, err := askReady(ctx, c.OpsListen)
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		return err
	case err == nil:
		return fmt.Errorf("a server runs here, its health is at %s: %s", c.OpsListen, sayYes)
	}
	return ctx.Err() // nobody answers, which is well
}

// measure measures on a store of its own, and removes it.
func (c *benchCmd) measure(ctx context.Context, p process, total time.Duration) (found *benchmark, err error) {
	t, err := load.OpenThrowaway(ctx, c.Store.Store)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if t.Others > 0 && !c.Yes {
		return nil, fmt.Errorf("a server or a command is connected to this database (%s): %s", count(t.Others, "connection"), sayYes)
	}
	b := &benchmark{
		Machine: thisMachine(),
		Store:   benchStore{Version: t.Version, CommitMS: float64(t.Commit) / float64(time.Millisecond)},
	}
	stderr := &shared{w: p.stderr}
	run := benchRun{name: p.name, stderr: stderr, store: t.URL, progress: &progress{w: stderr, shown: p.watched}}
	err = run.into(ctx, b, total)
	run.progress.end()
	if ctx.Err() != nil {
		err = errInterrupted
	}
	return b, err
}
