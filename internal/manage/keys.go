package manage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/cambio-auth/cambio/verifier"
)

// Bounds of a key.
const (
	maxListed  = 1000     // keys on a page
	startChars = 4        // of the random part, kept to recognise a key by
	maxUses    = 1e15 - 1 // exact in every JSON parser
)

// NewKey describes a key to make.
type NewKey struct {
	Keyspace    string // empty: default
	Owner       string
	Name        string
	Permissions verifier.Permissions
	Audiences   []string        // empty: any that its caller may use
	Metadata    json.RawMessage // a JSON object; empty: none
	ExpiresIn   time.Duration   // zero: the keyspace's lifetime for keys
	Remaining   *int64          // nil: the refill's amount, or unlimited without one
	Refill      verifier.Refill // its anchor is now
	Rate        verifier.Rate
}

// CreatedKey is a key with its secret, which is not to be had again.
type CreatedKey struct {
	KeyView
	Secret verifier.Secret
}

// KeyView is a key as an operator sees it, with its budget as of now.
type KeyView struct {
	KeyRecord
	At time.Time // the database's clock
}

// Expired reports whether the key's time is over.
func (v KeyView) Expired() bool {
	return !v.Key.ExpiresAt.IsZero() && !v.At.Before(v.Key.ExpiresAt)
}

// CreateKey makes a key. It fails with InvalidErrors, or with ErrNotFound for
// a keyspace that does not exist.
func (m *Manager) CreateKey(ctx context.Context, n NewKey) (CreatedKey, error) {
	if n.Keyspace == "" {
		n.Keyspace = "default"
	}
	if err := n.validate(); err != nil {
		return CreatedKey{}, err
	}
	ks, err := m.Keyspace(ctx, n.Keyspace)
	if err != nil {
		return CreatedKey{}, err
	}
	secret, err := verifier.GenerateKey(ks.Prefix)
	if err != nil {
		return CreatedKey{}, err
	}
	key, budget, err := n.build(ks.Keyspace, secret, m.now().UTC())
	if err != nil {
		return CreatedKey{}, err
	}
	rec := KeyRecord{Record: verifier.Record{Key: key, Budget: &budget}}
	if err := m.store.Change(ctx, func(ctx context.Context, tx Tx) error { return tx.AddKeys(ctx, []KeyRecord{rec}) }); err != nil {
		return CreatedKey{}, err
	}
	view, err := m.Key(ctx, key.ID)
	return CreatedKey{view, secret}, err
}

func (n *NewKey) validate() error {
	var bad fields
	bad.check("owner", verifier.ValidateOwner(n.Owner))
	bad.check("name", verifier.ValidateName(n.Name))
	bad.check("permissions", validPermissions(n.Permissions))
	bad.check("audiences", validAudiences(n.Audiences))
	metadata, err := normalMetadata(n.Metadata)
	n.Metadata = metadata
	bad.check("metadata", err)
	bad.check("expires_in", lifetime(n.ExpiresIn))
	if n.Remaining != nil && (*n.Remaining < 0 || *n.Remaining > maxUses) {
		bad.check("remaining", errors.New("must be 0 or more, and below 10^15"))
	}
	if n.Refill != (verifier.Refill{}) {
		bad.check("refill", validRefill(n.Refill))
	}
	if n.Rate != (verifier.Rate{}) {
		bad.check("rate", n.Rate.Validate())
	}
	return bad.err()
}

// build fills in the keyspace's defaults. Expiries are whole seconds, as in
// tokens.
func (n *NewKey) build(ks verifier.Keyspace, secret verifier.Secret, now time.Time) (verifier.Key, verifier.Budget, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return verifier.Key{}, verifier.Budget{}, fmt.Errorf("making an id: %w", err)
	}
	compact := strings.ReplaceAll(id.String(), "-", "")
	key := verifier.Key{
		ID:          verifier.KeyID("key_" + compact),
		Digest:      secret.Digest(),
		Start:       secret.Reveal()[:len(ks.Prefix)+1+startChars],
		Keyspace:    ks.Name,
		Owner:       n.Owner,
		Name:        n.Name,
		Permissions: n.Permissions,
		Audiences:   distinct(n.Audiences),
		Metadata:    n.Metadata,
		State:       verifier.Active,
		CreatedAt:   now,
	}
	if life := cmp.Or(n.ExpiresIn, ks.KeyLifetime); life > 0 {
		key.ExpiresAt = now.Truncate(time.Second).Add(life)
	}
	budget := verifier.Budget{ID: verifier.BudgetID("bud_" + compact), Rate: n.Rate}
	if n.Refill != (verifier.Refill{}) {
		budget.Counted, budget.Remaining = true, n.Refill.Amount
		budget.Refill, budget.Refill.Anchor = n.Refill, now
		budget = budget.StartedAt(now)
	}
	if n.Remaining != nil {
		budget.Counted, budget.Remaining = true, *n.Remaining
	}
	return key, budget, nil
}

func validRefill(r verifier.Refill) error {
	if r.Amount < 1 || r.Amount > maxUses {
		return errors.New("amount must be 1 or more, and below 10^15")
	}
	_, err := verifier.ParseInterval(r.Interval.String())
	return err
}

// Key fails with ErrNotFound.
func (m *Manager) Key(ctx context.Context, id verifier.KeyID) (KeyView, error) {
	rec, at, err := m.store.Key(ctx, id)
	if err != nil {
		return KeyView{}, err
	}
	return view(rec, at), nil
}

// Keys lists a page of keys, oldest first. A limit of zero means 100; it is at
// most 1000.
func (m *Manager) Keys(ctx context.Context, filter KeyFilter) ([]KeyView, error) {
	if filter.Limit <= 0 {
		filter.Limit = 100
	}
	filter.Limit = min(filter.Limit, maxListed)
	recs, at, err := m.store.Keys(ctx, filter)
	if err != nil {
		return nil, err
	}
	views := make([]KeyView, len(recs))
	for i, rec := range recs {
		views[i] = view(rec, at)
	}
	return views, nil
}

// ErrRevoked refuses to bring back a revoked key.
var ErrRevoked = errors.New("key is revoked, which is final")

// DisableKey suspends a key until EnableKey. Doing either twice is no error.
func (m *Manager) DisableKey(ctx context.Context, id verifier.KeyID) (KeyView, error) {
	return m.setState(ctx, id, verifier.Disabled)
}

// EnableKey ends DisableKey.
func (m *Manager) EnableKey(ctx context.Context, id verifier.KeyID) (KeyView, error) {
	return m.setState(ctx, id, verifier.Active)
}

// RevokeKey ends a key for good.
func (m *Manager) RevokeKey(ctx context.Context, id verifier.KeyID) (KeyView, error) {
	return m.setState(ctx, id, verifier.Revoked)
}

func (m *Manager) setState(ctx context.Context, id verifier.KeyID, to verifier.State) (KeyView, error) {
	err := m.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		found, err := tx.LockKeys(ctx, []verifier.KeyID{id})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return ErrNotFound
		}
		rec := found[0]
		if rec.Key.State == verifier.Revoked && to != verifier.Revoked {
			return ErrRevoked
		}
		rec.Key.State = to
		return tx.SaveKey(ctx, rec)
	})
	if err != nil {
		return KeyView{}, err
	}
	return m.Key(ctx, id)
}

// view shows the balance that a request would find now.
func view(rec KeyRecord, at time.Time) KeyView {
	budget := rec.Budget.At(at)
	rec.Budget = &budget
	return KeyView{rec, at}
}
