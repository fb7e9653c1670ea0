package sdk

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	refusalMemory = 5 * time.Second
	longestMemory = 10 * time.Second // however long an answer asks us to wait
)

// subject is a key as it is remembered: never its text.
type subject struct {
	digest   digest
	keyspace string
	online   bool // as online calls know it: they and exchanges wait apart
}

// wanted says what an answer may rest on. Zero takes all that is good.
type wanted struct {
	call  *onlineCall // only an answer of the caller's own; nil: an exchange
	since time.Time   // no exchange that started earlier; zero: however old
}

// metBy reports whether an exchange that started then will do. If that seems to
// be after now, the clock was set back since, and nobody knows how long ago it was.
func (w wanted) metBy(started, now time.Time) bool {
	if w.call != nil {
		return false
	}
	return w.since.IsZero() || !started.Before(w.since) && !started.After(now)
}

// grant is the token that a key was exchanged for. Its life is counted from
// receipt: exp and iat are by the issuer's clock, and if ours is ahead of it, no
// token would seem to have any life left.
type grant struct {
	*verified
	started  time.Time // when the exchange began
	ends     time.Time
	lifetime time.Duration
	waits    atomic.Bool // no refresh ahead: the last may have been charged for nothing

	// A token that is called back is exchanged anew. If the next one is called
	// back too, lists and exchanges disagree, and that is repeated ever later.
	calledBack atomic.Bool
	again      backOff // until then, to be called back is a refusal
}

func newGrant(f *exchange) *grant {
	lifetime := time.Duration(f.v.expiresAt-f.v.issuedAt) * time.Second
	return &grant{verified: f.v, started: f.started, ends: f.received.Add(lifetime), lifetime: lifetime}
}

// due reports whether the last quarter of the token's life has begun.
func (g *grant) due(now time.Time) bool { return g.ends.Sub(now) <= g.lifetime/4 }

// refusal is an answer other than a token, remembered. It stays when its time is
// over: the next may have to be longer.
type refusal struct {
	err     error
	started time.Time // when the exchange began
	wait    bool      // whoever asks within its time is sure to ask in vain
	backOff
}

// answers reports whether r is an answer to who wants that. A time to wait is for
// everybody; anything else may be out of date for who wants it fresh.
func (r refusal) answers(want wanted, now time.Time) bool {
	return r.lasts(now) && (r.wait || want.metBy(r.started, now))
}

// grants keeps what keys were exchanged for, and apart from it who was refused,
// so that made-up keys cannot push out good ones. An exchange is a charge: there
// is none that is not needed or asked for.
type grants struct {
	checker   *Checker
	exchanger *exchanger
	now       func() time.Time
	kept      *lru.Cache[subject, *grant]
	refusals  *lru.Cache[subject, refusal]
	inVain    *lru.Cache[subject, refusal] // exchanges that brought nothing and may have been charged

	mu      sync.Mutex
	flights map[subject][]*exchange // in the order in which they started
	aloft   int                     // of all subjects
	doubt   doubt
}

// get answers from what is kept if that will do, or exchanges key. While a token
// lives, only a refusal of its key, or its status, ends it early; who takes it
// waits for no exchange, and feels no outage of that and no limit before its end.
func (g *grants) get(ctx context.Context, s subject, key string, maxAge time.Duration) (*verified, error) {
	now, want := g.now(), wanted{}
	if maxAge > 0 {
		want.since = now.Add(-maxAge)
	}
	held := g.held(s, now)
	if held == nil || !want.metBy(held.started, now) {
		return g.landed(ctx, s, key, want)
	}
	switch err := g.checker.statuses.check(ctx, held.verified, now); {
	case err == nil:
	case !errors.Is(err, ErrRefused):
		return nil, err
	case held.knowsBetter():
	case held.again.lasts(now):
		return nil, err
	default:
		// The token was called back. What that means for the key, the issuer knows.
		held.calledBack.Store(true)
		want.since = held.started.Add(1) // which is no earlier than was asked
		return g.landed(ctx, s, key, want)
	}
	g.checker.keys.keepFresh(now)
	if held.due(now) {
		g.refreshAhead(ctx, s, key, held, now)
	}
	return held.verified, nil
}

