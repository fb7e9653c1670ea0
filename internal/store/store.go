// Package store opens the database that a URL names. What a database must do
// is declared by those who need it: verifier.Store, issuer.KeyStore,
// issuer.StatusStore, manage.Store, audit.Store, usage.Store and restore.Store.
package store

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cambio-auth/cambio/internal/activity"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/restore"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// ErrAway is wrapped by errors of Open when the database does not answer, which
// may be otherwise later.
var ErrAway = errors.New("the database does not answer")

// KeyFinder looks at keys without a lock, for exchange.Keys.
type KeyFinder interface {
	// FindKey and FindDigest return one key with its keyspace and budget, nil if
	// there is none, and the database's clock.
	FindKey(ctx context.Context, id verifier.KeyID) (*verifier.Record, time.Time, error)
	FindDigest(ctx context.Context, digest verifier.Digest) (*verifier.Record, time.Time, error)
}

// Store is everything at once, for those who wire it.
type Store interface {
	verifier.Store
	restore.Store
	issuer.StatusStore
	manage.Store
	usage.Store
	KeyFinder
	manage.Forgetter
	manage.Counter
	io.Closer

	// Settle makes the place where the data is its home, unless it has one: data that
	// is found elsewhere later counts as restored. Who serves it says so.
	Settle(ctx context.Context) error

	// Ping reports whether the database answers.
	Ping(ctx context.Context) error

	// Activity returns what the store has counted of itself since it was opened. It
	// asks nobody.
	Activity() activity.Counts
}
