package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/cambio-auth/cambio/internal/load"
)

type rows []load.Row

func (all rows) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\n%s\t", all[0].Block)
	fmt.Fprint(t, "keys\tconns\tper second\tp50 ms\tp99 ms\tserver µs\t× echo\tdatabase µs\tallocs\tbytes\tresident MB\t\n")
	for _, r := range all {
		fmt.Fprintf(t, "%s\t%s\t%d\t%.0f\t%.2f\t%.2f\t%.1f\t%s\t%s\t%.0f\t%.0f\t%s\t\n",
			r.Name, r.Keys, r.Conns, r.PerSecond, r.P50, r.P99, r.CPU,
			unlessZero("%.2f", r.TimesEcho), unlessZero("%.1f", r.Database), r.Allocs, r.AllocBytes, unlessZero("%.0f", r.ResidentMB))
	}
	_ = t.Flush()
}

func unlessZero(format string, v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// appendTo writes a line of JSON for each row.
func (all rows) appendTo(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, r := range all {
		if err := json.NewEncoder(file).Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// at returns the row of a block, or false if it was not measured.
func (all rows) at(block, name, keys string, conns int) (load.Row, bool) {
	for _, r := range all {
		if r.Block == block && r.Name == name && r.Keys == keys && r.Conns == conns {
			return r, true
		}
	}
	return load.Row{}, false
}

// target is a figure to reach.
type target struct {
	what    string
	most    bool // want is the most that is good, not the least
	want    float64
	unit    string
	measure func(rows) (float64, bool)
}

// place names a row.
type place struct {
	block, name, keys string
	conns             int
}

// ratio of one figure of two rows.
func ratio(of func(load.Row) float64, over, under place) func(rows) (float64, bool) {
	return func(all rows) (float64, bool) {
		a, okA := all.at(over.block, over.name, over.keys, over.conns)
		b, okB := all.at(under.block, under.name, under.keys, under.conns)
		return of(a) / of(b), okA && okB && of(b) > 0
	}
}

func figure(of func(load.Row) float64, at place) func(rows) (float64, bool) {
	return func(all rows) (float64, bool) {
		r, ok := all.at(at.block, at.name, at.keys, at.conns)
		return of(r), ok
	}
}

func perSecond(r load.Row) float64   { return r.PerSecond }
func timesEcho(r load.Row) float64   { return r.TimesEcho }
func databaseCPU(r load.Row) float64 { return r.Database }
func median(r load.Row) float64      { return r.P50 }
func resident(r load.Row) float64    { return r.ResidentMB }

func targets() []target {
	const pg, lite = "PostgreSQL", "SQLite"
	at := func(block, name, keys string, conns int) place { return place{block, name, keys, conns} }
	list := []target{
		{"in memory: server CPU / bare echo", true, 4, "×", figure(timesEcho, at("memory", exchanging, manyKeys, 64))},
		{"PostgreSQL: server CPU / bare echo, many keys", true, 5.5, "×", figure(timesEcho, at(pg, oneGroup, manyKeys, 64))},
		{"PostgreSQL: server CPU / bare echo, one key", true, 5, "×", figure(timesEcho, at(pg, oneGroup, hotKey, 64))},
		{"PostgreSQL's CPU, groups / one commit each, many keys", true, 0.4, "×", ratio(databaseCPU, at(pg, oneGroup, manyKeys, 64), at(pg, perRequest, manyKeys, 64))},
		{"PostgreSQL's CPU, groups / one commit each, one key", true, 0.1, "×", ratio(databaseCPU, at(pg, oneGroup, hotKey, 64), at(pg, perRequest, hotKey, 64))},
	}
	for _, l := range []struct {
		conns int
		want  float64
	}{{16, 0.85}, {64, 1.4}, {256, 2}} {
		list = append(list, target{
			fmt.Sprintf("PostgreSQL: throughput, groups / one commit each, many keys, %d connections", l.conns), false, l.want, "×",
			ratio(perSecond, at(pg, oneGroup, manyKeys, l.conns), at(pg, perRequest, manyKeys, l.conns)),
		})
	}
	list = append(list,
		target{"PostgreSQL: throughput, groups / one commit each, one key", false, 5, "×", ratio(perSecond, at(pg, oneGroup, hotKey, 64), at(pg, perRequest, hotKey, 64))},
		target{"PostgreSQL: throughput, one key / many keys", false, 0.85, "×", ratio(perSecond, at(pg, oneGroup, hotKey, 64), at(pg, oneGroup, manyKeys, 64))},
		target{"SQLite: throughput, groups / one commit each, many keys", false, 2.2, "×", ratio(perSecond, at(lite, oneGroup, manyKeys, 64), at(lite, perRequest, manyKeys, 64))},
	)
	for _, block := range []string{pg, lite} {
		crowd := "keys stored, " + block
		list = append(list,
			target{block + ": p50 with 10⁶ keys / with 10³", true, 1.5, "×", ratio(median, at(crowd, oneGroup, "1000000", 64), at(crowd, oneGroup, "1000", 64))},
			target{block + ": resident memory of a server with 10⁶ keys", true, 200, " MB", figure(resident, at(crowd, oneGroup, "1000000", 64))},
		)
	}
	return list
}

// compare says which targets are met, of those that were measured. One that is
// missed fails nothing.
func (all rows) compare(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\ntarget, with 64 connections unless said\twant\tmeasured\t\n")
	for _, one := range targets() {
		got, ok := one.measure(all)
		if !ok {
			continue
		}
		sign, met := "≥", got >= one.want
		if one.most {
			sign, met = "≤", got <= one.want
		}
		verdict := "met"
		if !met {
			verdict = "MISSED"
		}
		fmt.Fprintf(t, "%s\t%s %g%s\t%.2f%s\t%s\n", one.what, sign, one.want, one.unit, got, one.unit, verdict)
	}
	_ = t.Flush()
}
