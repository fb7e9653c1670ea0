package manage

import (
	"context"
	"errors"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

// Errors of stores that a user can do something about.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
)

// KeyStore keeps keys. All methods return ErrNotFound for what is not there.
type KeyStore interface {
	// CreateKey stores a key with the budget it brings, both or neither. It
	// fails with ErrExists if the id or the digest is taken, and with
	// ErrNotFound if the keyspace is not there.
	CreateKey(ctx context.Context, key verifier.Key, budget verifier.Budget) error

	// Key returns one key with its keyspace and budget, and the database's
	// clock.
	Key(ctx context.Context, id verifier.KeyID) (verifier.Record, time.Time, error)

	// Keys returns at most filter.Limit keys in id order, which is the order of
	// their creation.
	Keys(ctx context.Context, filter KeyFilter) ([]verifier.Record, time.Time, error)

	// ChangeKey lets change alter a key's state, and nothing else, in one transaction with the
	// row locked; an error from change is returned and alters nothing. Every
	// exchange that starts after ChangeKey returned sees the change. The status of
	// the key's tokens follows, in the same transaction, as StatusOf says.
	ChangeKey(ctx context.Context, id verifier.KeyID, change func(now time.Time, key *verifier.Key) error) (verifier.Record, time.Time, error)
}

// KeyFilter narrows a list of keys. Zero fields do not narrow.
type KeyFilter struct {
	Keyspace string
	Owner    string
	After    verifier.KeyID // the last id of the page before
	Limit    int            // required
}

// KeyspaceStore keeps keyspaces. The keyspace "default" always exists.
type KeyspaceStore interface {
	// CreateKeyspace fails with ErrExists. A keyspace of imported keys changes the
	// version of every client that may use it.
	CreateKeyspace(ctx context.Context, ks verifier.Keyspace) error
	Keyspace(ctx context.Context, name string) (verifier.Keyspace, error)
	Keyspaces(ctx context.Context) ([]verifier.Keyspace, error) // by name
}

// ClientStore keeps clients. A client's ImportedKeys is derived on reading, and
// its Version is 1 at first.
type ClientStore interface {
	CreateClient(ctx context.Context, c client.Client) error       // ErrExists
	Client(ctx context.Context, id string) (*client.Client, error) // nil: there is none
	Clients(ctx context.Context) ([]client.Client, error)          // by id
}

// VoidStore makes tokens void, without a change to their keys. When a method has
// returned, every token is void whose exchange had started before it was called, and
// none is whose exchange starts afterwards. Each is one transaction.
type VoidStore interface {
	// VoidKeys makes the tokens of these keys void and returns how many keys that
	// were: those that are there and not revoked. Each gets another status entry;
	// the one it had is invalid for good.
	VoidKeys(ctx context.Context, ids []verifier.KeyID) (int, error)

	// VoidKeyspaces begins another generation of statuses in a keyspace, or in every
	// one if name is empty, and returns in how many. It fails with ErrNotFound.
	VoidKeyspaces(ctx context.Context, name string) (int, error)
}

// UsageStore tells what was used. See usage.Store for the promise.
type UsageStore interface {
	Usage(ctx context.Context, q usage.Query) ([]usage.Point, error)
}

// Store is all that manage needs.
type Store interface {
	UsageStore
	KeyStore
	VoidStore
	KeyspaceStore
	ClientStore
}
