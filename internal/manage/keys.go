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

	"github.com/cambio-auth/cambio/internal/audit"
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
	ExternalID  string // its id in a system of yours
	Permissions verifier.Permissions
	Audiences   []string        // empty: any that its caller may use
	Metadata    json.RawMessage // a JSON object; empty: none
	ExpiresIn   time.Duration   // zero: the keyspace's lifetime for keys
	Remaining   *int64          // nil: the refill's amount, or unlimited without one
	Refill      verifier.Refill // its anchor is now
	Rate        verifier.Rate
}

// CreatedKey is a key with its secret, which is not to be had again. A repeat has
// none.
type CreatedKey struct {
	KeyView
	Secret verifier.Secret
}

// CreateKey makes a key. It fails with InvalidErrors, with ErrNotFound for a
// keyspace that does not exist, or with ErrForbidden.
func (m *Manager) CreateKey(ctx context.Context, n NewKey) (CreatedKey, error) {
	n.Keyspace = cmp.Or(n.Keyspace, "default")
	if err := n.Validate(); err != nil {
		return CreatedKey{}, err
	}
	if !m.by.gives(n.Permissions) || !m.by.names(n.Audiences) {
		return CreatedKey{}, ErrForbidden
	}
	var id string
	var secret verifier.Secret
	err := m.change(ctx, &id, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		ks, err := m.lockKeyspace(ctx, tx, n.Keyspace)
		if err != nil {
			return nil, err
		}
		if secret, err = verifier.GenerateKey(ks.Prefix); err != nil {
			return nil, err
		}
		rec, err := n.build(ks.Keyspace, secret, tx.Now())
		if err != nil {
			return nil, err
		}
		id = string(rec.Key.ID)
		if err := tx.AddKeys(ctx, []KeyRecord{rec}); err != nil {
			return nil, err
		}
		return keyEntry("key.create", nil, &rec, tx.Now())
	})
	if err != nil {
		return CreatedKey{}, err
	}
	made, err := told(m.Key(ctx, verifier.KeyID(id)))
	return CreatedKey{made, secret}, err
}

// keyEntry describes a change of a key; before or after may be nil.
func keyEntry(action string, before, after *KeyRecord, now time.Time) (*audit.Entry, error) {
	about, parts := cmp.Or(after, before), [2]any{}
	for i, rec := range []*KeyRecord{before, after} {
		if rec != nil {
			parts[i] = view(*rec, now).Wire()
		}
	}
	return entry(action, string(about.Key.ID), about.Key.Keyspace, parts[0], parts[1])
}

// Validate fails with InvalidErrors, all of them at once, as CreateKey does.
func (n *NewKey) Validate() error {
	var bad fields
	bad.check("owner", verifier.ValidateOwner(n.Owner))
	bad.check("name", verifier.ValidateName(n.Name))
	bad.check("external_id", verifier.ValidateName(n.ExternalID))
	bad.check("permissions", validPermissions(n.Permissions))
	bad.check("audiences", validAudiences(n.Audiences))
	metadata, err := normalMetadata(n.Metadata, maxMetadata)
	n.Metadata = metadata
	bad.check("metadata", err)
	bad.check("expires_in", lifetime(n.ExpiresIn))
	if n.Remaining != nil {
		bad.check("remaining", validUses(*n.Remaining))
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
func (n *NewKey) build(ks verifier.Keyspace, secret verifier.Secret, now time.Time) (KeyRecord, error) {
	id, err := newID()
	if err != nil {
		return KeyRecord{}, err
	}
	key := verifier.Key{
		ID:          verifier.KeyID("key_" + id),
		Digest:      secret.Digest(),
		Start:       startOf(secret, ks.Prefix),
		Keyspace:    ks.Name,
		Owner:       n.Owner,
		Name:        n.Name,
		ExternalID:  n.ExternalID,
		Permissions: n.Permissions,
		Audiences:   distinct(n.Audiences),
		Metadata:    n.Metadata,
		State:       verifier.Active,
		CreatedAt:   now,
		ExpiresAt:   expiry(now, cmp.Or(n.ExpiresIn, ks.KeyLifetime)),
	}
	budget := verifier.Budget{ID: verifier.BudgetID("bud_" + id), Rate: n.Rate}
	if n.Refill != (verifier.Refill{}) {
		budget = refilled(budget, n.Refill, now)
		budget.Counted, budget.Remaining = true, n.Refill.Amount
	}
	if n.Remaining != nil {
		budget.Counted, budget.Remaining = true, *n.Remaining
	}
	return KeyRecord{Record: verifier.Record{Key: key, Keyspace: ks, Budget: &budget}, Version: 1}, nil
}

func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	return strings.ReplaceAll(id.String(), "-", ""), nil
}

func startOf(secret verifier.Secret, prefix string) string {
	return secret.Reveal()[:len(prefix)+1+startChars]
}

// expiry returns the zero time, which is never, for no lifetime.
func expiry(now time.Time, life time.Duration) time.Time {
	if life == 0 {
		return time.Time{}
	}
	return now.Truncate(time.Second).Add(life)
}

// refilled gives b a refill whose periods, if they are of a fixed length, begin now.
func refilled(b verifier.Budget, r verifier.Refill, now time.Time) verifier.Budget {
	b.Refill, b.Refill.Anchor = r, now
	return b.StartedAt(now)
}

func validUses(n int64) error {
	if n < 0 || n > maxUses {
		return errors.New("must be 0 or more, and below 10^15")
	}
	return nil
}

func validRefill(r verifier.Refill) error {
	if r.Amount < 1 || r.Amount > maxUses {
		return errors.New("amount must be 1 or more, and below 10^15")
	}
	_, err := verifier.ParseInterval(r.Interval.String())
	return err
}

// Key fails with ErrNotFound. The tombstone of a key that was deleted is found.
func (m *Manager) Key(ctx context.Context, id verifier.KeyID) (KeyView, error) {
	rec, at, err := m.store.Key(ctx, id)
	if err == nil && !m.by.in(rec.Key.Keyspace) {
		err = fmt.Errorf("key %s: %w", id, ErrNotFound)
	}
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
	if err := validState(filter.State); err != nil {
		return nil, &InvalidError{"state", err}
	}
	var some bool
	if filter.Keyspaces, some = m.by.within(filter.Keyspaces); !some {
		return []KeyView{}, nil
	}
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

func validState(state string) error {
	switch state {
	case "", StateActive, StateDisabled, StateRevoked, StateExpired:
		return nil
	}
	return fmt.Errorf("%.40q is not active, disabled, revoked or expired", state)
}

// PageOfKeys is Keys, and tells the last id of a page that others follow, else the
// empty one.
func (m *Manager) PageOfKeys(ctx context.Context, filter KeyFilter) ([]KeyView, verifier.KeyID, error) {
	keys, err := m.Keys(ctx, filter)
	if err != nil || len(keys) == 0 || len(keys) < filter.Limit {
		return keys, "", err
	}
	last := keys[len(keys)-1].Key.ID
	filter.After, filter.Limit = last, 1
	more, err := m.Keys(ctx, filter)
	if err != nil || len(more) == 0 {
		return keys, "", err
	}
	return keys, last, nil
}
