package usage

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Times and bounds of a Recorder.
const (
	flushEvery   = 10 * time.Second
	tendEvery    = 5 * time.Minute
	storeTimeout = 30 * time.Second
	maxPending   = 10_000 // distinct counts kept between two writes
	forgetAtOnce = 5_000
)

// DefaultRetention is how long counts are kept.
const DefaultRetention = 400 * 24 * time.Hour

// RecorderConfig makes a Recorder.
type RecorderConfig struct {
	Store     Store            // required
	Retention time.Duration    // zero: DefaultRetention
	Log       *slog.Logger     // required
	Now       func() time.Time // zero: time.Now
}

// Recorder counts refusals, and tends what was counted: it sums up the hours
// that are over and deletes those that are too old.
type Recorder struct {
	cfg     RecorderConfig
	dropped atomic.Int64 // that the log has not told yet
	lost    atomic.Int64 // dropped, in all
	written atomic.Int64 // refusals, in all

	mu      sync.Mutex
	pending map[Count]int64 // with Requests 0: the number is the value
}

// NewRecorder makes a Recorder. It does nothing until Run.
func NewRecorder(cfg RecorderConfig) *Recorder {
	if cfg.Retention <= 0 {
		cfg.Retention = DefaultRetention
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Recorder{cfg: cfg, pending: map[Count]int64{}}
}

// Refused counts a refusal of a known key. It never blocks; when too much is
// pending, the count is dropped, which the log tells.
func (r *Recorder) Refused(c Count) {
	c.Requests, c.Cost = 0, 0
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.pending[c]; !known && len(r.pending) >= maxPending {
		r.drop(1)
		return
	}
	r.pending[c]++
}

// Run writes what is pending every ten seconds and once more when ctx ends.
func (r *Recorder) Run(ctx context.Context) {
	flush, tend := time.NewTicker(flushEvery), time.NewTicker(tendEvery)
	defer flush.Stop()
	defer tend.Stop()
	r.tend(ctx)
	for {
		select {
		case <-ctx.Done():
			r.flush(context.WithoutCancel(ctx))
			return
		case <-flush.C:
			r.flush(ctx)
		case <-tend.C:
			r.tend(ctx)
		}
	}
}

// flush writes what is pending. What cannot be written waits for the next time.
func (r *Recorder) flush(ctx context.Context) {
	r.mu.Lock()
	pending := r.pending
	r.pending = map[Count]int64{}
	r.mu.Unlock()
	if n := r.dropped.Swap(0); n > 0 {
		r.cfg.Log.WarnContext(ctx, "refusals not counted, of too many keys at a time", "refusals", n)
	}
	if len(pending) == 0 {
		return
	}
	counts, refusals := make([]Count, 0, len(pending)), int64(0)
	for c, n := range pending {
		c.Requests = n
		refusals += n
		counts = append(counts, c)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := r.cfg.Store.AddUsage(ctx, counts); err != nil {
		r.cfg.Log.WarnContext(ctx, "usage of refused keys not written yet", "counts", len(counts), "error", err)
		r.putBack(pending)
		return
	}
	r.written.Add(refusals)
}

func (r *Recorder) drop(n int64) {
	r.dropped.Add(n)
	r.lost.Add(n)
}

// Tally is what a Recorder did with refusals of known keys, since it was made.
type Tally struct {
	Pending int   // distinct counts that are not written yet
	Written int64 // refusals
	Dropped int64 // refusals: too many keys at a time
}

// Tally returns the counts of now.
func (r *Recorder) Tally() Tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Tally{Pending: len(r.pending), Written: r.written.Load(), Dropped: r.lost.Load()}
}

func (r *Recorder) putBack(pending map[Count]int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c, n := range pending {
		if _, known := r.pending[c]; !known && len(r.pending) >= maxPending {
			r.drop(n)
			continue
		}
		r.pending[c] += n
	}
}

// tend sums up and forgets.
func (r *Recorder) tend(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := r.cfg.Store.RollUp(ctx); err != nil {
		r.cfg.Log.WarnContext(ctx, "usage not summed up", "error", err)
	}
	before := r.cfg.Now().Add(-r.cfg.Retention)
	for ctx.Err() == nil {
		n, err := r.cfg.Store.Forget(ctx, before, forgetAtOnce)
		if err != nil {
			r.cfg.Log.WarnContext(ctx, "old usage not deleted", "error", err)
		}
		if err != nil || n < forgetAtOnce {
			return
		}
	}
}
