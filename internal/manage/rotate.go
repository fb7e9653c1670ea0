package manage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/verifier"
)

// maxOverlap is how long two keys of a rotation may both work.
const maxOverlap = 366 * 24 * time.Hour

// Rotation says how a key is replaced.
type Rotation struct {
	Overlap   time.Duration // how long the old key still works; zero: not at all
	ExpiresIn time.Duration // of the new key; zero: the keyspace's lifetime for keys, or else when the old one would have
}

// RotatedKey is the new key, and the old one as it is now.
type RotatedKey struct {
	CreatedKey
	Predecessor KeyView
}

// RotateKey replaces a key by a successor that is alike in all but its secret, its id
// and its expiry. Both share one budget: what one uses, the other has no more, and
// nothing is doubled or lost. The old key ends by itself when the overlap does;
// without one it is revoked at once. Tokens of the old key end with it.
//
// It fails with InvalidErrors, ErrNotFound, ErrRevoked, ErrReplaced, ErrNotGood,
// ErrForbidden or ErrChanged. A repeat is answered without the secret.
func (m *Manager) RotateKey(ctx context.Context, id verifier.KeyID, r Rotation) (RotatedKey, error) {
	if err := r.validate(); err != nil {
		return RotatedKey{}, err
	}
	var successor string
	var secret verifier.Secret
	err := m.change(ctx, &successor, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		old, err := m.lockKey(ctx, tx, id)
		if err == nil {
			err = m.mayRotate(old, tx.Now())
		}
		if err != nil {
			return nil, err
		}
		if secret, err = verifier.GenerateKey(old.Keyspace.Prefix); err != nil {
			return nil, err
		}
		made, err := r.successor(old, secret, tx.Now())
		if err != nil {
			return nil, err
		}
		successor = string(made.Key.ID)
		if err := tx.AddKeys(ctx, []KeyRecord{made}); err != nil {
			return nil, err
		}
		before := old.clone()
		old.ReplacedBy = made.Key.ID
		if err := r.end(ctx, tx, &old); err != nil {
			return nil, err
		}
		return rotationEntry(&before, &old, &made, tx.Now())
	})
	if err != nil {
		return RotatedKey{}, err
	}
	return m.rotated(ctx, verifier.KeyID(successor), secret)
}

func (r Rotation) validate() error {
	var bad fields
	if r.Overlap < 0 || r.Overlap > maxOverlap || r.Overlap%time.Second != 0 {
		bad.check("overlap", errors.New("must be whole seconds, and at most 366 days"))
	}
	bad.check("expires_in", lifetime(r.ExpiresIn))
	return bad.err()
}

func (m *Manager) mayRotate(old KeyRecord, now time.Time) error {
	switch {
	case old.ReplacedBy != "":
		return fmt.Errorf("key %s: %w, %s", old.Key.ID, ErrReplaced, old.ReplacedBy)
	case old.Key.State == verifier.Revoked:
		return fmt.Errorf("key %s: %w", old.Key.ID, ErrRevoked)
	case old.Key.State != verifier.Active || view(old, now).Expired():
		return fmt.Errorf("key %s: %w", old.Key.ID, ErrNotGood)
	case !m.by.hands(old.Key):
		return ErrForbidden // its secret would be theirs
	}
	return nil
}

// successor has the budget of old, not one of its own.
func (r Rotation) successor(old KeyRecord, secret verifier.Secret, now time.Time) (KeyRecord, error) {
	id, err := newID()
	if err != nil {
		return KeyRecord{}, err
	}
	key := old.Key
	key.ID, key.Digest, key.Start = verifier.KeyID("key_"+id), secret.Digest(), startOf(secret, old.Keyspace.Prefix)
	key.CreatedAt = now
	switch {
	case r.ExpiresIn != 0:
		key.ExpiresAt = expiry(now, r.ExpiresIn)
	case old.Keyspace.KeyLifetime != 0:
		key.ExpiresAt = expiry(now, old.Keyspace.KeyLifetime)
	}
	return KeyRecord{
		Record:   verifier.Record{Key: key, Keyspace: old.Keyspace, Budget: old.Budget},
		Replaces: old.Key.ID, Version: 1,
	}, nil
}

// end sets the end of the old key, and of its tokens where they might outlive it.
func (r Rotation) end(ctx context.Context, tx Tx, old *KeyRecord) error {
	old.Version, old.ChangedAt = old.Version+1, tx.Now()
	if r.Overlap == 0 {
		old.Key.State, old.Reason = verifier.Revoked, "rotated"
		return tx.SaveKey(ctx, *old)
	}
	had, end := old.Key.ExpiresAt, expiry(tx.Now(), r.Overlap)
	if had.IsZero() || end.Before(had) {
		old.Key.ExpiresAt = end
	}
	if err := tx.SaveKey(ctx, *old); err != nil || !endsTokens(had, old.Key.ExpiresAt, tx.Now()) {
		return err
	}
	_, err := tx.VoidKeys(ctx, []verifier.KeyID{old.Key.ID})
	return err
}

func rotationEntry(before, old, made *KeyRecord, now time.Time) (*audit.Entry, error) {
	return entry("key.rotate", string(old.Key.ID), old.Key.Keyspace, view(*before, now).Wire(), map[string]any{
		"predecessor": view(*old, now).Wire(), "successor": view(*made, now).Wire(),
	})
}

func (m *Manager) rotated(ctx context.Context, id verifier.KeyID, secret verifier.Secret) (RotatedKey, error) {
	made, err := told(m.Key(ctx, id))
	if err != nil {
		return RotatedKey{}, err
	}
	old, err := told(m.Key(ctx, made.Replaces))
	return RotatedKey{CreatedKey{made, secret}, old}, err
}
