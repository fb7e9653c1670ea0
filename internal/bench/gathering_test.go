package bench

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/cambio-auth/cambio/internal/load"
	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/issuer"
)

// gathering is what takes turns in a benchmark, which any error ends.
type gathering struct {
	load.Group
	tb     testing.TB
	master string
	pg     *pgtest.Server // nil: none
}

func newGathering(b testing.TB, block string, p plan) *gathering {
	f, err := load.NewFixture(p.keys)
	if err != nil {
		b.Fatal(err)
	}
	return &gathering{Group: load.Group{Block: block, Fixture: f}, tb: b, master: issuer.NewMasterKey().Reveal()}
}

// on counts the CPU time of a database as well.
func (g *gathering) on(pg *pgtest.Server) { g.pg, g.Database = pg, pg.CPU }

func (g *gathering) server(name string, cfg load.ServerConfig) *load.Server {
	cfg.Fixture, cfg.Master = g.Fixture, g.master
	return start(g.tb, g.Block+", "+name, cfg)
}

func (g *gathering) join(name, keys string, server *load.Server, l load.Keys) {
	g.Members = append(g.Members, &load.Member{Name: name, Keys: keys, Server: server, Load: l})
}

func (g *gathering) add(name, keys string, cfg load.ServerConfig, l load.Keys) {
	g.join(name, keys, g.server(name, cfg), l)
}

func (g *gathering) measure(p plan) rows {
	found, err := g.Measure(g.tb.Context(), p.Plan)
	if err != nil {
		g.tb.Fatal(err)
	}
	return found
}

func (g *gathering) stop() {
	if err := g.Stop(); err != nil {
		g.tb.Errorf("%s: %v", g.Block, err)
	}
}

func (g *gathering) plant(url string) {
	if err := load.Plant(g.tb.Context(), url, g.Fixture); err != nil {
		g.tb.Fatal(err)
	}
}

func (g *gathering) recorded(url string, f load.Fixture) (grants, spent int64) {
	grants, spent, err := load.Recorded(g.tb.Context(), url, f)
	if err != nil {
		g.tb.Fatal(err)
	}
	return grants, spent
}

// same fails unless all that was answered is all that was counted and spent.
func (g *gathering) same(grants, spent int64) {
	if n := g.Answered(); grants != n || spent != n {
		g.tb.Errorf("%s: %d exchanges were answered, %d counted and %d spent", g.Block, n, grants, spent)
	}
}

// start starts this binary as a server that ends with tb at the latest.
func start(tb testing.TB, name string, cfg load.ServerConfig) *load.Server {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), self)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	server, err := load.Start(cmd, cfg)
	if err != nil {
		tb.Fatalf("starting the server %s: %v", name, err)
	}
	tb.Cleanup(func() {
		if err := server.Stop(); err != nil {
			tb.Errorf("the server %s: %v", name, err)
		}
	})
	return server
}
