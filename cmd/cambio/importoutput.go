package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/cambio-auth/cambio/internal/importer"
	"github.com/cambio-auth/cambio/verifier"
)

// importOutput prints what becomes of rows, as it becomes known: there may be
// millions of them.
type importOutput struct {
	process
	json   bool
	all    bool  // rows without trouble too
	failed error // of printing, the first
}

type importRowJSON struct {
	Row        int            `json:"row"`
	Outcome    string         `json:"outcome"`
	ID         verifier.KeyID `json:"id,omitempty"`
	ExternalID string         `json:"external_id,omitempty"`
	Start      string         `json:"start,omitempty"`
	Name       string         `json:"name,omitempty"`
	Keyspace   string         `json:"keyspace,omitempty"`
	Error      string         `json:"error,omitempty"`
	Notes      []string       `json:"notes,omitempty"`
}

func (o *importOutput) row(r importer.Outcome) {
	if r.Err == nil && !o.all {
		return
	}
	v := importRowJSON{
		Row: r.Number, Outcome: r.Outcome, ID: r.ID, ExternalID: r.Key.ExternalID,
		Start: r.Key.Start, Name: r.Key.Name, Keyspace: r.Key.Keyspace, Notes: r.Notes,
	}
	if r.Err != nil {
		v.Error = r.Err.Error()
	}
	var err error
	if o.json {
		err = printJSON(o.stdout, v)
	} else {
		_, err = fmt.Fprintln(o.stdout, v)
	}
	if o.failed == nil {
		o.failed = err
	}
}

// String is a line. Its columns are not aligned with those of other lines further
// down, which are not known yet.
func (v importRowJSON) String() string {
	line := fmt.Sprintf("%6d  %-9s  %-32s  %-12s  %s", v.Row, v.Outcome, dash(v.ExternalID), dash(firstOf(v.Start, v.Name)), dash(v.Keyspace))
	if v.Error != "" {
		line += "  " + v.Error
	}
	for _, note := range v.Notes {
		line += "\n        note: " + note
	}
	return line
}

func firstOf(start, name string) string {
	if start != "" {
		return start + "…"
	}
	return name
}

// summary prints what was done, also before a run was cut short by err.
func (o *importOutput) summary(s importer.Summary, err error) error {
	if o.json {
		return printJSON(o.stdout, map[string]importer.Summary{"summary": s})
	}
	did := "imported"
	switch {
	case s.DryRun:
		did = "would be imported"
	case err != nil:
		did = "imported so far"
	}
	for _, note := range s.Notes {
		o.note("%s", note)
	}
	if s.Noted > 0 && !o.all {
		o.note("%d of the rows have notes, which --dry-run and --json print", s.Noted)
	}
	_, err = fmt.Fprintf(o.stdout, "%d of %d rows %s, %d unchanged, %d in conflict, %d bad\n",
		s.Imported, s.Rows, did, s.Unchanged, s.Conflicts, s.Invalid)
	return err
}

// progress tells a person every second how far the import is, and a log every
// 100,000 rows.
func (o *importOutput) progress() func(importer.Summary) {
	began := time.Now()
	if file, ok := o.stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		told := began
		return func(s importer.Summary) {
			if time.Since(told) >= time.Second {
				told = time.Now()
				o.note("%s", rowsIn(s, told.Sub(began)))
			}
		}
	}
	return func(s importer.Summary) {
		if s.Rows%100_000 == 0 {
			o.note("%s", rowsIn(s, time.Since(began)))
		}
	}
}

func rowsIn(s importer.Summary, took time.Duration) string {
	var bad string
	if n := s.Bad(); n > 0 {
		bad = fmt.Sprintf(", %d bad or in conflict", n)
	}
	return fmt.Sprintf("%d rows in %s%s", s.Rows, took.Round(time.Second), bad)
}
