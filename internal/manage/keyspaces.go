package manage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// DefaultPrefix begins the keys of a keyspace that names no other.
const DefaultPrefix = "ck"

// NewKeyspace describes a keyspace to make.
type NewKeyspace struct {
	Name            string
	Prefix          string        // of its keys; empty: DefaultPrefix
	KeyLifetime     time.Duration // of its keys; zero: unlimited
	TokenLifetime   time.Duration // zero: the server's default; at most 15 min
	PublishMetadata bool          // put a key's metadata into its tokens
	ImportedKeys    bool          // it may hold keys of other forms
	WeakKeys        bool          // it may hold keys that can be guessed
}

// CreateKeyspace fails with InvalidErrors, with ErrExists, or with ErrForbidden for
// a client that is bound to some keyspaces.
func (m *Manager) CreateKeyspace(ctx context.Context, n NewKeyspace) (KeyspaceRecord, error) {
	n.Prefix = cmp.Or(n.Prefix, DefaultPrefix)
	ks := verifier.Keyspace{
		Name:            n.Name,
		Prefix:          n.Prefix,
		KeyLifetime:     n.KeyLifetime,
		TokenLifetime:   n.TokenLifetime,
		PublishMetadata: n.PublishMetadata,
		ImportedKeys:    n.ImportedKeys,
		WeakKeys:        n.WeakKeys,
	}
	if err := errors.Join(validName(n.Name), validKeyspace(ks)); err != nil {
		return KeyspaceRecord{}, err
	}
	if !m.by.everywhere() {
		return KeyspaceRecord{}, ErrForbidden
	}
	name := n.Name
	err := m.change(ctx, &name, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		ks.CreatedAt = tx.Now()
		if err := tx.AddKeyspace(ctx, ks); err != nil {
			return nil, err
		}
		return entry("keyspace.create", name, name, nil, KeyspaceRecord{Keyspace: ks, Version: 1}.Wire())
	})
	if err != nil {
		return KeyspaceRecord{}, err
	}
	return told(m.Keyspace(ctx, name))
}

func validName(name string) error {
	if err := verifier.ValidateKeyspace(name); err != nil {
		return &InvalidError{"name", err}
	}
	return nil
}

func validKeyspace(ks verifier.Keyspace) error {
	var bad fields
	bad.check("prefix", keyPrefix(ks.Prefix))
	bad.check("key_lifetime", lifetime(ks.KeyLifetime))
	bad.check("token_lifetime", tokenLifetime(ks.TokenLifetime))
	return bad.err()
}

// Keyspace fails with ErrNotFound.
func (m *Manager) Keyspace(ctx context.Context, name string) (KeyspaceRecord, error) {
	if !m.by.in(name) {
		return KeyspaceRecord{}, fmt.Errorf("keyspace %.64q: %w", name, ErrNotFound)
	}
	return m.store.Keyspace(ctx, name)
}

// Keyspaces lists all of them by name.
func (m *Manager) Keyspaces(ctx context.Context) ([]KeyspaceRecord, error) {
	all, err := m.store.Keyspaces(ctx)
	seen := make([]KeyspaceRecord, 0, len(all))
	for _, ks := range all {
		if m.by.in(ks.Name) {
			seen = append(seen, ks)
		}
	}
	return seen, err
}

// lockKeyspace fails with ErrNotFound, also for what the client may not see.
func (m *Manager) lockKeyspace(ctx context.Context, tx Tx, name string) (KeyspaceRecord, error) {
	if !m.by.in(name) {
		return KeyspaceRecord{}, fmt.Errorf("keyspace %.64q: %w", name, ErrNotFound)
	}
	return lockNamed(ctx, tx, name)
}

// lockNamed does not look for what cannot be a name: there are databases that fail at
// a NUL.
func lockNamed(ctx context.Context, tx Tx, name string) (KeyspaceRecord, error) {
	if err := verifier.ValidateKeyspace(name); err != nil {
		return KeyspaceRecord{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return tx.LockKeyspace(ctx, name)
}

// KeyspacePatch says what is to be otherwise about a keyspace. Nil fields stay. Keys
// keep their form and expiry; the rest is of consequence at their next exchange.
type KeyspacePatch struct {
	Prefix          *string
	KeyLifetime     *time.Duration
	TokenLifetime   *time.Duration
	PublishMetadata *bool
	ImportedKeys    *bool
	WeakKeys        *bool
}

// PatchKeyspace fails with InvalidErrors, ErrNotFound or ErrChanged.
func (m *Manager) PatchKeyspace(ctx context.Context, name string, p KeyspacePatch) (KeyspaceRecord, error) {
	target := name
	err := m.change(ctx, &target, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		ks, err := m.lockKeyspace(ctx, tx, name)
		if err == nil {
			err = m.by.of(ks.Version)
		}
		if err != nil {
			return nil, err
		}
		before := ks
		p.apply(&ks.Keyspace)
		if err := validKeyspace(ks.Keyspace); err != nil {
			return nil, err
		}
		if err := tx.SaveKeyspace(ctx, ks.Keyspace); err != nil {
			return nil, err
		}
		ks.Version, ks.ChangedAt = ks.Version+1, tx.Now()
		return entry("keyspace.change", name, name, before.Wire(), ks.Wire())
	})
	if err != nil {
		return KeyspaceRecord{}, err
	}
	return told(m.Keyspace(ctx, target))
}

func (p KeyspacePatch) apply(ks *verifier.Keyspace) {
	set(&ks.Prefix, p.Prefix)
	set(&ks.KeyLifetime, p.KeyLifetime)
	set(&ks.TokenLifetime, p.TokenLifetime)
	set(&ks.PublishMetadata, p.PublishMetadata)
	set(&ks.ImportedKeys, p.ImportedKeys)
	set(&ks.WeakKeys, p.WeakKeys)
}

// set replaces a value if there is another.
func set[T any](value, other *T) {
	if other != nil {
		*value = *other
	}
}

// DeleteKeyspace removes a keyspace that never had a key. It fails with ErrNotFound,
// ErrInUse or ErrChanged.
func (m *Manager) DeleteKeyspace(ctx context.Context, name string) error {
	if name == "default" {
		return fmt.Errorf("keyspace default always exists, so it %w", ErrInUse)
	}
	target := name
	return m.change(ctx, &target, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		ks, err := m.lockKeyspace(ctx, tx, name)
		if err == nil {
			err = m.by.of(ks.Version)
		}
		if err == nil {
			err = tx.DeleteKeyspace(ctx, name)
		}
		if err != nil {
			return nil, err
		}
		return entry("keyspace.delete", name, name, ks.Wire(), nil)
	})
}

// keyPrefix refuses what begins the ids of keys and budgets, and the secrets of
// clients: a key must not be taken for one of them.
func keyPrefix(prefix string) error {
	switch first, _, _ := strings.Cut(prefix, "_"); first {
	case "key", "bud", secretPrefix:
		return fmt.Errorf("must not begin with %s_, as ids and secrets of clients do", first)
	}
	return verifier.ValidatePrefix(prefix)
}

const maxKeyLifetime = 100 * 366 * 24 * time.Hour

func lifetime(d time.Duration) error {
	if d < 0 || d > maxKeyLifetime || d%time.Second != 0 {
		return errors.New("must be whole seconds, and at most 100 years")
	}
	return nil
}

func tokenLifetime(d time.Duration) error {
	if d < 0 || d > wire.MaxTokenLifetime || d%time.Second != 0 {
		return fmt.Errorf("must be whole seconds, and at most %s", wire.MaxTokenLifetime)
	}
	return nil
}
