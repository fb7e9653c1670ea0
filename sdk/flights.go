package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	exchangeTimeout = 5 * time.Second // one exchange, repetitions included
	maxExchanges    = 256             // under way at a time, and so goroutines
)

var (
	errTooManyExchanges = errors.New("too many exchanges under way")
	errNotLanded        = errors.New("the exchange ended without an outcome")
)

// exchange is one under way, shared by all who may wait for it, or an online call,
// which is one caller's own.
type exchange struct {
	started time.Time   // by our clock; the key cannot have been verified before
	call    *onlineCall // nil: an exchange
	probe   bool        // it finds out whether the issuer's tokens are fit again

	// overtaken says that the key was refused, or granted by a later exchange,
	// while this one was under way: what it brings is its callers' answer, and
	// is not kept. grants.mu guards it.
	overtaken bool

	done     chan struct{}
	v        *verified // readable after done, like err
	received time.Time
	err      error
}

// wait gives up with ctx. The exchange goes on.
func (f *exchange) wait(ctx context.Context, now func() time.Time) (*verified, error) {
	select {
	case <-f.done:
		return f.v, renew(f.err, now())
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
}

// join returns an exchange of s under way that will do, or starts one.
func (g *grants) join(ctx context.Context, s subject, key string, want wanted) (*exchange, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for _, flight := range g.flights[s] {
		if !flight.overtaken && want.metBy(flight.started, now) {
			return flight, nil
		}
	}
	// One may have ended since the caller looked.
	if held := g.held(s, now); held != nil && want.metBy(held.started, now) {
		return &exchange{done: closed(), v: held.verified}, nil
	}
	return g.takeOff(ctx, s, key, want, now)
}

func closed() chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// refreshAhead starts an exchange and does not wait for it. That it was called is
// the sign that the key is used in the last quarter of its token's life. Whatever
// is under way for the key spares it that charge.
func (g *grants) refreshAhead(ctx context.Context, s subject, key string, held *grant, now time.Time) {
	if held.waits.Load() || g.recalled(s, wanted{}, now) != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if current, ok := g.kept.Peek(s); !ok || current != held || len(g.flights[s]) > 0 {
		return
	}
	_, _ = g.takeOff(ctx, s, key, wanted{}, g.now()) // the token held is good, whatever comes of it
}

// takeOff starts an exchange, unless it is known what would come of it. The
// caller holds mu.
func (g *grants) takeOff(ctx context.Context, s subject, key string, want wanted, now time.Time) (*exchange, error) {
	if err := g.recalled(s, want, now); err != nil {
		return nil, err
	}
	// While exchanges of this key bring nothing, one at a time finds out.
	if last, ok := g.inVain.Peek(s); ok && last.failing(now) && len(g.flights[s]) > 0 && !want.call.safe() {
		return nil, renew(last.err, now)
	}
	if g.aloft >= maxExchanges {
		return nil, unavailable(errTooManyExchanges)
	}
	flight := &exchange{
		started: now, call: want.call, done: make(chan struct{}),
		err: &UnavailableError{cause: errNotLanded, charged: true},
	}
	if want.call == nil {
		probe, err := g.doubt.admit(now)
		if err != nil {
			return nil, err
		}
		flight.probe = probe
	}
	g.flights[s] = append(g.flights[s], flight)
	g.aloft++
	// The exchange must not end with the one caller who came first.
	go g.fly(context.WithoutCancel(ctx), flight, s, key)
	return flight, nil
}

// fly ends within exchangeTimeout, and lands even if the transport ends the
// goroutine.
func (g *grants) fly(ctx context.Context, flight *exchange, s subject, key string) {
	defer close(flight.done)
	defer g.land(s, flight)
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	if flight.call != nil {
		flight.v, flight.err = g.exchanger.verify(ctx, key, s.keyspace, flight.call)
		return
	}
	raw, err := g.exchanger.exchange(ctx, key, s.keyspace)
	flight.received = g.now()
	if err == nil {
		flight.v, err = g.accept(ctx, raw, s.keyspace)
	}
	flight.err = err
}

// land remembers what an exchange brought before anybody is told, so that all
// that starts afterwards knows of it.
func (g *grants) land(s subject, flight *exchange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if flight.call != nil {
		g.settleOnline(s, flight, now)
	} else {
		g.doubt.learn(flight, now)
		g.settle(s, flight, now)
	}
	g.aloft--
	g.flights[s] = slices.DeleteFunc(g.flights[s], func(f *exchange) bool { return f == flight })
	if len(g.flights[s]) == 0 {
		delete(g.flights, s)
	}
}

// accept checks what the issuer gave us as if a stranger had. A token that does
// not pass says nothing about the key: the issuer, or our configuration, is odd.
// Size and claims may be due to the key's own metadata, all else is not. Its
// status is not looked up: the exchange has just seen the key itself.
func (g *grants) accept(ctx context.Context, raw, keyspace string) (*verified, error) {
	v, _, err := g.checker.known(ctx, raw)
	switch {
	case errors.Is(err, ErrUnavailable):
		return nil, &UnavailableError{cause: err, charged: true}
	case errors.Is(err, errTooLong), errors.Is(err, errClaims):
		return nil, &UnavailableError{cause: fmt.Errorf("the issuer's token for this key is not acceptable: %v", err), charged: true} //nolint:errorlint // the token was refused, not the key
	case err != nil:
		return nil, &UnavailableError{cause: fmt.Errorf("%w: %v", errUnfit, err), charged: true} //nolint:errorlint // the token was refused, not the key
	case keyspace != "" && v.keyspace != keyspace:
		return nil, &UnavailableError{cause: errors.New("the issuer's token is for another keyspace"), charged: true}
	}
	return v, nil
}
