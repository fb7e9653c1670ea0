package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	exchangeTimeout = 5 * time.Second // one exchange, repetitions included
	maxExchanges    = 256             // under way at a time
	refusalMemory   = 5 * time.Second
	longestMemory   = 10 * time.Second // however long an answer asks us to wait
)

var errTooManyExchanges = errors.New("too many exchanges under way")

// subject is a key as it is remembered: never its text.
type subject struct {
	digest   digest
	keyspace string
}

// grant is the token that a key was exchanged for. Its life is counted from
// receipt: exp and iat are by the issuer's clock, and if ours is ahead of it, no
// token would seem to have any life left.
type grant struct {
	*verified
	ends     time.Time
	lifetime time.Duration
	waits    atomic.Bool // no refresh ahead: the last may have been charged for nothing
}

func newGrant(v *verified, received time.Time) *grant {
	lifetime := time.Duration(v.expiresAt-v.issuedAt) * time.Second
	return &grant{verified: v, ends: received.Add(lifetime), lifetime: lifetime}
}

// due reports whether the last quarter of the token's life has begun.
func (g *grant) due(now time.Time) bool { return g.ends.Sub(now) <= g.lifetime/4 }

// refusal is an answer other than a token, remembered. It stays when its time is
// over: the next may have to be longer.
type refusal struct {
	err error
	backOff
}

// exchange is one under way, shared by all who wait for it.
type exchange struct {
	done     chan struct{}
	probe    bool      // it finds out whether the issuer's tokens are fit again
	v        *verified // readable after done, like err
	received time.Time
	err      error
}

// grants keeps what keys were exchanged for, and apart from it who was refused,
// so that made-up keys cannot push out good ones. An exchange is a charge: there
// is one per key and keyspace at a time, and none that is not needed.
type grants struct {
	checker   *Checker
	exchanger *exchanger
	now       func() time.Time
	kept      *lru.Cache[subject, *grant]
	refusals  *lru.Cache[subject, refusal]

	mu      sync.Mutex
	flights map[subject]*exchange
	doubt   doubt
}

// get answers from what is kept, or exchanges key. While a token lives, only a
// refusal of its key ends it early, and nobody waits: no outage and no limit
// is felt before its end.
func (g *grants) get(ctx context.Context, s subject, key string) (*verified, error) {
	now := g.now()
	held := g.held(s, now)
	if held == nil {
		return g.exchanged(ctx, s, key)
	}
	g.checker.keys.keepFresh(now)
	if held.due(now) {
		g.refreshAhead(ctx, s, key, held, now)
	}
	return held.verified, nil
}

// held returns the grant of s if it is still good, by the same rules as a token
// that is presented: its signing key must not have been withdrawn.
func (g *grants) held(s subject, now time.Time) *grant {
	held, ok := g.kept.Get(s)
	if !ok || !g.checker.keys.holds(held.key, now) {
		return nil
	}
	if !now.Before(held.ends) || held.inTime(now, g.checker.leeway) != nil {
		return nil
	}
	return held
}

// refreshAhead starts an exchange and does not wait for it. That it was called is
// the sign that the key is used in the last quarter of its token's life.
func (g *grants) refreshAhead(ctx context.Context, s subject, key string, held *grant, now time.Time) {
	if held.waits.Load() || g.recalled(s, now) != nil {
		return
	}
	_, _ = g.join(ctx, s, key, held)
}

