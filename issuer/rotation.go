package issuer

import (
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

// The timetable of a signing key. Checkers keep the key set for its max-age, so a
// key is published that long and a margin before it signs, and as long after as a
// token that it signed may live on somewhere, clocks apart.
const (
	Lead          = JWKSMaxAge + 10*time.Minute
	Linger        = wire.MaxTokenLifetime + 5*time.Minute
	DefaultPeriod = 30 * 24 * time.Hour // a key signs this long
	MinPeriod     = time.Hour
	keepRemoved   = 30 * 24 * time.Hour // in the store, for signing-key list
)

// KeyState is where a signing key stands in its life. It follows from the
// timestamps in the store alone, so it is the same on every replica.
type KeyState string

// The states of a key, in order. All but the last are in the key set.
const (
	Pending  KeyState = "pending"  // published, does not sign yet
	Active   KeyState = "active"   // signs
	Retiring KeyState = "retiring" // signs no more; its tokens live on
	Removed  KeyState = "removed"  // no longer published
)

// StateOf returns the state at now of key i of one algorithm's keys, in the order of
// their generations, and when it stopped to sign, or will as far as is known.
func StateOf(keys []SealedKey, i int, now time.Time) (state KeyState, stops time.Time) {
	k := keys[i]
	for _, successor := range keys[i+1:] {
		if !successor.unused() && (stops.IsZero() || successor.ActivatesAt.Before(stops)) {
			stops = successor.ActivatesAt
		}
	}
	removed := !k.RemovedAt.IsZero() && !now.Before(k.RemovedAt)
	if !k.RemovedAt.IsZero() && (stops.IsZero() || k.RemovedAt.Before(stops)) {
		stops = k.RemovedAt
	}
	switch {
	case removed:
		return Removed, stops
	case now.Before(k.ActivatesAt):
		return Pending, stops
	case stops.IsZero() || now.Before(stops):
		return Active, stops
	case now.Before(stops.Add(Linger)):
		return Retiring, stops
	}
	return Removed, stops
}

// unused reports whether k was taken away before it could sign anything.
func (k SealedKey) unused() bool {
	return !k.RemovedAt.IsZero() && !k.RemovedAt.After(k.ActivatesAt)
}

// ofAlgorithm returns the keys of one algorithm, in the order of generations.
func ofAlgorithm(keys []SealedKey, algorithm string) []SealedKey {
	var own []SealedKey
	for _, k := range keys {
		if k.Algorithm == algorithm {
			own = append(own, k)
		}
	}
	slices.SortFunc(own, func(a, b SealedKey) int { return int(a.Generation - b.Generation) })
	return own
}

// nextKey returns when the next key of algorithm is to sign for the first time,
// unless one waits already. There is always one that waits: in an emergency it is
// a key that every cache holds.
func nextKey(all []SealedKey, algorithm string, period time.Duration, now time.Time) (activates time.Time, needed bool) {
	keys := ofAlgorithm(all, algorithm)
	active := -1
	for i := range keys {
		switch state, _ := StateOf(keys, i, now); state {
		case Pending:
			return time.Time{}, false
		case Active:
			active = i
		}
	}
	switch {
	case active >= 0:
		return later(keys[active].ActivatesAt.Add(period), now.Add(Lead)), true
	case len(keys) == 0 && slices.ContainsFunc(all, func(k SealedKey) bool { return k.CreatedAt.Before(now.Add(-time.Minute)) }):
		return now.Add(Lead), true // an algorithm that was enabled later: caches hold the set without it
	}
	return now, true
}

// activeAt returns the key of one algorithm's keys that signs at t, -1 if none does.
func activeAt(keys []SealedKey, t time.Time) int {
	for i := len(keys) - 1; i >= 0; i-- {
		if state, _ := StateOf(keys, i, t); state == Active {
			return i
		}
	}
	return -1
}

// forgotten reports whether key i has been removed for so long that its row can
// go, and its private half with it.
func forgotten(keys []SealedKey, i int, now time.Time) bool {
	state, stopped := StateOf(keys, i, now)
	return state == Removed && !stopped.IsZero() && now.After(stopped.Add(Linger+keepRemoved))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
