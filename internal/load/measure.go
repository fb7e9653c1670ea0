package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// BareEcho is the name of a member whose server has no store. The others are
// compared with it.
const BareEcho = "bare echo"

// Plan is how long is measured: with each number of connections, every member has
// Rounds turns, after a warm-up of a quarter of one.
type Plan struct {
	Conns  []int
	Turn   time.Duration // before the next member's
	Rounds int
}

// Steps is how many turns there are, warm-ups included.
func (p Plan) Steps(members int) int { return len(p.Conns) * (p.Rounds + 1) * members }

// Row is what one server did under one load.
type Row struct {
	Block      string  `json:"block"`
	Name       string  `json:"name"`
	Keys       string  `json:"keys,omitempty"`
	Conns      int     `json:"conns"`
	PerSecond  float64 `json:"per_second"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	CPU        float64 `json:"server_cpu_us"` // for each exchange, like all below; zero: not known
	TimesEcho  float64 `json:"times_echo,omitempty"`
	Database   float64 `json:"database_cpu_us,omitempty"`
	Allocs     float64 `json:"allocs"`
	AllocBytes float64 `json:"alloc_bytes"`
	ResidentMB float64 `json:"resident_mb,omitempty"`
}

// Member is a server under one kind of load. Several members may share a server.
type Member struct {
	Name, Keys string
	Server     *Server
	Load       Keys
	Answered   int64 // with a token, so far
}

// Group is those who take turns.
type Group struct {
	Block    string
	Fixture  Fixture
	Members  []*Member
	Database func() time.Duration // CPU time of the database so far; nil: not known
	Step     func()               // called after every turn; nil: nobody is told
}

// Answered is what all servers with a store answered so far.
func (g *Group) Answered() (n int64) {
	for _, m := range g.Members {
		if m.Name != BareEcho {
			n += m.Answered
		}
	}
	return n
}

// Stop stops every server.
func (g *Group) Stop() error {
	var errs []error
	for _, m := range g.Members {
		if err := m.Server.Stop(); err != nil {
			errs = append(errs, fmt.Errorf("the server of %s: %w", m.Name, err))
		}
	}
	return errors.Join(errs...)
}

// tally adds up the turns of a member.
type tally struct {
	took     []time.Duration
	elapsed  time.Duration
	spent    Spending
	database time.Duration
}

// Measure lets every member have its turns, and returns a row for each number of
// connections and member. It fails when any exchange does, and when ctx ends.
func (g *Group) Measure(ctx context.Context, p Plan) ([]Row, error) {
	var found []Row
	for _, conns := range p.Conns {
		tallies, err := g.takeTurns(ctx, p, conns)
		if err != nil {
			return nil, err
		}
		echo := 0.0
		for i, m := range g.Members {
			r := tallies[i].row()
			r.Block, r.Name, r.Keys, r.Conns = g.Block, m.Name, m.Keys, conns
			if m.Name == BareEcho {
				echo = r.CPU
			}
			if echo > 0 {
				r.TimesEcho = r.CPU / echo
			}
			found = append(found, r)
		}
	}
	return found, nil
}

// takeTurns begins each round with another member, so that none is always
// measured after the same other.
func (g *Group) takeTurns(ctx context.Context, p Plan, conns int) ([]tally, error) {
	tallies := make([]tally, len(g.Members))
	crowds := make([]*crowd, len(g.Members))
	for i, m := range g.Members {
		c, err := dial(ctx, m.Server.Addr, g.Fixture, m.Load, conns)
		if err != nil {
			return nil, err
		}
		defer c.close()
		crowds[i] = c
		var warmUp tally
		if err := g.turn(ctx, m, c, p.Turn/4, &warmUp); err != nil {
			return nil, err
		}
	}
	for round := range p.Rounds {
		for i := range g.Members {
			i = (i + round) % len(g.Members)
			if err := g.turn(ctx, g.Members[i], crowds[i], p.Turn, &tallies[i]); err != nil {
				return nil, err
			}
		}
	}
	return tallies, nil
}

func (g *Group) turn(ctx context.Context, m *Member, c *crowd, d time.Duration, t *tally) error {
	before, databaseBefore, err := g.spent(m)
	if err != nil {
		return err
	}
	took, elapsed, err := c.run(ctx, d)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", g.Block, m.Name, err)
	}
	after, databaseAfter, err := g.spent(m)
	if err != nil {
		return err
	}
	m.Answered += int64(len(took))
	t.took = append(t.took, took...)
	t.elapsed += elapsed
	t.spent.CPU += after.CPU - before.CPU
	t.spent.Allocs += after.Allocs - before.Allocs
	t.spent.AllocBytes += after.AllocBytes - before.AllocBytes
	t.database += databaseAfter - databaseBefore
	if g.Step != nil {
		g.Step()
	}
	return nil
}

func (g *Group) spent(m *Member) (Spending, time.Duration, error) {
	s, err := m.Server.Spending()
	if err != nil {
		return s, 0, fmt.Errorf("asking the server of %s what it used: %w", m.Name, err)
	}
	if g.Database == nil {
		return s, 0, nil
	}
	return s, g.Database(), nil
}

func (t tally) row() Row {
	n := float64(len(t.took))
	return Row{
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
