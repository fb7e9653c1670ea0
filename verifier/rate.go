package verifier

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a rate limit by GCRA: one use every Window/Limit, of which Burst may
// come at once. The zero Rate limits nothing.
//
// The emission step is ⌊Window/Limit⌋ in nanoseconds. In any span of one
// Window at most Burst + ⌊Window/step⌋ uses are granted, and a caller that keeps
// to one use a step is never refused.
type Rate struct {
	Limit  int64
	Window time.Duration
	Burst  int64 // how many may come at once
}

const maxWindow = 366 * 24 * time.Hour

// ErrRate is returned by Validate and ParseRate.
var ErrRate = errors.New("rate must be LIMIT/WINDOW[,BURST] such as 100/1m, with at most one use a nanosecond and a window of at most 366 days")

// Validate refuses a limit or burst below one, more uses than the window has
// nanoseconds, and a burst that takes longer than 366 days to earn.
func (r Rate) Validate() error {
	switch {
	case r.Limit < 1, r.Burst < 1,
		r.Window < 1, r.Window > maxWindow,
		r.Limit > int64(r.Window),
		r.Burst > int64(maxWindow)/r.step():
		return ErrRate
	}
	return nil
}

// ParseRate reads "100/1m" or, with a burst other than the limit, "100/1m,20".
func ParseRate(s string) (Rate, error) {
	rate, burst, hasBurst := strings.Cut(s, ",")
	limit, window, found := strings.Cut(rate, "/")
	r := Rate{}
	var errs [3]error
	r.Limit, errs[0] = strconv.ParseInt(limit, 10, 64)
	r.Window, errs[1] = time.ParseDuration(window)
	r.Burst = r.Limit
	if hasBurst {
		r.Burst, errs[2] = strconv.ParseInt(burst, 10, 64)
	}
	if !found || errors.Join(errs[:]...) != nil || r.Validate() != nil {
		return Rate{}, fmt.Errorf("%w: %.40q", ErrRate, s)
	}
	return r, nil
}

// String is the form that ParseRate reads.
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	if r.Burst == r.Limit {
		return fmt.Sprintf("%d/%s", r.Limit, short(r.Window))
	}
	return fmt.Sprintf("%d/%s,%d", r.Limit, short(r.Window), r.Burst)
}

// step is the time that one use takes to earn.
func (r Rate) step() int64 { return int64(r.Window) / r.Limit }

// ahead returns how far tat is ahead of now, never less than zero.
//
// A tat further ahead than this clock can have written, by more than a window
// and a minute, proves that the clock stepped back. It then counts as a full
// bucket short of this one charge: the key goes on, and is not shut out until
// the old time comes round again.
func (r Rate) ahead(now, tat time.Time, cost int64) time.Duration {
	ahead, full := max(0, tat.Sub(now)), r.full()
	if ahead > full+max(r.Window, time.Minute) {
		return full - time.Duration(cost*r.step())
	}
	return ahead
}

// full is the time that a whole burst takes to earn.
func (r Rate) full() time.Duration { return time.Duration(r.Burst * r.step()) }

// admit returns the new theoretical arrival time after cost uses at now, or a
// RateLimitedError.
func (r Rate) admit(now, tat time.Time, cost int64) (time.Time, error) {
	if cost > r.Burst {
		return time.Time{}, &RateLimitedError{At: now}
	}
	next := r.ahead(now, tat, cost) + time.Duration(cost*r.step())
	if full := r.full(); next > full {
		return time.Time{}, &RateLimitedError{At: now, RetryAt: now.Add(next - full)}
	}
	return now.Add(next).UTC(), nil
}

// left returns how many uses could come at once at now, and when that is the whole
// burst again if none comes; now, if it is.
func (r Rate) left(now, tat time.Time) (int64, time.Time) {
	ahead := r.ahead(now, tat, 1)
	return max(0, int64(r.full()-ahead)/r.step()), now.Add(ahead).UTC()
}
