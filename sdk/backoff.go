package sdk

import (
	"errors"
	"time"
)

// How long a charge that brought nothing is not repeated.
const (
	firstBackOff   = time.Second
	longestBackOff = time.Minute
)

// backOff is a time in which something is not tried again. Where it comes of
// failures, it doubles with each; one long after the last pause is a first one
// again.
type backOff struct {
	from, until time.Time
	pause       time.Duration
}

// lasts is false also before from: the clock was set back, and must not make a
// pause of seconds last until it has caught up.
func (b backOff) lasts(now time.Time) bool { return !now.Before(b.from) && now.Before(b.until) }

// failing reports whether one more failure would not be a first one.
func (b backOff) failing(now time.Time) bool {
	return b.pause > 0 && now.Before(b.until.Add(longestBackOff))
}

// covers reports whether what failed now, and was begun then, was under way as the
// pause began: what fails together is one failure.
func (b backOff) covers(started, now time.Time) bool {
	return b.failing(now) && !started.After(b.from) && !b.from.After(now)
}

// next is the pause that begins now, after one more failure.
func (b backOff) next(now time.Time) backOff {
	pause := firstBackOff
	if b.failing(now) {
		pause = min(2*b.pause, longestBackOff)
	}
	return backOff{now, now.Add(pause), pause}
}

// errUnfit says that the Checker refuses a token that came straight from the
// issuer, for a reason that the next key's token will share.
var errUnfit = errors.New("the issuer's token is not acceptable: check Algorithms, the issuer's address and the clock")

// doubt is about the issuer's tokens as such: while the last one was unfit, every
// exchange would be a charge for nothing, whatever the key. Until one is
// accepted again, a single exchange per pause finds out. grants.mu guards it.
type doubt struct {
	err *UnavailableError // nil: the last token was acceptable
	backOff
}

// admit says whether an exchange may start now, and whether it is the one that
// finds out.
func (d *doubt) admit(now time.Time) (probe bool, err error) {
	switch {
	case d.err == nil:
		return false, nil
	case d.lasts(now):
		return false, &UnavailableError{cause: d.err.cause, retryAt: d.until, RetryAfter: d.until.Sub(now)}
	}
	d.from, d.until = now, now.Add(d.pause)
	return true, nil
}

// learn takes note of how an exchange ended, and has it say when to come back if
// it brought an unfit token. Those under way together fail
// together, and count as one failure. A probe that brought no token and charged
// nothing, as one with a made-up key, gives way to the next.
func (d *doubt) learn(f *exchange, now time.Time) {
	var away *UnavailableError
	errors.As(f.err, &away)
	switch {
	case f.err == nil:
		*d = doubt{}
	case errors.Is(f.err, errUnfit):
		if f.probe || !d.lasts(now) {
			d.err, d.backOff = away, d.next(now)
		}
		away.retryAt = d.until
	case f.probe && (away == nil || !away.charged):
		d.until = now
	}
}
