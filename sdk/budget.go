package sdk

import "time"

// Budget is what a key may still be charged for, as the issuer saw it when it
// answered a call that was Online, the charge of that call taken. Keys that
// replaced one another share one. Times are by the issuer's clock.
type Budget struct {
	Limited   bool      // Remaining counts; false: there may be any number of uses
	Remaining int64     // uses left
	RefillAt  time.Time // when Remaining is set anew; zero: never

	RateLimit RateLimit
}

// RateLimit is how fast a key may be used. Zero: as fast as anybody likes.
type RateLimit struct {
	Limit  int64         // uses per Window
	Window time.Duration // in which so many come back, evenly
	Burst  int64         // uses that may come at once

	Remaining int64     // uses that may come at once now
	ResetAt   time.Time // when that is all of Burst again
}

// Budget returns what is left of the key's budget. A token does not know: ok is
// false unless this is the answer to a call that was Online.
func (t *Token) Budget() (b Budget, ok bool) {
	if t == nil || t.v == nil || t.v.budget == nil {
		return Budget{}, false
	}
	return *t.v.budget, true
}