func (g *grants) exchanged(ctx context.Context, s subject, key string) (*verified, error) {
	if err := g.recalled(s, g.now()); err != nil {
		return nil, err
	}
	// A token that could not be checked would be a charge for nothing.
	if err := g.checker.keys.ready(ctx); err != nil {
		return nil, err
	}
	flight, err := g.join(ctx, s, key, nil)
	if err != nil {
		return nil, err
	}
	select {
	case <-flight.done:
		return flight.v, renew(flight.err, g.now())
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
}

// recalled returns the refusal of s that is still remembered.
func (g *grants) recalled(s subject, now time.Time) error {
	r, ok := g.refusals.Get(s)
	if !ok || !now.Before(r.until) {
		return nil
	}
	return renew(r.err, now)
}

// join returns the exchange of s under way, or starts one. What came in since
// the caller looked and saw held counts as an exchange that has ended.
func (g *grants) join(ctx context.Context, s subject, key string, held *grant) (*exchange, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if flight := g.flights[s]; flight != nil {
		return flight, nil
	}
	now := g.now()
	if fresh := g.held(s, now); fresh != nil && fresh != held {
		return landed(fresh.verified, nil), nil
	}
	if err := g.recalled(s, now); err != nil {
		return landed(nil, err), nil
	}
	if len(g.flights) >= maxExchanges {
		return nil, unavailable(errTooManyExchanges)
	}
	probe, err := g.doubt.admit(now)
	if err != nil {
		return nil, err
	}
	flight := &exchange{done: make(chan struct{}), probe: probe}
	g.flights[s] = flight
	// The exchange must not end with the one caller who came first.
	go g.fly(context.WithoutCancel(ctx), flight, s, key, held)
	return flight, nil
}

func landed(v *verified, err error) *exchange {
	done := make(chan struct{})
	close(done)
	return &exchange{done: done, v: v, err: err}
}

// fly ends within exchangeTimeout, but for the check, which is bounded too.
func (g *grants) fly(ctx context.Context, flight *exchange, s subject, key string, held *grant) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	raw, err := g.exchanger.exchange(ctx, key, s.keyspace)
	flight.received = g.now()
	if err == nil {
		flight.v, err = g.accept(ctx, raw, s.keyspace)
	}
	flight.err = err
	g.mu.Lock()
	g.doubt.learn(flight, g.now())
	g.mu.Unlock()
	g.settle(s, flight, held)

	g.mu.Lock()
	delete(g.flights, s)
	g.mu.Unlock()
	close(flight.done)
}

// accept checks what the issuer gave us as if a stranger had. A token that does
// not pass says nothing about the key: the issuer, or our configuration, is odd.
// Size and claims may be due to the key's own metadata, all else is not.
func (g *grants) accept(ctx context.Context, raw, keyspace string) (*verified, error) {
	v, err := g.checker.check(ctx, raw)
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

// settle remembers how an exchange ended.
func (g *grants) settle(s subject, flight *exchange, held *grant) {
	now := g.now()
	var (
		away    *UnavailableError
		limited *LimitedError
	)
	switch {
	case flight.err == nil:
		g.refusals.Remove(s)
		g.kept.Add(s, newGrant(flight.v, flight.received))
	case errors.As(flight.err, &away):
		if away.charged {
			away = g.chargedInVain(s, away, held, now)
			flight.err = away
		} else if !away.retryAt.IsZero() {
			g.refusals.Add(s, refusal{away, backOff{until: earlier(away.retryAt, now.Add(longestMemory))}})
		}
	case errors.As(flight.err, &limited):
		at := now.Add(refusalMemory)
		if !limited.RetryAt.IsZero() {
			at = earlier(limited.RetryAt, now.Add(longestMemory))
		}
		g.refusals.Add(s, refusal{flight.err, backOff{until: at}})
	default:
		g.kept.Remove(s)
		g.refusals.Add(s, refusal{flight.err, backOff{until: now.Add(refusalMemory)}})
	}
}

// chargedInVain remembers an exchange that may have been charged and brought no
// token: the next is made ever later, and ahead of time not at all. It returns
// away as it is answered, with the time until then.
func (g *grants) chargedInVain(s subject, away *UnavailableError, held *grant, now time.Time) *UnavailableError {
	if held != nil {
		held.waits.Store(true)
	}
	last, _ := g.refusals.Peek(s)
	r, answer := refusal{backOff: last.next(now)}, *away
	if r.until.Before(answer.retryAt) {
		r.until = later(r.until, earlier(answer.retryAt, now.Add(longestMemory)))
	} else {
		answer.retryAt = r.until
	}
	r.err = &answer
	g.refusals.Add(s, r)
	return &answer
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
