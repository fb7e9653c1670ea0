package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// Errors that refuse to change a key.
var (
	ErrRevoked  = errors.New("key is revoked, which is final")
	ErrDeleted  = fmt.Errorf("key is deleted: %w", ErrNotFound)
	ErrReplaced = errors.New("key was rotated before: rotate its successor")
	ErrNotGood  = errors.New("key is disabled or expired")
)

// changeKey lets do change a key that is locked and there, and logs what it did. If
// do reports that it left the key as it was, nothing is written.
func (m *Manager) changeKey(ctx context.Context, id verifier.KeyID, action string, do func(ctx context.Context, tx Tx, rec *KeyRecord) (changed bool, err error)) (KeyView, error) {
	target := string(id)
	err := m.change(ctx, &target, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		rec, err := m.lockKey(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		before := rec.clone()
		changed, err := do(ctx, tx, &rec)
		if err != nil || !changed {
			return nil, err
		}
		rec.Version, rec.ChangedAt = before.Version+1, tx.Now()
		return keyEntry(action, &before, &rec, tx.Now())
	})
	if err != nil {
		return KeyView{}, err
	}
	return told(m.Key(ctx, verifier.KeyID(target)))
}

// clone returns a copy that a change to the budget of rec does not reach.
func (rec KeyRecord) clone() KeyRecord {
	budget := *rec.Budget
	rec.Budget = &budget
	return rec
}

// lockKey fails with ErrNotFound, also for what the client may not see, with
// ErrDeleted, or with ErrChanged.
func (m *Manager) lockKey(ctx context.Context, tx Tx, id verifier.KeyID) (KeyRecord, error) {
	found, err := tx.LockKeys(ctx, []verifier.KeyID{id})
	switch {
	case err != nil:
		return KeyRecord{}, err
	case len(found) == 0 || !m.by.in(found[0].Key.Keyspace):
		return KeyRecord{}, fmt.Errorf("key %s: %w", id, ErrNotFound)
	case !found[0].DeletedAt.IsZero():
		return KeyRecord{}, fmt.Errorf("key %s: %w", id, ErrDeleted)
	}
	return found[0], m.by.of(found[0].Version)
}

// DisableKey suspends a key until EnableKey. Doing either twice is no error.
func (m *Manager) DisableKey(ctx context.Context, id verifier.KeyID) (KeyView, error) {
	return m.setState(ctx, id, "key.disable", verifier.Disabled)
}

// EnableKey ends DisableKey. It fails with ErrForbidden for a client that could not
// have made the key.
func (m *Manager) EnableKey(ctx context.Context, id verifier.KeyID) (KeyView, error) {
	return m.setState(ctx, id, "key.enable", verifier.Active)
}

// RevokeKey ends a key for good.
func (m *Manager) RevokeKey(ctx context.Context, id verifier.KeyID) (KeyView, error) {
	return m.setState(ctx, id, "key.revoke", verifier.Revoked)
}

// RevokeFor is RevokeKey on behalf of a client; where from, the actor of ctx says.
func (m *Manager) RevokeFor(ctx context.Context, c *client.Client, id verifier.KeyID) error {
	_, err := m.As(By{Client: c, From: audit.From(ctx).From}).RevokeKey(ctx, id)
	return err
}

func (m *Manager) setState(ctx context.Context, id verifier.KeyID, action string, to verifier.State) (KeyView, error) {
	return m.changeKey(ctx, id, action, func(ctx context.Context, tx Tx, rec *KeyRecord) (bool, error) {
		switch rec.Key.State {
		case to:
			return false, nil
		case verifier.Revoked:
			return false, fmt.Errorf("key %s: %w", id, ErrRevoked)
		}
		had := rec.Key
		rec.Key.State, rec.Reason = to, m.by.Reason
		if !m.by.lets(had, rec.Key) {
			return false, ErrForbidden
		}
		if to == verifier.Active {
			rec.Reason = ""
		}
		return true, tx.SaveKey(ctx, *rec)
	})
}

// DeleteKey revokes a key and forgets what it was for. A tombstone stays: its id,
// digest, owner and times, so that usage and log keep their meaning and the same key
// is not imported again.
func (m *Manager) DeleteKey(ctx context.Context, id verifier.KeyID) (KeyView, error) {
	return m.changeKey(ctx, id, "key.delete", func(ctx context.Context, tx Tx, rec *KeyRecord) (bool, error) {
		rec.Key.State, rec.DeletedAt, rec.Reason = verifier.Revoked, tx.Now(), m.by.Reason
		rec.Key.Name, rec.Key.ExternalID, rec.Key.Permissions, rec.Key.Audiences, rec.Key.Metadata = "", "", nil, nil, nil
		return true, tx.SaveKey(ctx, *rec)
	})
}

