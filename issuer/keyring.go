package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// KeyringConfig opens a Keyring.
type KeyringConfig struct {
	Store      KeyStore         // required
	MasterKey  MasterKey        // required
	Algorithms []string         // those that sign; the first does where nobody asks for another; zero: EdDSA
	Period     time.Duration    // how long a key signs; zero: DefaultPeriod
	Refresh    time.Duration    // pause between two looks at the store; zero: 1 s
	Now        func() time.Time // zero: time.Now
	Log        *slog.Logger     // zero: none
}

func (c KeyringConfig) withDefaults() (KeyringConfig, error) {
	if c.Store == nil {
		return c, errors.New("issuer: KeyringConfig.Store is required")
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{EdDSA}
	}
	for _, a := range c.Algorithms {
		if !KnownAlgorithm(a) {
			return c, fmt.Errorf("issuer: there is no algorithm %q", a)
		}
	}
	if c.Period == 0 {
		c.Period = DefaultPeriod
	}
	if c.Period < MinPeriod {
		return c, fmt.Errorf("issuer: a signing key signs for %s at least", MinPeriod)
	}
	if c.Refresh == 0 {
		c.Refresh = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Keyring holds the signing keys of the store, opened, and follows their
// timetable. What it says follows from the store and the time alone, so replicas
// need not know of each other.
type Keyring struct {
	cfg  KeyringConfig
	mu   sync.Mutex           // one look at the store at a time
	ring atomic.Pointer[ring] // nil: none was had yet
	jwks atomic.Pointer[JWKS]
}

// ring is what the store held at some moment. It does not change.
type ring struct {
	keys    map[string][]SealedKey // by algorithm; those that are long gone left out
	signers map[string]*signer     // by kid
	ahead   time.Duration          // of our clock, the database's
	seen    time.Time              // by our clock
}

// OpenKeyring opens every key of the store, and makes those that are missing; of
// several servers that start at once, one does, and all use its keys. It fails with
// ErrSealed if the master key is not the one they were sealed with.
func OpenKeyring(ctx context.Context, cfg KeyringConfig) (*Keyring, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	k := &Keyring{cfg: cfg}
	return k, k.Refresh(ctx)
}

// Run follows the store and the timetable until ctx ends. While the store is away,
// what was last seen of it stands.
func (k *Keyring) Run(ctx context.Context) {
	ticks := time.NewTicker(k.cfg.Refresh)
	defer ticks.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		err := k.Refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if failed := err != nil; failed != failing { // told once, not every second
			failing = failed
			if failed {
				k.cfg.Log.ErrorContext(ctx, "signing keys cannot be followed; those known go on", "err", err)
			} else {
				k.cfg.Log.InfoContext(ctx, "signing keys are followed again")
			}
		}
	}
}

// Refresh looks at the store once, makes the keys whose time has come, and
// publishes what is to be published now.
func (k *Keyring) Refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return errors.Join(k.follow(ctx), k.publish())
}

func (k *Keyring) follow(ctx context.Context) error {
	for range 2*len(k.cfg.Algorithms) + 1 { // one signs and one waits, then all is there
		keys, now, err := k.load(ctx)
		if err != nil {
			return err
		}
		missing := slices.IndexFunc(k.cfg.Algorithms, func(algorithm string) bool {
			_, needed := nextKey(keys, algorithm, k.cfg.Period, now)
			return needed
		})
		if missing < 0 {
			return nil
		}
		if err := k.add(ctx, k.cfg.Algorithms[missing], now); err != nil {
			return err
		}
	}
	return errors.New("signing keys: the store does not keep what it is given")
}

// load reads the store, and opens what is new in it.
func (k *Keyring) load(ctx context.Context) ([]SealedKey, time.Time, error) {
	keys, now, err := k.cfg.Store.SigningKeys(ctx)
	if err != nil {
		return nil, now, fmt.Errorf("reading signing keys: %w", err)
	}
	seen := k.cfg.Now()
	fresh := &ring{keys: map[string][]SealedKey{}, signers: map[string]*signer{}, ahead: now.Sub(seen), seen: seen}
	for _, algorithm := range Algorithms() {
		own := ofAlgorithm(keys, algorithm)
		for len(own) > 0 {
			if state, _ := StateOf(own, 0, now); state != Removed {
				break
			}
			own = own[1:]
		}
		fresh.keys[algorithm] = own
		for i, sealed := range own {
			if state, _ := StateOf(own, i, now); state == Removed {
				continue
			}
			if fresh.signers[sealed.KID], err = k.opened(sealed); err != nil {
				return nil, now, err
			}
		}
	}
	k.ring.Store(fresh)
	return keys, now, nil
}

func (k *Keyring) opened(sealed SealedKey) (*signer, error) {
	if last := k.ring.Load(); last != nil && last.signers[sealed.KID] != nil {
		return last.signers[sealed.KID], nil
	}
	return openSigner(k.cfg.MasterKey, sealed)
}

