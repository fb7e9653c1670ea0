package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

// Errors of what an operator asks for.
var (
	ErrUnknownKID = errors.New("there is no signing key of that kid")
	ErrNoPending  = errors.New("no key waits to sign; a running server makes one within a second, and a fresh one needs the master key")
)

// KeyView is a signing key as an operator sees it: without its private half.
type KeyView struct {
	KID         string
	Algorithm   string
	State       KeyState
	CreatedAt   time.Time
	ActivatesAt time.Time
	StopsAt     time.Time // signs no more from then on; zero: not known yet
	GoneAt      time.Time // leaves the key set; zero: not known yet
}

// Wire is v as it is printed and sent.
func (v KeyView) Wire() wire.SigningKey {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC()
		return &t
	}
	return wire.SigningKey{
		KID: v.KID, Algorithm: v.Algorithm, State: string(v.State),
		CreatedAt: at(v.CreatedAt), ActivatesAt: at(v.ActivatesAt), StopsAt: at(v.StopsAt), GoneAt: at(v.GoneAt),
	}
}

// Keys returns all keys of the store by algorithm, oldest first.
func Keys(ctx context.Context, store KeyStore) ([]KeyView, error) {
	keys, now, err := store.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	var views []KeyView
	for _, algorithm := range Algorithms() {
		views = append(views, viewsOf(ofAlgorithm(keys, algorithm), now)...)
	}
	return views, nil
}

// viewsOf shows the keys of one algorithm.
func viewsOf(own []SealedKey, now time.Time) []KeyView {
	views := make([]KeyView, len(own))
	for i, k := range own {
		state, stops := StateOf(own, i, now)
		view := KeyView{KID: k.KID, Algorithm: k.Algorithm, State: state, CreatedAt: k.CreatedAt, ActivatesAt: k.ActivatesAt, StopsAt: stops, GoneAt: k.RemovedAt}
		if view.GoneAt.IsZero() && !stops.IsZero() {
			view.GoneAt = stops.Add(Linger)
		}
		views[i] = view
	}
	return views
}

// Rotation says how keys are changed out of turn.
type Rotation struct {
	// Emergency lets the waiting keys sign at once, and removes the others at
	// once: tokens that they signed die as checkers learn of it. Else the
	// waiting keys sign as soon as every cache holds them.
	Emergency bool

	// Fresh, in an emergency, makes keys that nobody has seen and removes the
	// waiting ones too: for a store that leaked with its master key.
	Fresh     bool
	MasterKey MasterKey // required with Fresh
}

// Rotate changes the signing key of every algorithm out of turn. It fails with
// ErrNoPending if no key waits.
func Rotate(ctx context.Context, store KeyStore, how Rotation) error {
	fresh := map[string]SealedKey{}
	if how.Fresh {
		keys, now, err := store.SigningKeys(ctx)
		if err != nil {
			return fmt.Errorf("reading signing keys: %w", err)
		}
		for _, k := range keys {
			if _, made := fresh[k.Algorithm]; made {
				continue
			}
			if fresh[k.Algorithm], err = generate(how.MasterKey, k.Algorithm, now); err != nil {
				return fmt.Errorf("making a signing key: %w", err)
			}
		}
	}
	return changeEach(ctx, store, func(now time.Time, keys []SealedKey) ([]SealedKey, error) {
		if how.Fresh {
			return replaceAll(keys, fresh[keys[0].Algorithm], how.MasterKey, now)
		}
		next := pendingOf(keys, now)
		if next < 0 {
			return nil, fmt.Errorf("%s: %w", keys[0].Algorithm, ErrNoPending)
		}
		if !how.Emergency {
			keys[next].ActivatesAt = earlier(keys[next].ActivatesAt, later(now, keys[next].CreatedAt.Add(Lead)))
			return keys, nil
		}
		removeAll(keys, now, keys[next].KID)
		keys[next].ActivatesAt = now
		return keys, nil
	})
}

// Revoke removes one key at once, whatever its state. If it signed, the key that
// waits takes its place.
func Revoke(ctx context.Context, store KeyStore, kid string) error {
	return changeEach(ctx, store, func(now time.Time, keys []SealedKey) ([]SealedKey, error) {
		i := slices.IndexFunc(keys, func(k SealedKey) bool { return k.KID == kid })
		if i < 0 {
			return keys, nil
		}
		signed := i == activeAt(keys, now)
		if keys[i].RemovedAt.IsZero() {
			keys[i].RemovedAt = now
		}
		if !signed {
			return keys, nil
		}
		next := pendingOf(keys, now)
		if next < 0 {
			return nil, ErrNoPending
		}
		keys[next].ActivatesAt = now
		return keys, nil
	}, kid)
}

// Reseal changes the master key. Servers that run with the old one go on with the
// keys they have opened, and need the new one before the next rotation. It fails
// with ErrSealed, and changes nothing, if one key does not open with the old one.
func Reseal(ctx context.Context, store KeyStore, from, to MasterKey) (n int, err error) {
	err = store.ChangeSigningKeys(ctx, func(_ time.Time, keys []SealedKey) ([]SealedKey, error) {
		n = len(keys)
		for i, k := range keys {
			private, err := from.open(k.KID, k.Sealed)
			if err != nil {
				return nil, err
			}
			keys[i].Sealed, err = to.seal(k.KID, private)
			clear(private)
			if err != nil {
				return nil, err
			}
		}
		return keys, nil
	})
	if err != nil {
		return 0, fmt.Errorf("resealing: %w", err)
	}
	return n, nil
}

// changeEach changes the keys of each algorithm that has any, all in one
// transaction. If kids are given, all of them must be there.
func changeEach(ctx context.Context, store KeyStore, change func(now time.Time, keys []SealedKey) ([]SealedKey, error), kids ...string) error {
	err := store.ChangeSigningKeys(ctx, func(now time.Time, keys []SealedKey) ([]SealedKey, error) {
		for _, kid := range kids {
			if !slices.ContainsFunc(keys, func(k SealedKey) bool { return k.KID == kid }) {
				return nil, ErrUnknownKID
			}
		}
		var changed []SealedKey
		for _, algorithm := range Algorithms() {
			own := ofAlgorithm(keys, algorithm)
			if len(own) == 0 {
				continue
			}
			own, err := change(now, own)
			if err != nil {
				return nil, err
			}
			changed = append(changed, own...)
		}
		return changed, nil
	})
	if err != nil {
		return fmt.Errorf("changing signing keys: %w", err)
	}
	return nil
}

// replaceAll removes every key and lets fresh sign.
func replaceAll(keys []SealedKey, fresh SealedKey, master MasterKey, now time.Time) ([]SealedKey, error) {
	for _, k := range keys {
		if _, err := master.open(k.KID, k.Sealed); err != nil {
			return nil, err
		}
	}
	removeAll(keys, now, "")
	fresh.Generation = keys[len(keys)-1].Generation + 1
	fresh.CreatedAt, fresh.ActivatesAt = now, now
	return append(keys, fresh), nil
}

func removeAll(keys []SealedKey, now time.Time, but string) {
	for i := range keys {
		if keys[i].KID != but && keys[i].RemovedAt.IsZero() {
			keys[i].RemovedAt = now
		}
	}
}

// pendingOf returns the key that signs next, -1 if none waits.
func pendingOf(keys []SealedKey, now time.Time) int {
	return slices.IndexFunc(keys, func(k SealedKey) bool { return k.RemovedAt.IsZero() && k.ActivatesAt.After(now) })
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
