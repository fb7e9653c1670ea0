package importer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// Target stores keys. It is a manage.Manager.
type Target interface {
	// PrepareImport makes the keyspaces that are missing, and has those that are
	// there take keys of other forms. It returns what it did.
	PrepareImport(ctx context.Context, keyspaces []string, dryRun bool) (notes []string, err error)

	// PrepareWeak has keyspaces take keys that can be guessed. It returns what it did.
	PrepareWeak(ctx context.Context, keyspaces []string, dryRun bool) (notes []string, err error)

	// ImportKeys stores keys, each with a result of its own, in one transaction.
	ImportKeys(ctx context.Context, rows []manage.ImportKey, dryRun bool) ([]manage.ImportResult, error)
}

// Options changes how a run goes about it.
type Options struct {
	DryRun   bool          // write nothing
	Strict   bool          // stop before the batch of the first row that is not good
	Report   func(Outcome) // called for every row, in order; nil: nobody asks
	Progress func(Summary) // called after every batch; nil: nobody asks

	// Settle is how long to wait once keyspaces were made ready, so that no running
	// server refuses the first keys for their form; zero: none is running.
	Settle time.Duration
}

// Outcome is what came of a row, or would come of it.
type Outcome struct {
	Row
	Outcome string         // as of manage.ImportResult
	ID      verifier.KeyID // of the key; empty: there is none yet
}

// Summary counts the outcomes of rows.
type Summary struct {
	Rows      int64    `json:"rows"`
	Imported  int64    `json:"imported"` // or would be
	Unchanged int64    `json:"unchanged"`
	Conflicts int64    `json:"conflicts"`
	Invalid   int64    `json:"invalid"`
	Noted     int64    `json:"noted"` // rows with notes
	DryRun    bool     `json:"dry_run"`
	Notes     []string `json:"notes"` // about keyspaces
}

// Bad counts the rows whose key was not taken.
func (s Summary) Bad() int64 { return s.Conflicts + s.Invalid }

// StrictError is returned by a strict run that met a row that is not good. Nothing of
// its batch was written.
type StrictError struct{ Outcome }

func (e *StrictError) Error() string {
	return fmt.Sprintf("row %d: %v", e.Number, e.Err)
}

// batchSize is how many rows are in a transaction.
const batchSize = 1000

// Run imports what source yields, a batch of rows in each transaction. A bad row is
// reported and passed over. The summary of what was done until then comes with every
// error. Running it again changes nothing that was imported, so whatever stopped a
// run, it may be run again.
func Run(ctx context.Context, source Source, target Target, opts Options) (Summary, error) {
	r := run{target: target, opts: opts, lines: map[half]int{}, prepared: map[string]bool{}, weak: map[string]bool{}}
	r.summary = Summary{DryRun: opts.DryRun, Notes: []string{}}
	batch := make([]Row, 0, batchSize)
	for row, err := range source {
		if err != nil {
			return r.summary, err
		}
		if batch = append(batch, row); len(batch) < batchSize {
			continue
		}
		if err := r.batch(ctx, batch); err != nil {
			return r.summary, err
		}
		batch = batch[:0]
	}
	return r.summary, r.batch(ctx, batch)
}

// half of a digest tells keys of one file apart as well as all of it.
type half [16]byte

type run struct {
	target   Target
	opts     Options
	lines    map[half]int // where a digest came first
	prepared map[string]bool
	weak     map[string]bool // prepared for keys that can be guessed
	summary  Summary
}

func (r *run) batch(ctx context.Context, rows []Row) error {
	if err := ctx.Err(); err != nil || len(rows) == 0 {
		return err
	}
	outcomes, good := r.judge(rows)
	if r.opts.Strict {
		if err := r.allGood(ctx, outcomes, good); err != nil {
			return err
		}
	}
	if err := r.store(ctx, outcomes, good, r.opts.DryRun); err != nil {
		return err
	}
	for _, o := range outcomes {
		r.count(o)
		if r.opts.Report != nil {
			r.opts.Report(o)
		}
	}
	if r.opts.Progress != nil {
		r.opts.Progress(r.summary)
	}
	return nil
}

