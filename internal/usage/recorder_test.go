package usage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

// ledger is a usage.Store that remembers what it was told, unless it is away.
type ledger struct {
	mu     sync.Mutex
	away   bool
	writes int
	counts map[usage.Count]int64
	rolled int
	old    int
	before time.Time
}

func (l *ledger) AddUsage(_ context.Context, counts []usage.Count) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return errors.New("away")
	}
	l.writes++
	for _, c := range counts {
		n := c.Requests
		c.Requests = 0
		l.counts[c] += n
	}
	return nil
}

func (l *ledger) Usage(context.Context, usage.Query) ([]usage.Point, error) { return nil, nil }

func (l *ledger) RollUp(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rolled++
	return nil
}

func (l *ledger) Forget(_ context.Context, before time.Time, limit int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(l.old, limit)
	l.old -= n
	l.before = before
	return n, nil
}

func run(t *testing.T, l *ledger, cfg usage.RecorderConfig, story func(*usage.Recorder)) {
	synctest.Test(t, func(t *testing.T) {
		l.counts = map[usage.Count]int64{}
		cfg.Store = l
		if cfg.Log == nil {
			cfg.Log = slog.New(slog.DiscardHandler)
		}
		r := usage.NewRecorder(cfg)
		ctx, stop := context.WithCancel(t.Context())
		var worker sync.WaitGroup
		worker.Go(func() { r.Run(ctx) })
		story(r)
		stop()
		worker.Wait()
	})
}

var spent = usage.Count{Key: "key_1", Client: "orders", Audience: "a", Outcome: "spent"}

func TestRefusalsAreWrittenTogether(t *testing.T) {
	l := &ledger{}
	run(t, l, usage.RecorderConfig{}, func(r *usage.Recorder) {
		for range 1000 {
			r.Refused(spent)
		}
		time.Sleep(11 * time.Second) // virtual
		synctest.Wait()
		if l.writes != 1 || l.counts[spent] != 1000 {
			t.Errorf("%d writes, %v", l.writes, l.counts)
		}
	})
}

func TestNothingIsWrittenWhenThereIsNothing(t *testing.T) {
	l := &ledger{}
	run(t, l, usage.RecorderConfig{}, func(*usage.Recorder) { time.Sleep(time.Hour) })
	if l.writes != 0 || l.rolled < 10 {
		t.Errorf("%d writes, summed up %d times in an hour", l.writes, l.rolled)
	}
}

func TestTheLastCountsAreWrittenAtTheEnd(t *testing.T) {
	l := &ledger{}
	run(t, l, usage.RecorderConfig{}, func(r *usage.Recorder) { r.Refused(spent) })
	if l.counts[spent] != 1 {
		t.Errorf("%v", l.counts)
	}
}

func TestAStoreThatIsAwayLosesNoCount(t *testing.T) {
	l := &ledger{away: true}
	run(t, l, usage.RecorderConfig{}, func(r *usage.Recorder) {
		r.Refused(spent)
		time.Sleep(time.Minute)
		r.Refused(spent)
		l.mu.Lock()
		l.away = false
		l.mu.Unlock()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff(map[usage.Count]int64{spent: 2}, l.counts); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAFloodOfKeysIsBoundedAndTheLogTells(t *testing.T) {
	l := &ledger{}
	var log strings.Builder
	run(t, l, usage.RecorderConfig{Log: slog.New(slog.NewTextHandler(&log, nil))}, func(r *usage.Recorder) {
		for i := range 10_100 {
			r.Refused(usage.Count{Key: verifier.KeyID(fmt.Sprint(i)), Outcome: "expired"})
		}
	})
	if len(l.counts) != 10_000 || !strings.Contains(log.String(), "refusals=100") {
		t.Errorf("%d written, %s", len(l.counts), log.String())
	}
}

func TestOldCountsAreForgottenInPieces(t *testing.T) {
	l := &ledger{old: 12_000}
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	run(t, l, usage.RecorderConfig{Retention: time.Hour, Now: func() time.Time { return now }}, func(*usage.Recorder) {
		synctest.Wait()
		if l.old != 0 || !l.before.Equal(now.Add(-time.Hour)) {
			t.Errorf("%d left, before %v", l.old, l.before)
		}
	})
}
