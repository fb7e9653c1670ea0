package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

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
		if _, err := fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// page is one thing, a line for each of its fields.
type page [][]string

func (p *page) line(name, value string) {
	if value == "" {
		value = "-"
	}
	*p = append(*p, []string{name, value})
}

// instant is nil, so null in JSON, for a time that never comes.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func showTime(t *time.Time, never string) string {
	if t == nil {
		return never
	}
	return t.Format(time.RFC3339)
}

// seconds is a duration in JSON; zero, for no bound, is null.
func seconds(d time.Duration) *int64 {
	if d == 0 {
		return nil
	}
	s := int64(d / time.Second)
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

// orEmpty makes [] of what would be null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// note tells a person something that is neither result nor error.
func (p process) note(format string, args ...any) {
	_, _ = fmt.Fprintf(p.stderr, format+"\n", args...)
}
