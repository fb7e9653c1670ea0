package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/cambio-auth/cambio/internal/load"
)

// benchmark is what cambio bench found, and its JSON.
type benchmark struct {
	Machine  machine         `json:"machine"`
	Store    benchStore      `json:"store"`
	Exchange []benchExchange `json:"exchange"`
	Check    []benchCheck    `json:"check"`
	Ratios   []benchRatio    `json:"ratios"`
	Granted  int64           `json:"granted"`  // exchanges that were answered with a token
	Recorded int64           `json:"recorded"` // of which the store knows
	Spent    int64           `json:"spent"`    // uses that keys have lost
}

type machine struct {
	CPU        string `json:"cpu"` // empty: the system does not tell
	Cores      int    `json:"cores"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
	Cambio     string `json:"cambio"`
}

type benchStore struct {
	Version  string  `json:"version"`
	CommitMS float64 `json:"commit_ms"` // of a small write until it is on the disk, the median
}

type benchExchange struct {
	Name           string   `json:"name"`
	Keys           string   `json:"keys"`
	Conns          int      `json:"conns"`
	PerSecond      float64  `json:"per_second"`
	P50            float64  `json:"p50_ms"`
	P99            float64  `json:"p99_ms"`
	CPU            *float64 `json:"server_cpu_us"`   // of the server, for each exchange
	TimesEcho      *float64 `json:"times_echo"`      // the same over that of a bare handler
	TimesSignature *float64 `json:"times_signature"` // over the time to sign with EdDSA
}

type benchCheck struct {
	Algorithm  string  `json:"algorithm"`
	Sign       float64 `json:"sign_us"`   // the bare signature
	Verify     float64 `json:"verify_us"` // the same, verified
	First      float64 `json:"first_us"`  // a check of a token never seen
	Seen       float64 `json:"seen_us"`   // of one that was
	FirstTimes float64 `json:"first_times_verify"`
	SeenTimes  float64 `json:"seen_times_verify"`
}

// benchRatio is how many exchanges groups do in the time of one with a commit each.
type benchRatio struct {
	What  string  `json:"what"`
	Keys  string  `json:"keys"`
	Conns int     `json:"conns"`
	Times float64 `json:"times"`
}

func thisMachine() machine {
	v := readVersion(buildInfo())
	return machine{cpuName(), runtime.NumCPU(), runtime.GOMAXPROCS(0), v.Go, v.Platform, v.Version}
}

// cpuName is what Linux says on most machines.
func cpuName() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	_, rest, _ := bytes.Cut(text, []byte("model name"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	_, name, _ := bytes.Cut(line, []byte(": "))
	return string(name)
}

func (b *benchmark) addChecks(checks []load.Check) {
	for _, c := range checks {
		b.Check = append(b.Check, benchCheck{c.Algorithm, c.Sign, c.Verify, c.First, c.Seen, c.First / c.Verify, c.Seen / c.Verify})
	}
}

// addRows comes after addChecks.
func (b *benchmark) addRows(rows []load.Row) {
	for _, r := range rows {
		one := benchExchange{Name: r.Name, Keys: r.Keys, Conns: r.Conns, PerSecond: r.PerSecond, P50: r.P50, P99: r.P99}
		if r.CPU > 0 {
			one.CPU, one.TimesEcho = &r.CPU, &r.TimesEcho
		}
		if r.CPU > 0 && r.Name != load.BareEcho {
			times := r.CPU / b.Check[0].Sign
			one.TimesSignature = &times
		}
		b.Exchange = append(b.Exchange, one)
		if r.Name != oneByOne {
			continue
		}
		for _, other := range rows {
			if other.Name == inGroups && other.Keys == r.Keys && other.Conns == r.Conns {
				b.Ratios = append(b.Ratios, benchRatio{"exchanges in groups / with one commit each", r.Keys, r.Conns, other.PerSecond / r.PerSecond})
			}
		}
	}
}

// sums fails unless what was answered is what was recorded and charged.
func (b *benchmark) sums() error {
	if b.Recorded != b.Granted || b.Spent != b.Granted {
		return fmt.Errorf("%d exchanges were answered, but %d are recorded and %d charged", b.Granted, b.Recorded, b.Spent)
	}
	return nil
}

func (b *benchmark) print(w io.Writer) error {
	m := b.Machine
	if _, err := fmt.Fprintf(w, "cambio %s, %s, %s, %s, GOMAXPROCS %d, %s\n%s, a small write is on the disk after %.2f ms\n\n",
		m.Cambio, m.Go, m.Platform, count(m.Cores, "core"), m.GOMAXPROCS, dash(visible(m.CPU)), visible(b.Store.Version), b.Store.CommitMS); err != nil {
		return err
	}
	if err := table(w, b.exchangeTable()); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	if err := table(w, b.checkTable()); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d exchanges were answered, and exactly these are recorded and charged.\n", b.Granted)
	return err
}

func (b *benchmark) exchangeTable() [][]string {
	rows := [][]string{{"EXCHANGE", "KEYS", "CONNECTIONS", "PER SECOND", "P50 MS", "P99 MS", "SERVER CPU µs", "× BARE ECHO", "× SIGNATURE", "× ONE COMMIT EACH"}}
	for _, e := range b.Exchange {
		gain := ""
		for _, r := range b.Ratios {
			if e.Name == inGroups && r.Keys == e.Keys && r.Conns == e.Conns {
				gain = fmt.Sprintf("%.2f", r.Times)
			}
		}
		rows = append(rows, []string{
			e.Name, e.Keys, fmt.Sprint(e.Conns), fmt.Sprintf("%.0f", e.PerSecond), fmt.Sprintf("%.2f", e.P50), fmt.Sprintf("%.2f", e.P99),
			known("%.1f", e.CPU), known("%.2f", e.TimesEcho), known("%.2f", e.TimesSignature), gain,
		})
	}
	return rows
}

func (b *benchmark) checkTable() [][]string {
	rows := [][]string{{"CHECK", "SIGNATURE MADE µs", "VERIFIED µs", "NEVER SEEN µs", "× VERIFIED", "SEEN BEFORE µs", "× VERIFIED"}}
	for _, c := range b.Check {
		row := []string{c.Algorithm}
		for _, v := range []float64{c.Sign, c.Verify, c.First, c.FirstTimes, c.Seen} {
			row = append(row, fmt.Sprintf("%.2f", v))
		}
		rows = append(rows, append(row, fmt.Sprintf("%.3f", c.SeenTimes)))
	}
	return rows
}

func known(format string, v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(format, *v)
}
