package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/load"
)

// plan is how much is measured.
type plan struct {
	load.Plan
	keys   int   // in the store while others are varied
	stored []int // keys, where they are varied
}

func planFor(short bool) plan {
	if short {
		return plan{load.Plan{Conns: []int{1, 64}, Turn: 200 * time.Millisecond, Rounds: 1}, 100, []int{1_000, 10_000}}
	}
	return plan{
		load.Plan{Conns: []int{1, 16, 64, 256}, Turn: 500 * time.Millisecond, Rounds: 4},
		1_000, []int{1_000, 10_000, 100_000, 1_000_000},
	}
}

// BenchmarkServer measures servers in turns and prints what it found. With
// CAMBIO_BENCH_JSON it appends that to a file, a line for each row; with
// CAMBIO_BENCH_PROFILE it leaves the servers' profiles in a directory.
func BenchmarkServer(b *testing.B) {
	p := planFor(testing.Short())
	var all rows
	for _, block := range []struct {
		name    string
		measure func(testing.TB, plan) rows
	}{
		{"memory", inMemory},
		{"SQLite", onSQLite},
		{"PostgreSQL", onPostgreSQL},
		{"crowded SQLite", crowdedSQLite},
		{"crowded PostgreSQL", crowdedPostgreSQL},
	} {
		b.Run(block.name, func(b *testing.B) {
			if b.N > 1 {
				b.Fatal("run with -benchtime=1x: it measures by itself")
			}
			found := block.measure(b, p)
			found.print(os.Stdout)
			all = append(all, found...)
		})
	}
	all.compare(os.Stdout)
	if testing.Short() {
		fmt.Println("this was a smoke run, too short to judge by")
	}
	if to := os.Getenv("CAMBIO_BENCH_JSON"); to != "" {
		if err := all.appendTo(to); err != nil {
			b.Error(err)
		}
	}
}

// The names of rows, by which targets find them.
const (
	bareEcho   = load.BareEcho
	exchanging = "exchange"
	perRequest = "one commit each"
	oneGroup   = "groups, 1 in flight"
	fourGroups = "groups, 4 in flight"
	manyKeys   = "many"
	hotKey     = "one"
)

func inMemory(b testing.TB, p plan) rows {
	g := newGathering(b, "memory", p)
	g.add(bareEcho, "", load.ServerConfig{}, g.Fixture.All())
	server := g.server(exchanging, load.ServerConfig{Store: load.InMemory})
	g.join(exchanging, manyKeys, server, g.Fixture.All())
	g.join(exchanging, hotKey, server, g.Fixture.Hot())
	found := g.measure(p)
	s, err := server.Spending()
	if err != nil {
		b.Fatal(err)
	}
	g.same(s.Grants, s.Spent)
	return found
}

func onSQLite(b testing.TB, p plan) rows {
	g := newGathering(b, "SQLite", p)
	url := "sqlite:" + filepath.Join(b.TempDir(), "cambio.db")
	g.plant(url)
	g.add(bareEcho, "", load.ServerConfig{}, g.Fixture.All())
	g.compareGroups(url, perRequest, oneGroup)
	found := g.measure(p)
	g.stop()
	g.same(g.recorded(url, g.Fixture))
	return found
}

func onPostgreSQL(b testing.TB, p plan) rows {
	g := newGathering(b, "PostgreSQL", p)
	g.on(startPostgreSQL(b))
	url := g.pg.URL("postgres")
	g.plant(url)
	g.add(bareEcho, "", load.ServerConfig{}, g.Fixture.All())
	g.compareGroups(url, perRequest, oneGroup, fourGroups)
	found := g.measure(p)
	g.stop()
	g.same(g.recorded(url, g.Fixture))
	return found
}

// compareGroups lets servers that charge in different ways take turns on one
// database.
func (g *gathering) compareGroups(url string, ways ...string) {
	var servers []*load.Server
	for _, way := range ways {
		cfg := load.ServerConfig{Store: url}
		switch way {
		case perRequest:
			cfg.Group, cfg.Groups = 1, 256 // bounded by the store's connections alone
			if g.pg != nil {
				cfg.Store += "&pool_max_conns=16"
			}
		case fourGroups:
			cfg.Groups = 4
		}
		servers = append(servers, g.server(way, cfg))
	}
	for i, way := range ways {
		g.join(way, manyKeys, servers[i], g.Fixture.All())
	}
	for i, way := range ways {
		g.join(way, hotKey, servers[i], g.Fixture.Hot())
	}
}

func crowdedSQLite(b testing.TB, p plan) rows {
	g := newGathering(b, "keys stored, SQLite", p)
	dir := b.TempDir()
	return g.crowded(p, func(n int) string {
		return "sqlite:" + filepath.Join(dir, fmt.Sprintf("%d.db", n))
	})
}

func crowdedPostgreSQL(b testing.TB, p plan) rows {
	g := newGathering(b, "keys stored, PostgreSQL", p)
	g.on(startPostgreSQL(b))
	return g.crowded(p, func(n int) string {
		name := fmt.Sprintf("keys_%d", n)
		createDatabase(b, g.pg, name)
		return g.pg.URL(name)
	})
}

// crowded measures servers whose stores differ in how many keys they hold.
func (g *gathering) crowded(p plan, store func(n int) string) rows {
	urls := map[int]string{}
	for _, n := range p.stored {
		urls[n] = store(n)
		plantCrowd(g.tb, urls[n], g.Fixture, n)
		g.add(oneGroup, fmt.Sprint(n), load.ServerConfig{Store: urls[n]}, crowded(n))
	}
	p.Conns = []int{64}
	found := g.measure(p)
	for i, n := range p.stored {
		s, err := g.Members[i].Server.Spending()
		if err != nil {
			g.tb.Fatal(err)
		}
		found[i].ResidentMB = float64(s.Resident) / (1 << 20)
		if err := g.Members[i].Server.Stop(); err != nil {
			g.tb.Fatal(err)
		}
		if grants, _ := g.recorded(urls[n], load.Fixture{}); grants != g.Members[i].Answered {
			g.tb.Errorf("%s, %d keys: %d exchanges were answered and %d recorded", g.Block, n, g.Members[i].Answered, grants)
		}
	}
	return found
}
