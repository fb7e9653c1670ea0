package verifier

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// maxKeys is how many distinct keys a group holds, and how many idempotency keys:
// beyond it, the cost of a statement grows faster than its use.
const maxKeys = 256

// ErrOverloaded wraps ErrUnavailable: too many requests wait already.
var ErrOverloaded = fmt.Errorf("%w: too many requests are waiting", ErrUnavailable)

// errUndecided is the answer of a store that broke its promise to call decide.
var errUndecided = errors.New("the store did not decide")

// ledger turns all that waits into one Update. Whoever arrives while no group is
// in flight runs a group at once, in its own goroutine, so a lone request waits
// for nobody; whoever arrives meanwhile forms the next group. There is no timer.
type ledger struct {
	store    Store
	timeout  time.Duration
	inFlight int // groups at a time, at most
	queueCap int
	groupCap int
	updated  func(requests int, took time.Duration, err error) // or nil
	tracer   Tracer                                            // or nil

	mu      sync.Mutex
	running int
	queue   []*waiter // first come, first served
}

// waiter is a request on its way through the ledger.
type waiter struct {
	req    Request
	digest Digest
	caller context.Context // of Verify, for links of a trace; nil: nothing is traced
	taken  bool            // by a group; guarded by ledger.mu
	done   chan struct{}

	// Written by the group that took it, before done is closed.
	grant Grant
	err   error
}

// charge decides about req in a group with others, and returns when that is
// durable. A caller may leave until its group starts; then it waits.
func (l *ledger) charge(ctx context.Context, req Request) (Grant, error) {
	if l.tracer == nil {
		return l.wait(ctx, &waiter{req: req, digest: req.Key.Digest(), err: errUndecided, done: make(chan struct{})})
	}
	ctx, end := l.tracer.Charge(ctx)
	grant, err := l.wait(ctx, &waiter{req: req, digest: req.Key.Digest(), err: errUndecided, done: make(chan struct{}), caller: ctx})
	end(err)
	return grant, err
}

// wait returns when something was decided about w, or it has left.
func (l *ledger) wait(ctx context.Context, w *waiter) (Grant, error) {
	group, err := l.join(w)
	if err != nil {
		return Grant{}, err
	}
	if group != nil {
		l.lead(group)
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if l.leave(w) {
			return Grant{}, ctx.Err()
		}
		<-w.done
	}
	return w.grant, w.err
}

// join queues w and returns the group that its caller is to run, if any. That is
// decided and taken at once: another group might take w in between.
func (l *ledger) join(w *waiter) (*group, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= l.queueCap {
		return nil, ErrOverloaded
	}
	l.queue = append(l.queue, w)
	if l.running == l.inFlight {
		return nil, nil //nolint:nilnil // a group in flight will see to it
	}
	l.running++
	return l.next(), nil
}

// leave takes w out of the queue, unless a group has taken it.
func (l *ledger) leave(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.taken {
		return false
	}
	l.queue = slices.DeleteFunc(l.queue, func(other *waiter) bool { return other == w })
	return true
}

// lead runs a group in its caller's goroutine, and leaves what has arrived
// since to another.
func (l *ledger) lead(g *group) {
	g.run(l)
	if next := l.take(); next != nil {
		go l.drain(next)
	}
}

// drain runs groups until nothing waits.
func (l *ledger) drain(g *group) {
	for ; g != nil; g = l.take() {
		g.run(l)
	}
}

// take returns the next group, or nil and the place in flight.
func (l *ledger) take() *group {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.queue = nil // of no use at rest
		l.running--
		return nil
	}
	return l.next()
}

// next takes a group from a queue that is not empty.
func (l *ledger) next() *group {
	g := newGroup(min(len(l.queue), maxKeys))
	for len(l.queue) > 0 && len(g.waiters) < l.groupCap && g.add(l.queue[0]) {
		l.queue[0].taken = true
		l.queue[0] = nil
		l.queue = l.queue[1:]
	}
	return g
}

// group is what one Update decides about.
type group struct {
	waiters []*waiter
	lookup  Lookup
	digests map[Digest]int // place in lookup
	clients map[string]int
	repeats map[[32]byte]int // nil: no request may be repeated
}

func newGroup(size int) *group {
	return &group{waiters: make([]*waiter, 0, size), digests: make(map[Digest]int, size), clients: map[string]int{}}
}

