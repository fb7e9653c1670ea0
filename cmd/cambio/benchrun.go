package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/cambio-auth/cambio/internal/load"
	"github.com/cambio-auth/cambio/issuer"
)

// benchServerCmd is a process that cambio bench starts. It goes on after Ctrl-C,
// which a terminal sends to all: it ends with its input, when the one that started
// it has seen to the rest.
type benchServerCmd struct{}

func (*benchServerCmd) Run(p process) error { return load.Serve(p.stdin, p.stdout) }

// Names of rows, which programs read.
const (
	inGroups = "groups"
	oneByOne = "one commit each"
	manyKeys = "many"
	oneKey   = "one"
)

// How many keys there are: as many as can each be used, in a short run.
const (
	benchKeys = 1000
	perKey    = 10 * time.Millisecond
)

// benchRun is one run of cambio bench.
type benchRun struct {
	name     string  // of this program, as the user called it
	stderr   *shared // where its servers complain
	store    string  // URL of a store that nothing else uses
	progress *progress
}

// grace is what may pass beside the measuring before a server is killed.
const grace = 2 * time.Minute

// into measures for about as long as total, and fills b.
func (r benchRun) into(ctx context.Context, b *benchmark, total time.Duration) error {
	checking := total * 15 / 100
	r.progress.say("checking tokens")
	checks, err := load.Checks(ctx, checking)
	if err != nil {
		return err
	}
	b.addChecks(checks)
	f, err := load.NewFixture(min(benchKeys, int(total/perKey)))
	if err != nil {
		return err
	}
	if err := load.Plant(ctx, r.store, f); err != nil {
		return err
	}
	g := &load.Group{Block: "exchange", Fixture: f}
	lives, cancel := context.WithTimeout(context.WithoutCancel(ctx), total+grace)
	defer cancel()
	rows, err := r.exchanges(ctx, lives, g, total-checking)
	if err = errors.Join(err, g.Stop()); err != nil {
		return err
	}
	b.addRows(rows)
	b.Granted = g.Answered()
	if b.Recorded, b.Spent, err = load.Recorded(ctx, r.store, f); err != nil {
		return err
	}
	return b.sums()
}

// exchanges starts servers, which live as long as lives does at most, and loads them
// for d in all.
func (r benchRun) exchanges(ctx, lives context.Context, g *load.Group, d time.Duration) ([]load.Row, error) {
	if err := r.add(lives, g, load.BareEcho, load.ServerConfig{}, manyKeys); err != nil {
		return nil, err
	}
	master := issuer.NewMasterKey().Reveal()
	grouped := load.ServerConfig{Store: r.store, Master: master}
	if err := r.add(lives, g, inGroups, grouped, manyKeys, oneKey); err != nil {
		return nil, err
	}
	if err := r.add(lives, g, oneByOne, r.oneByOne(master), manyKeys, oneKey); err != nil {
		return nil, err
	}
	plan := planFor(d, len(g.Members))
	steps := plan.Steps(len(g.Members))
	done := 0
	g.Step = func() { done++; r.progress.say("exchanging keys, %d %% done", done*100/steps) }
	return g.Measure(ctx, plan)
}

// oneByOne commits for every request. As many may be in flight as the store has
// connections, of which PostgreSQL gets enough.
func (r benchRun) oneByOne(master string) load.ServerConfig {
	cfg := load.ServerConfig{Store: r.store, Master: master, Group: 1, Groups: 256}
	if _, ok := sqlitePath(r.store); !ok {
		cfg.Store += "&pool_max_conns=16" // after the settings of a throwaway
	}
	return cfg
}

// add starts a server, which is a member for each kind of load.
func (r benchRun) add(lives context.Context, g *load.Group, name string, cfg load.ServerConfig, keys ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(lives, self, "bench-server") //nolint:gosec // this program
	cmd.Args[0] = r.name
	cmd.Stderr = r.stderr
	server, err := load.Start(cmd, cfg)
	if err != nil {
		return fmt.Errorf("starting the server of %s: %w", name, err)
	}
	for _, one := range keys {
		present := g.Fixture.All()
		if one == oneKey {
			present = g.Fixture.Hot()
		}
		g.Members = append(g.Members, &load.Member{Name: name, Keys: one, Server: server, Load: present})
	}
	return nil
}

// planFor spends d on turns of half a second or less.
func planFor(d time.Duration, members int) load.Plan {
	p := load.Plan{Conns: []int{1, 16, 64}}
	each := d / time.Duration(len(p.Conns)*members)
	p.Rounds = max(1, int(each/(500*time.Millisecond)))
	p.Turn = each * 4 / time.Duration(4*p.Rounds+1) // and a quarter of one to warm up
	return p
}

// shared is written by several processes, one at a time.
type shared struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// progress is a line for whoever watches.
type progress struct {
	w     io.Writer
	shown bool
}

const clearLine = "\r\x1b[K"

func (p *progress) say(format string, args ...any) {
	if p.shown {
		_, _ = fmt.Fprintf(p.w, clearLine+format, args...)
	}
}

func (p *progress) end() {
	if p.shown {
		_, _ = io.WriteString(p.w, clearLine)
	}
}