// KeyPatch says what is to be otherwise about a key. Nil fields stay.
type KeyPatch struct {
	Name        *string
	Permissions *verifier.Permissions // of nil: none
	Audiences   *[]string             // empty: any that its caller may use
	Metadata    *json.RawMessage      // empty: none
	ExpiresAt   *time.Time            // whole seconds; zero: never
	Budget      BudgetChange
}

// PatchKey changes what a key is and what limits it. What its tokens were given that
// it has no more, makes them void: fewer permissions or audiences, or an expiry
// before theirs. It fails with InvalidErrors, ErrNotFound, ErrRevoked, ErrForbidden
// or ErrChanged.
func (m *Manager) PatchKey(ctx context.Context, id verifier.KeyID, p KeyPatch) (KeyView, error) {
	if err := p.Validate(); err != nil {
		return KeyView{}, err
	}
	if p.Permissions != nil && !m.by.gives(*p.Permissions) || p.Audiences != nil && !m.by.names(*p.Audiences) {
		return KeyView{}, ErrForbidden
	}
	return m.changeKey(ctx, id, "key.change", func(ctx context.Context, tx Tx, rec *KeyRecord) (bool, error) {
		if rec.Key.State == verifier.Revoked {
			return false, fmt.Errorf("key %s: %w", id, ErrRevoked)
		}
		had := rec.Key
		p.apply(&rec.Key)
		if !m.by.lets(had, rec.Key) {
			return false, ErrForbidden
		}
		if err := p.Budget.save(ctx, tx, rec); err != nil {
			return false, err
		}
		if err := tx.SaveKey(ctx, *rec); err != nil {
			return false, err
		}
		if narrower(had, rec.Key, tx.Now()) {
			_, err := tx.VoidKeys(ctx, []verifier.KeyID{id})
			return true, err
		}
		return true, nil
	})
}

// Validate fails with InvalidErrors, all of them at once, as PatchKey does.
func (p *KeyPatch) Validate() error {
	var bad fields
	if p.Name != nil {
		bad.check("name", verifier.ValidateName(*p.Name))
	}
	if p.Permissions != nil {
		bad.check("permissions", validPermissions(*p.Permissions))
	}
	if p.Audiences != nil {
		bad.check("audiences", validAudiences(*p.Audiences))
	}
	if p.Metadata != nil {
		metadata, err := normalMetadata(*p.Metadata, maxMetadata)
		p.Metadata = &metadata
		bad.check("metadata", err)
	}
	if p.ExpiresAt != nil && !p.ExpiresAt.IsZero() {
		bad.check("expires_at", validExpiry(*p.ExpiresAt))
	}
	return errors.Join(bad.err(), p.Budget.Validate())
}

var lastExpiry = time.Date(2200, time.January, 1, 0, 0, 0, 0, time.UTC)

func validExpiry(t time.Time) error {
	if t.Nanosecond() != 0 || t.Before(time.Unix(0, 0)) || t.After(lastExpiry) {
		return errors.New("must be in whole seconds, from 1970 to 2200")
	}
	return nil
}

func (p *KeyPatch) apply(key *verifier.Key) {
	if p.Name != nil {
		key.Name = *p.Name
	}
	if p.Permissions != nil {
		key.Permissions = *p.Permissions
	}
	if p.Audiences != nil {
		key.Audiences = distinct(*p.Audiences)
	}
	if p.Metadata != nil {
		key.Metadata = *p.Metadata
	}
	if p.ExpiresAt != nil {
		key.ExpiresAt = p.ExpiresAt.UTC()
	}
}

// narrower reports whether tokens of a key, as it was, may say more than they could
// now.
func narrower(was, is verifier.Key, now time.Time) bool {
	lost := func(a string) bool { return !slices.Contains(is.Audiences, a) }
	switch {
	case !permission.Covers(is.Permissions, was.Permissions):
		return true
	case len(is.Audiences) > 0 && (len(was.Audiences) == 0 || slices.ContainsFunc(was.Audiences, lost)):
		return true
	}
	return endsTokens(was.ExpiresAt, is.ExpiresAt, now)
}

// endsTokens reports whether tokens may live on after the new expiry of their key.
func endsTokens(was, is, now time.Time) bool {
	sooner := !is.IsZero() && (was.IsZero() || is.Before(was))
	return sooner && is.Before(now.Add(wire.MaxTokenLifetime))
}