// add makes the next key of algorithm, unless another replica just has.
func (k *Keyring) add(ctx context.Context, algorithm string, now time.Time) error {
	made, err := generate(k.cfg.MasterKey, algorithm, now)
	if err != nil {
		return fmt.Errorf("making a signing key: %w", err)
	}
	added := false
	err = k.cfg.Store.ChangeSigningKeys(ctx, func(now time.Time, keys []SealedKey) ([]SealedKey, error) {
		activates, needed := nextKey(keys, algorithm, k.cfg.Period, now)
		if added = needed; !needed {
			return keys, nil
		}
		if err := k.opensAll(keys); err != nil {
			return nil, err
		}
		own := ofAlgorithm(keys, algorithm)
		made.CreatedAt, made.ActivatesAt, made.Generation = now, activates, 0
		if len(own) > 0 {
			made.Generation = own[len(own)-1].Generation + 1
		}
		return append(withoutForgotten(keys, now), made), nil
	})
	if err != nil {
		return fmt.Errorf("adding a signing key: %w", err)
	}
	if added {
		k.cfg.Log.InfoContext(ctx, "made a signing key", "kid", made.KID, "alg", algorithm, "signs_from", made.ActivatesAt)
	}
	return nil
}

// opensAll keeps a server that still has the old master key from sealing a key
// with it.
func (k *Keyring) opensAll(keys []SealedKey) error {
	for _, sealed := range keys {
		if _, err := k.cfg.MasterKey.open(sealed.KID, sealed.Sealed); err != nil {
			return err
		}
	}
	return nil
}

func withoutForgotten(keys []SealedKey, now time.Time) []SealedKey {
	var kept []SealedKey
	for _, algorithm := range Algorithms() {
		own := ofAlgorithm(keys, algorithm)
		for i, sealed := range own {
			if !forgotten(own, i, now) {
				kept = append(kept, sealed)
			}
		}
	}
	return kept
}

// publish encodes the keys that are not removed by now.
func (k *Keyring) publish() error {
	r := k.ring.Load()
	if r == nil {
		return nil
	}
	now := k.cfg.Now().Add(r.ahead)
	var published []*signer
	for _, algorithm := range Algorithms() {
		for i, sealed := range r.keys[algorithm] {
			// One that was removed already is not here, even if our clock was set back.
			state, _ := StateOf(r.keys[algorithm], i, now)
			if s := r.signers[sealed.KID]; s != nil && state != Removed {
				published = append(published, s)
			}
		}
	}
	jwks, err := newJWKS(published)
	if err == nil {
		k.jwks.Store(&jwks)
	}
	return err
}

// JWKS returns the public keys that are to be published now.
func (k *Keyring) JWKS() JWKS {
	if jwks := k.jwks.Load(); jwks != nil {
		return *jwks
	}
	return JWKS{}
}

// active returns the key of algorithm that signs at t, by the database's clock;
// empty means the default. If that key has been taken away since, it is the one
// that signs now; before the time of a first key, by a clock that was set back, it
// is that one. A key that waits until caches hold it never signs early.
func (k *Keyring) active(algorithm string, t time.Time) (*signer, error) {
	r := k.ring.Load()
	if r == nil {
		return nil, ErrNoSigningKey
	}
	if algorithm == "" {
		algorithm = k.cfg.Algorithms[0]
	}
	keys := r.keys[algorithm]
	for _, at := range []time.Time{t, k.now()} {
		if i := activeAt(keys, at); i >= 0 && r.signers[keys[i].KID] != nil {
			return r.signers[keys[i].KID], nil
		}
	}
	for _, sealed := range keys {
		waits := sealed.ActivatesAt.After(sealed.CreatedAt)
		if s := r.signers[sealed.KID]; s != nil && !waits && t.Before(sealed.ActivatesAt) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w of %s", ErrNoSigningKey, algorithm)
}

// now is the database's time, as far as we know.
func (k *Keyring) now() time.Time {
	if r := k.ring.Load(); r != nil {
		return k.cfg.Now().Add(r.ahead)
	}
	return time.Time{}
}

// Keys is Keys of the store.
func (k *Keyring) Keys(ctx context.Context) ([]KeyView, error) { return Keys(ctx, k.cfg.Store) }

// Rotate is Rotate of the store, with the master key of this server, which follows
// at once.
func (k *Keyring) Rotate(ctx context.Context, how Rotation) error {
	how.MasterKey = k.cfg.MasterKey
	if err := Rotate(ctx, k.cfg.Store, how); err != nil {
		return err
	}
	return k.Refresh(ctx)
}

// Revoke is Revoke of the store. This server follows at once.
func (k *Keyring) Revoke(ctx context.Context, kid string) error {
	if err := Revoke(ctx, k.cfg.Store, kid); err != nil {
		return err
	}
	return k.Refresh(ctx)
}
