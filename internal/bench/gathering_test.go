package bench

import (
	"os"
	"testing"

	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/issuer"
)

// gathering is what takes turns.
type gathering struct {
	tb      testing.TB
	block   string
	f       fixture
	master  string
	pg      *pgtest.Server // nil: none
	members []*member
}

// member is a server under one kind of load.
type member struct {
	name, keys   string
	server       *child
	load         keys
	acknowledged int64
}

func newGathering(b testing.TB, block string, p plan) *gathering {
	f, err := newFixture(p.keys)
	if err != nil {
		b.Fatal(err)
	}
	return &gathering{tb: b, block: block, f: f, master: issuer.NewMasterKey().Reveal()}
}

func (g *gathering) server(name string, cfg serverConfig) *child {
	cfg.Name = g.block + ", " + name
	cfg.Fixture, cfg.Master, cfg.Profile = g.f, g.master, os.Getenv("CAMBIO_BENCH_PROFILE")
	return start(g.tb, cfg)
}

func (g *gathering) join(name, keys string, server *child, load keys) {
	g.members = append(g.members, &member{name: name, keys: keys, server: server, load: load})
}

func (g *gathering) add(name, keys string, cfg serverConfig, load keys) {
	g.join(name, keys, g.server(name, cfg), load)
}

func (g *gathering) stop() {
	for _, m := range g.members {
		if err := m.server.stop(); err != nil {
			g.tb.Errorf("%s, %s: %v", g.block, m.name, err)
		}
	}
}

// same fails unless all that was answered is all that was counted and spent.
func (g *gathering) same(grants, spent int64) {
	var acknowledged int64
	for _, m := range g.members {
		if m.name != bareEcho {
			acknowledged += m.acknowledged
		}
	}
	if grants != acknowledged || spent != acknowledged {
		g.tb.Errorf("%s: %d exchanges were answered, %d counted and %d spent", g.block, acknowledged, grants, spent)
	}
}
