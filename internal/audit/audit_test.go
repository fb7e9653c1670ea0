package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/audit"
)

var noon = time.Date(2026, time.March, 10, 12, 0, 0, 123456789, time.UTC)

// log is a log as a database would return it, and so as somebody may have left it.
type log struct {
	rows []audit.Row
	head audit.Head
}

func (l *log) AuditHead(context.Context) (audit.Head, error) { return l.head, nil }

func (l *log) Audit(_ context.Context, q audit.Query) ([]audit.Row, error) {
	var page []audit.Row
	rows := slices.Clone(l.rows)
	if q.Newest {
		slices.Reverse(rows)
	}
	for _, row := range rows {
		if row.Seq > q.After && (q.Before == 0 || row.Seq < q.Before) && len(page) < q.Limit {
			page = append(page, row)
		}
	}
	return page, nil
}

func (l *log) add(t *testing.T, e audit.Entry) {
	t.Helper()
	row, head, err := l.head.Append(e)
	if err != nil {
		t.Fatal(err)
	}
	l.rows, l.head = append(l.rows, row), head
}

// written returns a log of n entries.
func written(t *testing.T, n int) *log {
	t.Helper()
	l := &log{}
	for i := range n {
		l.add(t, audit.Entry{
			At: noon.Add(time.Duration(i) * time.Second), Actor: audit.Actor{Kind: audit.KindClient, ID: "ops", From: "192.0.2.1"},
			Action: "key.disable", Target: fmt.Sprintf("key_%d", i+1), Keyspace: "default", Reason: "lost <laptop> & found",
			Before: json.RawMessage(`{"state":"active"}`), After: json.RawMessage(`{"state":"disabled"}`),
		})
	}
	return l
}

// forge hashes everything from an entry on anew, as somebody would who can write.
func (l *log) forge(t *testing.T, from int, change func(*audit.Entry)) {
	t.Helper()
	was := l.rows
	l.rows, l.head = nil, audit.Head{}
	for i, row := range was {
		e, err := row.Rest()
		if err != nil {
			t.Fatal(err)
		}
		if i == from {
			change(&e)
		}
		l.add(t, e)
	}
}

