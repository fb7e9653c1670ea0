package crashtest

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// addsUp holds charges to what callers were told. No load may run.
func (s *soak) addsUp() {
	s.t.Helper()
	sum := s.balanced("at the end")
	if charged := s.recorded(s.spender); charged != s.spender.uses {
		s.t.Errorf("of the key with %d uses %d were granted", s.spender.uses, charged)
	}
	if sum.acknowledged < 1000 {
		s.t.Errorf("only %d charges were acknowledged, which proves little", sum.acknowledged)
	}
	s.run("audit", "verify")
}

// agree holds what the replica that was never killed says of itself to what the
// database says of the client that called no other.
func (s *soak) agree() {
	s.t.Helper()
	v := s.scrape(0)
	said := func(outcome string) (sum int64) {
		for _, endpoint := range []string{"token", "verify"} {
			sum += int64(v[fmt.Sprintf("cambio_exchanges_total{endpoint=%q,outcome=%q}", endpoint, outcome)])
		}
		return sum
	}
	granted, unknown := said("granted"), said("outcome_unknown")
	recorded := s.used(s.callers[0], "granted")
	s.t.Logf("/metrics says %d granted and %d of which nobody knows, the database %d", granted, unknown, recorded)
	if recorded < granted || recorded > granted+unknown || granted < 100 {
		s.t.Error("/metrics and the database disagree")
	}
	until(s.t, "refusals are in the database too", func() bool { return s.used(s.callers[0], "spent") == said("spent") })
	for _, name := range []string{"cambio_ledger_waiting", "cambio_ledger_groups_in_flight", "cambio_http_requests_in_flight"} {
		if n, is := v[name]; !is || n != 0 {
			s.t.Errorf("%s is %.0f at rest, %t", name, n, is)
		}
	}
}

// used is how many requests of a client had this outcome.
func (s *soak) used(by account, outcome string) (sum int64) {
	s.t.Helper()
	var used struct {
		Usage []struct {
			Outcome  string
			Requests int64
		}
	}
	s.read(&used, "usage", "--client", by.ID)
	for _, u := range used.Usage {
		if u.Outcome == outcome {
			sum += u.Requests
		}
	}
	return sum
}

// vitals are what must not grow, of the replica that was never killed.
type vitals map[string]float64

// What may be more at the end than before: what has no meaning yet, such as a
// connection more in the pool of the database.
var mayGrow = map[string]func(before float64) float64{
	"go_goroutines":                 func(b float64) float64 { return b + 10 },
	"process_open_fds":              func(b float64) float64 { return b + 10 },
	"process_resident_memory_bytes": func(b float64) float64 { return 1.3*b + 32<<20 },
}

// atRest returns the vitals once all connections of the load are gone.
func (s *soak) atRest() (v vitals) {
	s.t.Helper()
	last := vitals{}
	until(s.t, "the server is at rest", func() bool {
		v = s.scrape(0)
		rests := v["go_goroutines"] == last["go_goroutines"] && v["process_open_fds"] == last["process_open_fds"]
		last = v
		return rests
	})
	return v
}

func (v vitals) grownFrom(t *testing.T, before vitals) {
	t.Helper()
	for name, most := range mayGrow {
		was, is := before[name], v[name]
		t.Logf("%s: %.0f at first, %.0f at the end", name, was, is)
		if was == 0 || is > most(was) {
			t.Errorf("%s grew from %.0f to %.0f", name, was, is)
		}
	}
}

// scrape reads the metrics of a replica, by their names and labels as they are written.
func (s *soak) scrape(replica int) vitals {
	s.t.Helper()
	a := s.get(s.replicas[replica].Load().ops + "/metrics")
	if a.err != nil || a.status != http.StatusOK {
		s.t.Fatalf("/metrics answers %d, %v", a.status, a.err)
	}
	v := vitals{}
	for line := range strings.Lines(string(a.body)) {
		i := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		if n, err := strconv.ParseFloat(strings.TrimSpace(line)[i+1:], 64); err == nil {
			v[line[:i]] = n
		}
	}
	return v
}

// secretLike is what no log may have: keys, secrets of clients, and tokens.
var secretLike = regexp.MustCompile(`\b(ck|cs)_[0-9A-Za-z]{38}|eyJ[\w-]{10,}\.eyJ`)

// noSecretIsLogged reads what all servers ever logged.
func (s *soak) noSecretIsLogged() {
	s.t.Helper()
	master := ""
	for _, pair := range s.env {
		if value, is := strings.CutPrefix(pair, "CAMBIO_MASTER_KEY="); is {
			master = value
		}
	}
	lines := 0
	for _, path := range s.logs {
		file, err := os.Open(path)
		if err != nil {
			s.t.Fatal(err)
		}
		defer file.Close()
		scanner := bufio.NewScanner(file)
		scanner.Buffer(nil, 1<<20)
		for ; scanner.Scan(); lines++ {
			if line := scanner.Text(); secretLike.MatchString(line) || strings.Contains(line, master) {
				s.t.Errorf("%s has a secret, in a line of %d bytes", path, len(line))
			}
		}
		if err := scanner.Err(); err != nil {
			s.t.Error(err)
		}
	}
	if !secretLike.MatchString(s.keys[0].Secret) || !secretLike.MatchString(s.callers[0].Secret) || master == "" || lines < 1000 {
		s.t.Errorf("%d lines were looked at, and nothing could be found", lines)
	}
}