// add takes w in, unless it would be one key too many.
func (g *group) add(w *waiter) bool {
	if _, known := g.digests[w.digest]; !known && len(g.digests) == maxKeys || len(g.repeats) == maxKeys {
		return false
	}
	place(g.digests, &g.lookup.Digests, w.digest)
	place(g.clients, &g.lookup.Clients, w.req.Client.ID)
	if w.req.Repeat.named() {
		if g.repeats == nil {
			g.repeats = map[[32]byte]int{}
		}
		place(g.repeats, &g.lookup.Repeats, w.req.Repeat.ID)
	}
	g.waiters = append(g.waiters, w)
	return true
}

// place gives id the next place in list, unless it has one.
func place[T comparable](places map[T]int, list *[]T, id T) {
	if _, known := places[id]; !known {
		places[id] = len(*list)
		*list = append(*list, id)
	}
}

// run decides about every waiter and answers it. A group that fails because of
// one of its keys is run again one key at a time, so that the others do not
// suffer; nothing of it was committed.
func (g *group) run(l *ledger) {
	err := l.update(g)
	if len(g.digests) == 1 || !errors.Is(err, ErrBadRecord) || errors.Is(err, ErrOutcomeUnknown) {
		g.answer(err)
		return
	}
	for _, one := range g.split() {
		one.answer(l.update(one))
	}
}

// update is one transaction, on a context of its own: no caller can cut short
// what others wait for.
func (l *ledger) update(g *group) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	if l.tracer != nil {
		traced, end := l.tracer.Group(ctx, g.callers())
		ctx = traced
		defer func() { end(err) }()
	}
	if l.updated != nil {
		began := time.Now()
		defer func() { l.updated(len(g.waiters), time.Since(began), err) }()
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: the store panicked: %s", ErrOutcomeUnknown, panicked(r))
		}
	}()
	return l.store.Update(ctx, g.lookup, g.decide)
}

// decide is called by the store, with everything locked. Waiters are served in
// the order in which they came: of several with one idempotency key, the first that
// is granted is charged.
func (g *group) decide(now time.Time, found Found) {
	for _, w := range g.waiters {
		var none *Charged
		first := &none
		if w.req.Repeat.named() {
			first = &found.Repeats[g.repeats[w.req.Repeat.ID]]
		}
		w.grant, w.err = w.decide(now,
			found.Records[g.digests[w.digest]],
			found.Clients[g.clients[w.req.Client.ID]],
			first)
	}
}

// decide decides about one, and leaves in first what was charged. A panic is the
// misfortune of this waiter alone, and charges nothing.
func (w *waiter) decide(now time.Time, rec *Record, clientVersion int64, first **Charged) (grant Grant, err error) {
	if clientVersion != w.req.Client.Version {
		return Grant{}, ErrClientChanged
	}
	restore := rec.snapshot()
	defer func() {
		if r := recover(); r != nil {
			restore()
			grant, err = Grant{}, fmt.Errorf("deciding about a key panicked: %s", panicked(r))
		}
	}()
	grant, err = Decide(now, rec, *first, w.req)
	if err == nil && *first == nil && w.req.Repeat.named() {
		*first = chargedFor(w.req, grant)
	}
	return grant, err
}

// answer wakes every waiter, with what was decided if that was committed.
func (g *group) answer(err error) {
	for _, w := range g.waiters {
		w.settle(err)
		close(w.done)
	}
}

// settle replaces what was decided by what can be said of it. Who was refused, or
// only peeked, was not charged, whatever became of the commit.
func (w *waiter) settle(err error) {
	switch {
	case err == nil:
		return
	case errors.Is(err, ErrOutcomeUnknown):
		if w.req.Peek || w.err != nil && !errors.Is(w.err, errUndecided) {
			err = fmt.Errorf("%w: %v", ErrUnavailable, err) //nolint:errorlint // for this waiter the outcome is known
		}
	default:
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	w.grant, w.err = Grant{}, fmt.Errorf("charging a key: %w", err)
}

// split returns a group for each key, in order.
func (g *group) split() []*group {
	groups := make([]*group, len(g.lookup.Digests))
	for _, w := range g.waiters {
		i := g.digests[w.digest]
		if groups[i] == nil {
			groups[i] = newGroup(1)
		}
		groups[i].add(w)
	}
	return groups
}

// panicked says what can be said of a panic without telling what it was about.
func panicked(r any) string {
	if err, ok := r.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", r)
}
