package manage

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Times of a Census.
const (
	censusEvery   = time.Minute
	censusTimeout = 30 * time.Second
	censusShare   = 100 // of its time, it counts for one part at most
)

// KeyCount is how many keys of a keyspace are in a state.
type KeyCount struct {
	Keyspace string
	State    string // StateActive, StateExpired, StateDisabled, StateRevoked
	Keys     int64
}

// Counter counts keys.
type Counter interface {
	// CountKeys counts the keys that were not deleted, by keyspace and state, as they
	// are at one moment by the database's clock. What there is none of is left out.
	CountKeys(ctx context.Context) ([]KeyCount, error)
}

// Census knows how many keys there are.
//
// # Why it is not asked for when it is read
//
// To count keys is to read every one of them, which takes a second where there are
// millions. So a Census counts apart from whoever reads it, only if somebody does, at
// most once a minute and for at most a hundredth of the time.
type Census struct {
	store  Counter
	log    *slog.Logger
	wanted chan struct{}
	last   atomic.Pointer[Counted]
}

// Counted is what a Census knows.
type Counted struct {
	Keys []KeyCount
	At   time.Time     // when the count ended
	Took time.Duration // how long it took
}

// NewCensus makes a Census. It counts nothing until Run.
func NewCensus(store Counter, log *slog.Logger) *Census {
	return &Census{store: store, log: log, wanted: make(chan struct{}, 1)}
}

// Last returns what was counted last, zero before the first time, and has it counted
// anew if that is due. It does not wait.
func (c *Census) Last() Counted {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
	if last := c.last.Load(); last != nil {
		return *last
	}
	return Counted{}
}

// Run counts, when somebody wants to know, until ctx ends.
func (c *Census) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wanted:
		}
		took := c.count(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(censusEvery, censusShare*took)):
		}
	}
}

// count keeps the last count if it fails: how old that is, is told beside it.
func (c *Census) count(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, censusTimeout)
	defer cancel()
	began := time.Now()
	keys, err := c.store.CountKeys(ctx)
	took := time.Since(began)
	if err != nil {
		c.log.WarnContext(ctx, "keys were not counted", "err", err)
		return took
	}
	c.last.Store(&Counted{Keys: keys, At: time.Now(), Took: took})
	return took
}
