package verifier

import "context"

// Tracer follows requests and groups of them. Its methods must not block.
type Tracer interface {
	// Charge begins what one request waits for, from the queue to the commit. end
	// is called with what Verify returns.
	Charge(ctx context.Context) (waiting context.Context, end func(error))

	// Group begins an Update for these callers, whose contexts are those of Charge,
	// first come first. What it returns is the context of the Update, and must have
	// the deadline of ctx; end is called with the error of the Update.
	Group(ctx context.Context, callers []context.Context) (updating context.Context, end func(error))
}

// Queue is what waits in a Verifier and what is under way.
type Queue struct {
	Waiting  int // requests that no group has taken
	Capacity int // requests that may wait
	Groups   int // in flight
}

// Queue returns how long the queue is now.
func (v *Verifier) Queue() Queue {
	l := v.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	return Queue{Waiting: len(l.queue), Capacity: l.queueCap, Groups: l.running}
}

// callers are the contexts of the waiters, in order.
func (g *group) callers() []context.Context {
	all := make([]context.Context, len(g.waiters))
	for i, w := range g.waiters {
		all[i] = w.caller
	}
	return all
}
