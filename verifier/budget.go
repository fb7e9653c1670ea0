package verifier

import (
	"time"
)

// BudgetID names a budget.
type BudgetID string

// Budget is what limits a key: uses remaining with their refill, and a rate
// limit. The zero Budget limits nothing. It is comparable, and a store writes it
// exactly when a charge changed it; its times are UTC.
type Budget struct {
	ID        BudgetID
	Counted   bool  // false: unlimited; Remaining and Refill mean nothing
	Remaining int64 // uses left, ≥ 0
	Refill    Refill
	Refilled  time.Time // start of the period that was refilled last
	Rate      Rate
	TAT       time.Time // GCRA's theoretical arrival time; zero: never used
}

// Same reports whether b is a, its times compared as instants: storing it would
// change nothing.
func (b Budget) Same(a Budget) bool {
	same := a.Refilled.Equal(b.Refilled) && a.TAT.Equal(b.TAT) && a.Refill.Anchor.Equal(b.Refill.Anchor)
	a.Refilled, a.TAT, a.Refill.Anchor = b.Refilled, b.TAT, b.Refill.Anchor
	return same && a == b
}

// charge returns b with cost taken from it, or why that cannot be.
func (b Budget) charge(now time.Time, cost int64) (Budget, error) {
	b, err := b.spend(now, cost)
	if err != nil {
		return Budget{}, err
	}
	if b.Rate == (Rate{}) {
		return b, nil
	}
	b.TAT, err = b.Rate.admit(now, b.TAT, cost)
	if err != nil {
		return Budget{}, err
	}
	return b, nil
}

// spend refills b if a period has begun since the last refill, and takes cost.
func (b Budget) spend(now time.Time, cost int64) (Budget, error) {
	if !b.Counted {
		return b, nil
	}
	b = b.At(now)
	if cost > b.Remaining {
		spent := &SpentError{At: now}
		if b.Refill.Amount >= cost {
			spent.RefillAt = b.RefillAt(now)
		}
		return Budget{}, spent
	}
	b.Remaining -= cost
	return b, nil
}

// At returns b as a request at now finds it: refilled if a period has begun
// since the last refill. It is what an operator should be shown.
func (b Budget) At(now time.Time) Budget {
	if !b.Counted || b.Refill == (Refill{}) {
		return b
	}
	if start := b.Refill.Interval.start(b.Refill.Anchor, now); start.After(b.Refilled) {
		b.Remaining, b.Refilled = b.Refill.Amount, start
	}
	return b
}

// RefillAt returns when the next refill comes, seen from now, or the zero time if
// none ever does.
func (b Budget) RefillAt(now time.Time) time.Time {
	if !b.Counted || b.Refill == (Refill{}) {
		return time.Time{}
	}
	return b.Refill.Interval.after(b.Refill.Anchor, now)
}

// StartedAt returns b as new at now: the period that now is in counts as
// refilled, so the first refill comes at the next one.
func (b Budget) StartedAt(now time.Time) Budget {
	b.Refilled = b.Refill.Interval.start(b.Refill.Anchor, now)
	return b
}
