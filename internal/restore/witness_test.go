package restore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/restore"
)

// at is data that goes so far. Its log says the same from the entry before fork on.
type at struct {
	confirmed, revision, seq int64
	fork                     int64 // entries from this one on are others; zero: none
	why                      string
	err                      error
}

func (d at) hash(seq int64) (h audit.Hash) {
	h[0] = byte(seq)
	if d.fork > 0 && seq >= d.fork {
		h[1] = 1
	}
	return h
}

func (d at) Lineage(context.Context) (restore.Lineage, error) {
	return restore.Lineage{Confirmed: d.confirmed, Why: d.why, Revision: d.revision, Head: audit.Head{Seq: d.seq, Hash: d.hash(d.seq)}}, d.err
}

func (d at) Audit(_ context.Context, q audit.Query) ([]audit.Row, error) {
	if q.After >= d.seq {
		return nil, nil
	}
	return []audit.Row{{Entry: audit.Entry{Seq: q.After + 1}, Hash: d.hash(q.After + 1)}}, nil
}

var errAway = errors.New("away")

func TestAWitness(t *testing.T) {
	seen := at{confirmed: 100, revision: 110, seq: 7}
	for name, test := range map[string]struct {
		then at
		want error
	}{
		"of the same":                               {seen, nil},
		"of what has grown":                         {at{confirmed: 100, revision: 112, seq: 9}, nil},
		"of a revision that was taken back":         {at{confirmed: 100, revision: 109, seq: 9}, restore.ErrBackwards},
		"of a log that is shorter":                  {at{confirmed: 100, revision: 110, seq: 6}, restore.ErrBackwards},
		"of a log of the same length with an other": {at{confirmed: 100, revision: 110, seq: 7, fork: 7}, restore.ErrBackwards},
		"of a longer log that has forked":           {at{confirmed: 100, revision: 120, seq: 20, fork: 6}, restore.ErrBackwards},
		"of a longer log that differs later":        {at{confirmed: 100, revision: 120, seq: 20, fork: 8}, nil},
		"of an earlier confirmation":                {at{confirmed: 99, revision: 120, seq: 20}, restore.ErrBackwards},
		"of a later one, with less in it":           {at{confirmed: 200, revision: 200, seq: 3, fork: 1}, nil},
		"of what says itself that it was restored":  {at{confirmed: 200, revision: 200, seq: 9, why: "so"}, restore.ErrRestored},
		"of what does not answer":                   {at{confirmed: 100, revision: 1, err: errAway}, errAway},
	} {
		t.Run(name, func(t *testing.T) {
			var w restore.Witness
			if err := w.Look(t.Context(), seen); err != nil {
				t.Fatal(err)
			}
			for range 2 { // it does not get used to it
				err := w.Look(t.Context(), test.then)
				if !errors.Is(err, test.want) || restore.Unconfirmed(err) != (test.want != nil && !errors.Is(test.want, errAway)) {
					t.Errorf("%v, want %v", err, test.want)
				}
			}
			if test.want == nil {
				return
			}
			if err := w.Look(t.Context(), seen); err != nil {
				t.Errorf("when what was seen is back: %v", err)
			}
			if err := w.Look(t.Context(), at{confirmed: 300, revision: 300, seq: 1, fork: 1}); err != nil {
				t.Errorf("when it is confirmed: %v", err)
			}
		})
	}
}
