package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Bounds of a verification.
const (
	page      = 1000
	maxFaults = 100 // the rest is not worth telling apart
)

// Report is what a verification found.
type Report struct {
	Head    Head    // where the log ended when it began
	Entries int64   // that were read
	Faults  []Fault // none: nothing was changed behind our back
}

// Fault is a place where the log is not what was written.
type Fault struct {
	Seq  int64
	What string
}

// Verify reads the whole log and finds entries that were changed, removed, reordered
// or added past it, as far as what was read can tell; known are heads that were
// written down elsewhere, which the log must have passed through. progress, unless it
// is nil, is called after each thousand entries.
func Verify(ctx context.Context, log Log, known []Head, progress func(seq, of int64)) (Report, error) {
	head, err := log.AuditHead(ctx)
	if err != nil {
		return Report{}, err
	}
	v := verification{report: Report{Head: head}, known: known}
	v.passes(Head{})
	return v.read(ctx, log, progress)
}

// VerifyEnd is Verify of the last n entries. It takes what is before them for
// granted.
func VerifyEnd(ctx context.Context, log Log, n int64) (Report, error) {
	head, err := log.AuditHead(ctx)
	if err != nil {
		return Report{}, err
	}
	v := verification{report: Report{Head: head}}
	if before := head.Seq - n; before > 0 {
		rows, err := log.Audit(ctx, Query{After: before - 1, Before: before + 1, Limit: 1})
		if err != nil {
			return Report{}, err
		}
		if len(rows) == 0 {
			v.fault(before, "entry %d is missing", before)
			return v.report, nil
		}
		v.at = Head{before, rows[0].Hash}
	}
	return v.read(ctx, log, nil)
}

// read goes on to the head.
func (v *verification) read(ctx context.Context, log Log, progress func(seq, of int64)) (Report, error) {
	head := v.report.Head
	for v.at.Seq < head.Seq {
		rows, err := log.Audit(ctx, Query{After: v.at.Seq, Before: head.Seq + 1, Limit: page})
		if err != nil {
			return Report{}, err
		}
		if len(rows) == 0 {
			break
		}
		for _, row := range rows {
			v.next(row)
		}
		if progress != nil {
			progress(v.at.Seq, head.Seq)
		}
	}
	v.end(head)
	return v.report, v.beyond(ctx, log)
}

// beyond finds what was added past the end. The newest entry is read before the head,
// which every entry that is written in the meantime moves with it.
func (v *verification) beyond(ctx context.Context, log Log) error {
	rows, err := log.Audit(ctx, Query{Newest: true, Limit: 1})
	if err != nil {
		return err
	}
	head, err := log.AuditHead(ctx)
	if err != nil {
		return err
	}
	if len(rows) > 0 && rows[0].Seq > head.Seq {
		v.fault(head.Seq+1, "the log ends with entry %d, but there is an entry %d", head.Seq, rows[0].Seq)
	}
	return nil
}

// verification is how far the log was read.
type verification struct {
	report Report
	at     Head // as the last row says, so that one fault is told once
	known  []Head
}

func (v *verification) fault(seq int64, format string, args ...any) {
	if len(v.report.Faults) < maxFaults {
		v.report.Faults = append(v.report.Faults, Fault{seq, fmt.Sprintf(format, args...)})
	}
}

func (v *verification) next(row Row) {
	v.report.Entries++
	switch {
	case row.Seq == v.at.Seq+2:
		v.fault(v.at.Seq+1, "entry %d is missing", v.at.Seq+1)
	case row.Seq != v.at.Seq+1:
		v.fault(v.at.Seq+1, "entries %d to %d are missing", v.at.Seq+1, row.Seq-1)
	case v.at.hash(row.JSON) != row.Hash:
		v.fault(row.Seq, "entry %d is not what was written, or does not follow the one before it", row.Seq)
	}
	if what := row.differs(); what != "" {
		v.fault(row.Seq, "entry %d: the column %s does not say what the entry says", row.Seq, what)
	}
	v.at = Head{row.Seq, row.Hash}
	v.passes(v.at)
}

// passes holds a place of the log against what was written down of it.
func (v *verification) passes(at Head) {
	for _, h := range v.known {
		if h.Seq == at.Seq && h.Hash != at.Hash {
			v.fault(at.Seq, "entry %d is not the one that was written down", at.Seq)
		}
	}
}

func (v *verification) end(head Head) {
	switch {
	case v.at.Seq < head.Seq:
		v.fault(v.at.Seq+1, "the log ends after entry %d, and had %d", v.at.Seq, head.Seq)
	case v.at != head:
		v.fault(head.Seq, "the last entry is not the one that was written last")
	}
	for _, h := range v.known {
		if h.Seq > head.Seq {
			v.fault(h.Seq, "the log ends with entry %d, but entry %d was written down", head.Seq, h.Seq)
		}
	}
}

// differs names a column that does not say what the entry says.
func (r Row) differs() string {
	var e Entry
	if json.Unmarshal(r.JSON, &e) != nil {
		return "entry"
	}
	for _, c := range []struct {
		name string
		same bool
	}{
		{"seq", e.Seq == r.Seq},
		{"at", e.At.Equal(r.At.Truncate(time.Microsecond))},
		{"actor", e.Actor.ID == r.Actor.ID},
		{"action", e.Action == r.Action},
		{"target", e.Target == r.Target},
		{"keyspace", e.Keyspace == r.Keyspace},
	} {
		if !c.same {
			return c.name
		}
	}
	return ""
}

// Rest returns the entry of a row that was read, with all that the columns do not
// hold.
func (r Row) Rest() (Entry, error) {
	var e Entry
	if err := json.Unmarshal(r.JSON, &e); err != nil {
		return Entry{}, fmt.Errorf("entry %d: %w", r.Seq, err)
	}
	return e, nil
}