func TestVerifyFindsWhatWasChanged(t *testing.T) {
	const entries = 2500 // several pages
	whole := written(t, entries)
	tests := map[string]struct {
		tamper func(l *log)
		want   string // begins the first fault; empty: none
	}{
		"a log that nobody touched is whole": {func(*log) {}, ""},
		"an empty log is whole":              {func(l *log) { *l = log{} }, ""},
		"an entry was changed": {func(l *log) {
			l.rows[1200].JSON = bytes.Replace(l.rows[1200].JSON, []byte("disabled"), []byte("active"), 1)
		}, "entry 1201 is not what was written"},
		"a hash was changed": {func(l *log) { l.rows[3].Hash[0] ^= 1 }, "entry 4 is not what was written"},
		"an entry and its hash were changed": {func(l *log) {
			e, _ := l.rows[6].Rest()
			e.Target = "key_x"
			l.rows[6], _, _ = audit.Head{Seq: 6, Hash: l.rows[5].Hash}.Append(e)
		}, "entry 8 is not what was written, or does not follow"},
		"an entry was removed":        {func(l *log) { l.rows = slices.Delete(l.rows, 999, 1000) }, "entry 1000 is missing"},
		"entries were removed":        {func(l *log) { l.rows = slices.Delete(l.rows, 10, 15) }, "entries 11 to 15 are missing"},
		"the first entry was removed": {func(l *log) { l.rows = l.rows[1:] }, "entry 1 is missing"},
		"the last entry was removed":  {func(l *log) { l.rows = l.rows[:entries-1] }, "the log ends after entry 2499"},
		"every entry was removed":     {func(l *log) { l.rows = nil }, "the log ends after entry 0"},
		"two entries changed places": {func(l *log) {
			a, b := &l.rows[20], &l.rows[21]
			*a, *b = *b, *a
			a.Seq, b.Seq = 21, 22
		}, "entry 21 is not what was written"},
		"a column was changed":   {func(l *log) { l.rows[5].Target = "key_other" }, "entry 6: the column target"},
		"a time was changed":     {func(l *log) { l.rows[5].At = noon.Add(time.Hour) }, "entry 6: the column at"},
		"an actor was changed":   {func(l *log) { l.rows[5].Actor.ID = "somebody" }, "entry 6: the column actor"},
		"a keyspace was changed": {func(l *log) { l.rows[5].Keyspace = "" }, "entry 6: the column keyspace"},
		"an action was changed":  {func(l *log) { l.rows[5].Action = "key.enable" }, "entry 6: the column action"},
		"the head was set back":  {func(l *log) { l.head = audit.Head{Seq: 9, Hash: l.rows[0].Hash} }, "the last entry is not the one"},
		"an entry was added past the end": {func(l *log) {
			row, _, _ := audit.Head{Seq: entries + 8}.Append(audit.Entry{At: noon, Action: "key.revoke"})
			l.rows = append(l.rows, row)
		}, "the log ends with entry 2500, but there is an entry 2509"},
		"the head was set back, and nothing else": {func(l *log) {
			l.head = audit.Head{Seq: 9, Hash: l.rows[8].Hash}
		}, "the log ends with entry 9, but there is an entry 2500"},
		"no JSON any more": {func(l *log) { l.rows[5].JSON = []byte("{") }, "entry 6 is not what was written"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := &log{slices.Clone(whole.rows), whole.head}
			test.tamper(l)
			report, err := audit.Verify(t.Context(), l, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(report.Faults) > 0 {
				got = report.Faults[0].What
			}
			if test.want == "" && got != "" || !strings.HasPrefix(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhoHashesAnewIsFoundByAHeadThatWasWrittenDown(t *testing.T) {
	verify := func(t *testing.T, l *log, known ...audit.Head) []audit.Fault {
		t.Helper()
		report, err := audit.Verify(t.Context(), l, known, nil)
		if err != nil {
			t.Fatal(err)
		}
		return report.Faults
	}
	l := written(t, 20)
	known := l.head
	l.add(t, audit.Entry{At: noon, Action: "key.revoke"})
	if faults := verify(t, l, audit.Head{}, known); len(faults) > 0 {
		t.Errorf("a log that went on: %v", faults)
	}
	l.forge(t, 4, func(e *audit.Entry) { e.Target = "key_x" })
	if faults := verify(t, l); len(faults) > 0 {
		t.Errorf("without a head nothing is to be seen, but: %v", faults)
	}
	if faults := verify(t, l, known); len(faults) != 1 || faults[0].Seq != 20 {
		t.Errorf("with a head: %v", faults)
	}
	cut := written(t, 10)
	if faults := verify(t, cut, known); len(faults) != 1 || !strings.Contains(faults[0].What, "ends with entry 10") {
		t.Errorf("cut off behind its end: %v", faults)
	}
}

func TestVerifyTellsHowFarItIs(t *testing.T) {
	l := written(t, 2001)
	var told []int64
	report, err := audit.Verify(t.Context(), l, nil, func(seq, of int64) { told = append(told, seq, of) })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{1000, 2001, 2000, 2001, 2001, 2001}, told); diff != "" {
		t.Error(diff)
	}
	if report.Entries != 2001 || report.Head != l.head {
		t.Errorf("%+v", report)
	}
}

func TestAnEntryComesBackAsItWasWritten(t *testing.T) {
	l := written(t, 1)
	got, err := l.rows[0].Rest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l.rows[0].Entry, got); diff != "" {
		t.Error(diff)
	}
	if got.Seq != 1 || !got.At.Equal(noon.Truncate(time.Microsecond)) || got.Reason != "lost <laptop> & found" {
		t.Errorf("%+v", got)
	}
}

func TestTheActorOfAContext(t *testing.T) {
	if got := audit.From(t.Context()); got != (audit.Actor{Kind: audit.KindServer}) {
		t.Errorf("none: %+v", got)
	}
	ops := audit.Actor{Kind: audit.KindOperator, ID: "anna", From: "desk"}
	if got := audit.From(audit.By(t.Context(), ops)); got != ops {
		t.Errorf("%+v", got)
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add("0:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add(audit.Head{Seq: 42, Hash: audit.Hash{1, 2, 3}}.String())
	f.Add("-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("1:")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := audit.ParseHead(s)
		if err != nil {
			return
		}
		if back, err := audit.ParseHead(h.String()); err != nil || back != h || h.Seq < 0 {
			t.Errorf("%q reads as %v, which reads as %v, %v", s, h, back, err)
		}
	})
}

func TestVerifyEndLooksAtTheEndAlone(t *testing.T) {
	for name, test := range map[string]struct {
		entries, n int
		tamper     func(l *log)
		read       int64
		want       string // begins the first fault; empty: none
	}{
		"the end is read, and no more":             {2500, 1000, func(*log) {}, 1000, ""},
		"a log that is shorter is read whole":      {20, 1000, func(*log) {}, 20, ""},
		"a log of that length is read whole":       {20, 20, func(*log) {}, 20, ""},
		"what is before the end is not looked at":  {30, 10, func(l *log) { l.rows[18].JSON = nil }, 10, ""},
		"the first entry of the end is looked at":  {30, 10, func(l *log) { l.rows[20].JSON = []byte("{}") }, 10, "entry 21 is not what was written"},
		"the last entry is looked at":              {30, 10, func(l *log) { l.rows = l.rows[:29] }, 9, "the log ends after entry 29"},
		"what the end follows on must be there":    {30, 10, func(l *log) { l.rows = slices.Delete(l.rows, 19, 20) }, 0, "entry 20 is missing"},
		"the end must follow on what is before it": {30, 10, func(l *log) { l.rows[19].Hash[0] ^= 1 }, 10, "entry 21 is not what was written"},
	} {
		t.Run(name, func(t *testing.T) {
			l := written(t, test.entries)
			test.tamper(l)
			report, err := audit.VerifyEnd(t.Context(), l, int64(test.n))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(report.Faults) > 0 {
				got = report.Faults[0].What
			}
			if report.Entries != test.read || test.want == "" && got != "" || !strings.HasPrefix(got, test.want) {
				t.Errorf("read %d and found %q, want %d and %q", report.Entries, got, test.read, test.want)
			}
		})
	}
}
