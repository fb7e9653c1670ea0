package storetest

import (
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// account is a budget as the histories expect it. Its arithmetic is another than
// that of verifier, so that the two can be held against each other: refills count
// periods, and the rate limit is a bucket that leaks.
type account struct {
	id      verifier.BudgetID
	counted bool
	left    int64
	amount  int64         // of a refill; zero: there is none
	every   time.Duration // zero: a day
	anchor  time.Time     // of every
	period  int64         // the last one that was refilled
	rate    verifier.Rate
	level   time.Duration // in the bucket
	at      time.Time     // when that was so; zero: never used
}

// periodAt numbers the periods of the refill; it is negative before the first.
func (a account) periodAt(now time.Time) int64 {
	since, length := now.Sub(a.anchor), a.every
	if length == 0 {
		since, length = now.Sub(time.Unix(0, 0)), 24*time.Hour
	}
	if since < 0 {
		return -1
	}
	return int64(since / length)
}

// refilled is when a period began.
func (a account) refilled(period int64) time.Time {
	if a.every == 0 {
		return time.Unix(period*24*60*60, 0).UTC()
	}
	return a.anchor.Add(time.Duration(period) * a.every)
}

// charge returns a after cost was taken at now, or a as it was and why not.
func (a account) charge(now time.Time, cost int64) (account, string) {
	before := a
	if p := a.periodAt(now); a.amount > 0 && p > a.period {
		a.left, a.period = a.amount, p
	}
	if a.counted {
		a.left -= cost
	}
	if a.left < 0 {
		return before, "spent"
	}
	if a.rate.Limit == 0 {
		return a, ""
	}
	full, price := a.fills(a.rate.Burst), a.fills(cost)
	level := a.levelAt(now)
	if a.overflown(now) {
		level = full - price
	}
	if price > full || level+price > full {
		return before, "rate_limited"
	}
	a.level, a.at = level+price, now
	return a, ""
}

// fills is what so many uses put into the bucket.
func (a account) fills(uses int64) time.Duration {
	return a.rate.Window / time.Duration(a.rate.Limit) * time.Duration(uses)
}

// levelAt is what the bucket holds; a clock that stepped back fills it again.
func (a account) levelAt(now time.Time) time.Duration {
	if a.at.IsZero() {
		return 0
	}
	return max(0, a.level-now.Sub(a.at))
}

// overflown: more is in the bucket than this clock can have put there.
func (a account) overflown(now time.Time) bool {
	return a.levelAt(now) > a.fills(a.rate.Burst)+max(a.rate.Window, time.Minute)
}

// budget is how a new account is stored.
func (a account) budget() verifier.Budget {
	b := verifier.Budget{ID: a.id, Counted: a.counted, Remaining: a.left, Rate: a.rate}
	if a.amount > 0 {
		b.Refill = verifier.Refill{Amount: a.amount, Interval: verifier.Daily, Anchor: a.anchor}
		if a.every > 0 {
			b.Refill.Interval = verifier.Every(a.every)
		}
		b.Refilled = a.refilled(a.period)
	}
	return b
}

// differs says where b, as stored, is not what the account expects. A database
// may keep times to the microsecond.
func (a account) differs(b verifier.Budget) error {
	switch {
	case a.counted && b.Remaining != a.left:
		return fmt.Errorf("budget %s has %d left, want %d", a.id, b.Remaining, a.left)
	case a.amount > 0 && !b.Refilled.Equal(a.refilled(a.period)):
		return fmt.Errorf("budget %s was refilled at %v, want %v", a.id, b.Refilled, a.refilled(a.period))
	case a.at.IsZero() != b.TAT.IsZero(),
		!a.at.IsZero() && b.TAT.Sub(a.at.Add(a.level)).Abs() >= time.Microsecond:
		return fmt.Errorf("budget %s has the arrival time %v, want %v", a.id, b.TAT, a.at.Add(a.level))
	}
	return nil
}

// adopt takes over what is stored.
func (a account) adopt(b verifier.Budget) account {
	a.left = b.Remaining
	if a.amount > 0 {
		a.period = a.periodAt(b.Refilled)
	}
	a.level, a.at = 0, b.TAT
	return a
}

// holder is a key as the histories expect it.
type holder struct {
	id      verifier.KeyID
	secret  verifier.Secret
	account int // its place among the accounts, which keys may share
	state   verifier.State
	expires time.Time

	uses         map[string]verifier.Use // by client: what must be counted
	acknowledged int64                   // cost of all grants that callers saw
	unknown      int64                   // cost of those that may have been charged
}

// refused is why the key cannot be used at now, whatever its budget.
func (h *holder) refused(now time.Time) string {
	switch {
	case h.state != verifier.Active:
		return string(h.state)
	case !h.expires.IsZero() && !now.Before(h.expires):
		return "expired"
	}
	return ""
}

// count adds a charge to what must be counted.
func (h *holder) count(client string, cost int64) {
	u := h.uses[client]
	h.uses[client] = verifier.Use{Client: client, Audience: audience, Grants: u.Grants + 1, Cost: u.Cost + cost}
}