// judge returns an outcome for each row, and which rows still need one of the target.
func (r *run) judge(rows []Row) (outcomes []Outcome, good []int) {
	outcomes = make([]Outcome, len(rows))
	for i, row := range rows {
		o := Outcome{Row: row, Outcome: manage.ImportInvalid}
		if row.Err == nil {
			id := half(row.Key.Digest[:])
			if first, twice := r.lines[id]; twice {
				o.Outcome, o.Err = manage.ImportConflict, fmt.Errorf("key: is that of row %d", first)
			} else {
				r.lines[id] = row.Number
				good = append(good, i)
			}
		}
		outcomes[i] = o
	}
	return outcomes, good
}

// allGood fails with the first row that would not be taken.
func (r *run) allGood(ctx context.Context, outcomes []Outcome, good []int) error {
	tried := slices.Clone(outcomes)
	if err := r.store(ctx, tried, good, true); err != nil {
		return err
	}
	for _, o := range tried {
		if o.Outcome == manage.ImportInvalid || o.Outcome == manage.ImportConflict {
			return &StrictError{o}
		}
	}
	return nil
}

// store fills in the outcomes of the good rows.
func (r *run) store(ctx context.Context, outcomes []Outcome, good []int, dryRun bool) error {
	if len(good) == 0 {
		return nil
	}
	keys := make([]manage.ImportKey, len(good))
	var missing, weak []string
	for i, at := range good {
		keys[i] = outcomes[at].Key
		if name := keys[i].Keyspace; !r.prepared[name] && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
		if name := keys[i].Keyspace; keys[i].Weak && !r.weak[name] && !slices.Contains(weak, name) {
			weak = append(weak, name)
		}
	}
	if err := r.prepare(ctx, missing, weak, dryRun); err != nil {
		return err
	}
	results, err := r.target.ImportKeys(ctx, keys, dryRun)
	if err != nil {
		return err
	}
	if len(results) != len(keys) {
		return errors.New("importing keys: a result is missing")
	}
	for i, at := range good {
		o := &outcomes[at]
		o.Outcome, o.ID, o.Err = results[i].Outcome, results[i].ID, oneLine(results[i].Err)
	}
	return nil
}

// oneLine makes one line of errors that were joined.
func oneLine(err error) error {
	if err == nil || !strings.Contains(err.Error(), "\n") {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// prepare has keyspaces ready before the first key goes into them. The trial of a
// strict run is none of its dry runs, and leaves them to what follows.
func (r *run) prepare(ctx context.Context, keyspaces, weak []string, dryRun bool) error {
	if len(keyspaces)+len(weak) == 0 || dryRun != r.opts.DryRun {
		return nil
	}
	slices.Sort(keyspaces)
	slices.Sort(weak)
	notes, err := r.target.PrepareImport(ctx, keyspaces, dryRun)
	if err != nil {
		return err
	}
	more, err := r.target.PrepareWeak(ctx, weak, dryRun)
	if err != nil {
		return err
	}
	notes = append(notes, more...)
	r.summary.Notes = append(r.summary.Notes, notes...)
	for _, name := range keyspaces {
		r.prepared[name] = true
	}
	for _, name := range weak {
		r.weak[name] = true
	}
	if len(notes) == 0 || dryRun {
		return nil
	}
	return wait(ctx, r.opts.Settle)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (r *run) count(o Outcome) {
	r.summary.Rows++
	if len(o.Notes) > 0 {
		r.summary.Noted++
	}
	switch o.Outcome {
	case manage.ImportNew:
		r.summary.Imported++
	case manage.ImportUnchanged:
		r.summary.Unchanged++
	case manage.ImportConflict:
		r.summary.Conflicts++
	default:
		r.summary.Invalid++
	}
}
