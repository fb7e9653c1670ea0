package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/verifier"
)

// output is the flag of everything that prints.
type output struct {
	JSON bool `name:"json" help:"Print JSON, for programs."`
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows in columns; the first row is the heading.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = visible(cell)
		}
		if _, err := fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// visible shows what would steer a terminal as what it is: others may have written
// it, over HTTP.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// page is one thing, a line for each of its fields.
type page [][]string

func (p *page) line(name, value string) {
	if value == "" {
		value = "-"
	}
	*p = append(*p, []string{name, value})
}

// some is line for what only some things have.
func (p *page) some(name, value string) {
	if value != "" {
		p.line(name, value)
	}
}

func showTime(t *time.Time, never string) string {
	if t == nil {
		return never
	}
	return t.Format(time.RFC3339)
}

// orNull is null in JSON for what is not there.
func orNull[T ~string](s T) *T {
	if s == "" {
		return nil
	}
	return &s
}

func showDuration(d time.Duration, none string) string {
	if d == 0 {
		return none
	}
	return verifier.Every(d).String()
}

func showPermissions(p verifier.Permissions, none string) string {
	if len(p) == 0 {
		return none
	}
	return permission.Scope(p)
}

func showList[T ~string](list []T, none string) string {
	if len(list) == 0 {
		return none
	}
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = string(v)
	}
	return strings.Join(words, " ")
}

// note tells a person something that is neither result nor error.
func (p process) note(format string, args ...any) {
	_, _ = fmt.Fprintf(p.stderr, format+"\n", args...)
}
