package audit

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Times and bounds of a Recorder.
const (
	flushEvery   = 10 * time.Second
	storeTimeout = 30 * time.Second
	maxPlaces    = 10_000 // addresses told apart in an hour
)

// RecorderConfig makes a Recorder.
type RecorderConfig struct {
	Store interface { // required
		AddRefusals(ctx context.Context, refusals []Refusal) error
	}
	Log *slog.Logger     // required
	Now func() time.Time // zero: time.Now
}

// Recorder counts refused authentications by the hour. An attack costs no write per
// attempt, and no row per attempt either: when too many addresses have failed in an
// hour, those that come later are counted together.
type Recorder struct {
	cfg RecorderConfig

	mu      sync.Mutex
	hour    time.Time
	places  map[place]bool
	pending map[place]attempts
}

type place struct {
	hour           time.Time
	client, remote string
}

type attempts struct {
	n    int64
	last time.Time
}

// NewRecorder makes a Recorder. It writes nothing until Run.
func NewRecorder(cfg RecorderConfig) *Recorder {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Recorder{cfg: cfg, places: map[place]bool{}, pending: map[place]attempts{}}
}

// Refused counts an attempt of a client that is known to us, or of nobody that is, if
// client is empty. What a caller only says of itself must never be given: it may as
// well be a secret. It never blocks.
func (r *Recorder) Refused(client, remote string) {
	now := r.cfg.Now().UTC()
	r.mu.Lock()
	defer r.mu.Unlock()
	if hour := now.Truncate(time.Hour); hour.After(r.hour) {
		r.hour = hour
		clear(r.places)
	}
	p := place{r.hour, client, remote}
	switch {
	case r.places[p]:
	case len(r.places) < maxPlaces:
		r.places[p] = true
	default:
		p.remote = ""
	}
	r.add(p, attempts{1, now})
}

// Pending is how many distinct counts are not written yet.
func (r *Recorder) Pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending)
}

func (r *Recorder) add(p place, more attempts) {
	is := r.pending[p]
	is.n += more.n
	if more.last.After(is.last) {
		is.last = more.last
	}
	r.pending[p] = is
}

// Run writes what is pending every ten seconds and once more when ctx ends.
func (r *Recorder) Run(ctx context.Context) {
	ticks := time.NewTicker(flushEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			r.flush(context.WithoutCancel(ctx))
			return
		case <-ticks.C:
			r.flush(ctx)
		}
	}
}

// flush writes what is pending. What cannot be written waits for the next time; while
// the store is away, addresses are told apart no more once there are too many.
func (r *Recorder) flush(ctx context.Context) {
	r.mu.Lock()
	pending := r.pending
	r.pending = map[place]attempts{}
	r.mu.Unlock()
	if len(pending) == 0 {
		return
	}
	refusals := make([]Refusal, 0, len(pending))
	for p, is := range pending {
		refusals = append(refusals, Refusal{Hour: p.hour, Client: p.client, Remote: p.remote, Attempts: is.n, LastAt: is.last})
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := r.cfg.Store.AddRefusals(ctx, refusals); err != nil {
		r.cfg.Log.WarnContext(ctx, "refused authentications not written yet", "counts", len(refusals), "err", err)
		r.putBack(pending)
	}
}

func (r *Recorder) putBack(pending map[place]attempts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, is := range pending {
		if _, known := r.pending[p]; !known && len(r.pending) >= maxPlaces {
			p.remote = ""
		}
		r.add(p, is)
	}
}
