package verifier

import "time"

// Balance is what a budget still allows, seen from one instant.
type Balance struct {
	Counted   bool      `json:"counted,omitempty"` // false: unlimited; Remaining and RefillAt mean nothing
	Remaining int64     `json:"remaining,omitempty"`
	RefillAt  time.Time `json:"refill_at,omitzero"` // zero: never

	Rate          Rate      `json:"rate,omitzero"`           // zero: no limit; the others mean nothing
	RateRemaining int64     `json:"rate_remaining,omitzero"` // uses that could come at once
	RateResetAt   time.Time `json:"rate_reset_at,omitzero"`  // when that is the whole burst again
}

// balance returns what a request at now finds.
func (b Budget) balance(now time.Time) Balance {
	b = b.At(now)
	left := Balance{Counted: b.Counted}
	if b.Counted {
		left.Remaining, left.RefillAt = b.Remaining, b.RefillAt(now)
	}
	if b.Rate != (Rate{}) {
		left.Rate = b.Rate
		left.RateRemaining, left.RateResetAt = b.Rate.left(now, b.TAT)
	}
	return left
}
