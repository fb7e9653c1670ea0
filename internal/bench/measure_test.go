package bench

import (
	"time"
)

// row is what one server did under one load.
type row struct {
	Block      string  `json:"block"`
	Name       string  `json:"name"`
	Keys       string  `json:"keys,omitempty"`
	Conns      int     `json:"conns"`
	PerSecond  float64 `json:"per_second"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	CPU        float64 `json:"server_cpu_us"` // for each exchange, like all below
	TimesEcho  float64 `json:"times_echo,omitempty"`
	Database   float64 `json:"database_cpu_us,omitempty"`
	Allocs     float64 `json:"allocs"`
	AllocBytes float64 `json:"alloc_bytes"`
	ResidentMB float64 `json:"resident_mb,omitempty"`
}

// tally adds up the turns of a member.
type tally struct {
	took     []time.Duration
	elapsed  time.Duration
	spent    spending
	database time.Duration
}

// measure lets every member have its turns with each number of connections.
func (g *gathering) measure(p plan) rows {
	var found rows
	for _, conns := range p.conns {
		tallies := g.takeTurns(p, conns)
		echo := 0.0
		for i, m := range g.members {
			r := tallies[i].row()
			r.Block, r.Name, r.Keys, r.Conns = g.block, m.name, m.keys, conns
			if m.name == bareEcho {
				echo = r.CPU
			}
			if echo > 0 {
				r.TimesEcho = r.CPU / echo
			}
			found = append(found, r)
		}
	}
	return found
}

// takeTurns begins each round with another member, so that none is always
// measured after the same other.
func (g *gathering) takeTurns(p plan, conns int) []tally {
	tallies := make([]tally, len(g.members))
	crowds := make([]*crowd, len(g.members))
	for i, m := range g.members {
		c, err := dial(m.server.Addr, g.f, m.load, conns)
		if err != nil {
			g.tb.Fatal(err)
		}
		defer c.close()
		crowds[i] = c
		var warmUp tally
		g.turn(m, c, p.turn/4, &warmUp)
	}
	for round := range p.turns {
		for i := range g.members {
			i = (i + round) % len(g.members)
			g.turn(g.members[i], crowds[i], p.turn, &tallies[i])
		}
	}
	return tallies
}

func (g *gathering) turn(m *member, c *crowd, d time.Duration, t *tally) {
	before, databaseBefore := g.spent(m)
	took, elapsed, err := c.run(d)
	if err != nil {
		g.tb.Fatalf("%s, %s: %v", g.block, m.name, err)
	}
	if len(took) == 0 {
		g.tb.Fatalf("%s, %s: nothing was answered", g.block, m.name)
	}
	after, databaseAfter := g.spent(m)
	m.acknowledged += int64(len(took))
	t.took = append(t.took, took...)
	t.elapsed += elapsed
	t.spent.CPU += after.CPU - before.CPU
	t.spent.Allocs += after.Allocs - before.Allocs
	t.spent.AllocBytes += after.AllocBytes - before.AllocBytes
	t.database += databaseAfter - databaseBefore
}

func (g *gathering) spent(m *member) (spending, time.Duration) {
	s, err := m.server.spending()
	if err != nil {
		g.tb.Fatalf("%s, %s: %v", g.block, m.name, err)
	}
	if g.pg == nil {
		return s, 0
	}
	return s, g.pg.CPU()
}

func (t tally) row() row {
	n := float64(len(t.took))
	return row{
		PerSecond:  n / t.elapsed.Seconds(),
		P50:        milliseconds(percentile(t.took, 0.50)),
		P99:        milliseconds(percentile(t.took, 0.99)),
		CPU:        t.spent.CPU * 1e6 / n,
		Database:   t.database.Seconds() * 1e6 / n,
		Allocs:     float64(t.spent.Allocs) / n,
		AllocBytes: float64(t.spent.AllocBytes) / n,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
