package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// fault is what goes wrong with one Update.
type fault string

const (
	healthy       fault = "healthy"
	failsFirst    fault = "fails before anything"
	failsCommit   fault = "decides, then fails instead of committing"
	damaged       fault = "decides, then finds a damaged record"
	cutShort      fault = "its context ends in decide"
	losesAnswer   fault = "commits, and cannot say so"
	losesCommit   fault = "does not commit, and cannot say so"
	panicsAtStart fault = "panics before anything"
)

var faults = []fault{healthy, failsFirst, failsCommit, damaged, cutShort, losesAnswer, losesCommit, panicsAtStart}

var errInjected = errors.New("injected")

// faulty is a store that has accidents, as planned.
type faulty struct {
	store verifier.Store

	mu   sync.Mutex
	plan []fault   // of the Updates to come; none: healthy
	now  time.Time // that the last decide was given
	gate *gate     // the next Update waits here; nil: it does not
}

// gate holds an Update up.
type gate struct{ reached, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}), make(chan struct{})} }

// prepare plans what happens to the next Updates.
func (s *faulty) prepare(plan ...fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan = plan
}

// holdNext makes the next Update wait.
func (s *faulty) holdNext(g *gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = g
}

// next takes what is planned for an Update.
func (s *faulty) next() (fault, *gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, g := healthy, s.gate
	if len(s.plan) > 0 {
		f, s.plan = s.plan[0], s.plan[1:]
	}
	s.gate = nil
	return f, g
}

func (s *faulty) decidedAt(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

func (s *faulty) lastDecision() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// rollBack is the panic by which decide makes a store give up its transaction.
type rollBack struct{ err error }

// Update implements verifier.Store.
func (s *faulty) Update(ctx context.Context, lookup verifier.Lookup, decide func(time.Time, verifier.Found)) (err error) {
	f, g := s.next()
	if g != nil {
		close(g.reached)
		<-g.open
	}
	switch f {
	case failsFirst:
		return errInjected
	case panicsAtStart:
		panic("injected")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case rollBack:
			err = r.err
		default:
			panic(r)
		}
	}()
	err = s.store.Update(ctx, lookup, func(now time.Time, found verifier.Found) {
		decide(now, found)
		s.decidedAt(now)
		switch f {
		case failsCommit:
			panic(rollBack{errInjected})
		case damaged:
			panic(rollBack{fmt.Errorf("%w: injected", verifier.ErrBadRecord)})
		case losesCommit:
			panic(rollBack{fmt.Errorf("%w: injected", verifier.ErrOutcomeUnknown)})
		case cutShort:
			cancel()
		}
	})
	if f == losesAnswer && err == nil {
		return fmt.Errorf("%w: injected", verifier.ErrOutcomeUnknown)
	}
	return err
}

// watched is a context that tells when somebody begins to wait for its end.
type watched struct {
	context.Context
	once    sync.Once
	waiting chan struct{}
}

func watch(ctx context.Context) *watched {
	return &watched{Context: ctx, waiting: make(chan struct{})}
}

// Done implements context.Context.
func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waiting) })
	return w.Context.Done()
}

// outcome is what a caller was told: acknowledged, a reason to refuse, or one of
// the others.
type outcome string

const (
	acknowledged outcome = "acknowledged"
	unavailable  outcome = "unavailable, not charged"
	unknown      outcome = "unknown"
	left         outcome = "left"
)

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return acknowledged
	case errors.Is(err, verifier.ErrOutcomeUnknown) && !errors.Is(err, verifier.ErrUnavailable):
		return unknown
	case errors.Is(err, verifier.ErrUnavailable) && !errors.Is(err, verifier.ErrOutcomeUnknown) && !errors.Is(err, verifier.ErrRefused):
		return unavailable
	case errors.Is(err, context.Canceled):
		return left
	}
	return outcome(cmp.Or(verifier.Reason(err), err.Error()))
}
