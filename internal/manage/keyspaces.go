package manage

import (
	"context"
	"errors"
	"fmt"
	"time"

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
}

// CreateKeyspace fails with InvalidErrors, or with ErrExists.
func (m *Manager) CreateKeyspace(ctx context.Context, n NewKeyspace) (verifier.Keyspace, error) {
	if n.Prefix == "" {
		n.Prefix = DefaultPrefix
	}
	var bad fields
	bad.check("name", verifier.ValidateKeyspace(n.Name))
	bad.check("prefix", keyPrefix(n.Prefix))
	bad.check("key_lifetime", lifetime(n.KeyLifetime))
	bad.check("token_lifetime", tokenLifetime(n.TokenLifetime))
	if err := bad.err(); err != nil {
		return verifier.Keyspace{}, err
	}
	ks := verifier.Keyspace{
		Name:            n.Name,
		Prefix:          n.Prefix,
		KeyLifetime:     n.KeyLifetime,
		TokenLifetime:   n.TokenLifetime,
		PublishMetadata: n.PublishMetadata,
		ImportedKeys:    n.ImportedKeys,
		CreatedAt:       m.now().UTC(),
	}
	if err := m.store.Change(ctx, func(ctx context.Context, tx Tx) error { return tx.AddKeyspace(ctx, ks) }); err != nil {
		return verifier.Keyspace{}, err
	}
	return ks, nil
}

// Keyspace fails with ErrNotFound.
func (m *Manager) Keyspace(ctx context.Context, name string) (KeyspaceRecord, error) {
	return m.store.Keyspace(ctx, name)
}

// Keyspaces lists all of them by name.
func (m *Manager) Keyspaces(ctx context.Context) ([]KeyspaceRecord, error) {
	return m.store.Keyspaces(ctx)
}

// keyPrefix refuses what begins the ids of keys and budgets, and the secrets of
// clients: a key must not be taken for one of them.
func keyPrefix(prefix string) error {
	if prefix == "key" || prefix == "bud" || prefix == secretPrefix {
		return errors.New("is reserved")
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