// knowsBetter reports whether the status list is older than the exchange, which
// said that the key is good.
func (g *grant) knowsBetter() bool {
	list := g.status.list.Load()
	return list != nil && list.asOf.Before(g.started)
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

// landed returns what an exchange, or an online call, brings.
func (g *grants) landed(ctx context.Context, s subject, key string, want wanted) (*verified, error) {
	if err := g.recalled(s, want, g.now()); err != nil {
		return nil, err
	}
	// A token that could not be checked would be a charge for nothing, and so
	// would one that nobody waits for.
	if want.call == nil {
		if err := g.checker.keys.ready(ctx); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, unavailable(err)
	}
	flight, err := g.join(ctx, s, key, want)
	if err != nil {
		return nil, err
	}
	return flight.wait(ctx, g.now)
}

// recalled returns what is remembered of s and still an answer. What cannot be
// charged again need not wait after a charge in vain, nor for a budget that it may
// have been charged to already.
func (g *grants) recalled(s subject, want wanted, now time.Time) error {
	if r, ok := g.inVain.Get(s); ok && r.answers(want, now) && !want.call.safe() {
		return renew(r.err, now)
	}
	r, ok := g.refusals.Get(s)
	if !ok || !r.answers(want, now) {
		return nil
	}
	var limited *LimitedError
	if want.call.named() && errors.As(r.err, &limited) {
		return nil
	}
	return renew(r.err, now)
}

// settle remembers how an exchange ended. The caller holds mu.
func (g *grants) settle(s subject, flight *exchange, now time.Time) {
	var (
		away    *UnavailableError
		limited *LimitedError
	)
	switch {
	case flight.err == nil:
		g.keep(s, flight)
	case errors.As(flight.err, &away):
		if away.charged {
			flight.err = g.chargedInVain(s, flight, away, now)
		} else if !away.retryAt.IsZero() {
			g.wait(s, flight, away.retryAt, now)
		}
	case errors.As(flight.err, &limited):
		if limited.RetryAt.IsZero() {
			g.refuse(s, flight, now)
		} else {
			g.wait(s, flight, limited.RetryAt, now)
		}
	default:
		g.turnDown(s, flight, now)
	}
}

// turnDown remembers that the key is not good, and ends what it has.
func (g *grants) turnDown(s subject, flight *exchange, now time.Time) {
	g.refuse(s, flight, now)
	g.kept.Remove(s)
	// Those under way may have been granted before the key went bad.
	for _, other := range g.flights[s] {
		other.overtaken = true
	}
}

// keep takes the token of an exchange for later callers, unless what is known is
// newer. A time to wait stands: an exchange that it did not hold back was under
// way when it was told.
func (g *grants) keep(s subject, flight *exchange) {
	if flight.overtaken {
		return
	}
	for _, other := range g.flights[s] {
		if other == flight {
			break
		}
		other.overtaken = true
	}
	if r, ok := g.refusals.Peek(s); ok && !r.wait {
		g.refusals.Remove(s)
	}
	g.inVain.Remove(s)
	fresh := newGrant(flight)
	if last, ok := g.kept.Peek(s); ok && last.calledBack.Load() {
		fresh.again = last.again.next(flight.received)
	}
	g.kept.Add(s, fresh)
}

func (g *grants) refuse(s subject, flight *exchange, now time.Time) {
	g.refusals.Add(s, refusal{err: flight.err, started: flight.started, backOff: backOff{from: now, until: now.Add(refusalMemory)}})
}

func (g *grants) wait(s subject, flight *exchange, until, now time.Time) {
	until = earlier(until, now.Add(longestMemory))
	g.refusals.Add(s, refusal{err: flight.err, started: flight.started, wait: true, backOff: backOff{from: now, until: until}})
}

// chargedInVain remembers an exchange that may have been charged and brought no
// token: the next is made ever later, and ahead of time not at all. It returns
// away as it is answered, with the time until then.
func (g *grants) chargedInVain(s subject, flight *exchange, away *UnavailableError, now time.Time) *UnavailableError {
	if held, ok := g.kept.Peek(s); ok {
		held.waits.Store(true)
	}
	last, _ := g.inVain.Peek(s)
	r, answer := refusal{started: flight.started, wait: true, backOff: last.backOff}, *away
	if !last.covers(flight.started, now) {
		r.backOff = last.next(now)
	}
	if r.until.Before(answer.retryAt) {
		r.until = later(r.until, earlier(answer.retryAt, now.Add(longestMemory)))
	} else {
		answer.retryAt = r.until
	}
	r.err = &answer
	g.inVain.Add(s, r)
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
