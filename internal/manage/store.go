package manage

import (
	"context"
	"errors"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

// Errors of stores that a user can do something about.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrInUse    = errors.New("is in use")
)

// KeyRecord is a key with what is known of it beyond what decides about its use.
type KeyRecord struct {
	verifier.Record
	Version    int64          // 1 at first; grows with every change by an operator, never with use
	ChangedAt  time.Time      // zero: never
	Reason     string         // why it is disabled or revoked
	Replaces   verifier.KeyID // its predecessor
	ReplacedBy verifier.KeyID // its successor, which shares its budget
	DeletedAt  time.Time      // zero: it is there. A tombstone is revoked
}

// KeyspaceRecord is a keyspace with its version.
type KeyspaceRecord struct {
	verifier.Keyspace
	Version   int64 // 1 at first; grows with every change
	ChangedAt time.Time
}

// KeyFilter narrows a list of keys. Zero fields do not narrow; tombstones are never
// listed.
type KeyFilter struct {
	Keyspaces  []string // any of these
	Owner      string
	Name       string
	ExternalID string
	State      string         // StateActive and so on
	After      verifier.KeyID // the last id of the page before
	Limit      int            // required
}

// States that a list of keys can be narrowed to. An expired key is not active.
const (
	StateActive   = "active"
	StateDisabled = "disabled"
	StateRevoked  = "revoked"
	StateExpired  = "expired" // and neither disabled nor revoked
)

// Reader reads what is managed, as it was last committed.
type Reader interface {
	// Key returns one key with its keyspace and budget, and the database's clock. A
	// tombstone is found too. ErrNotFound.
	Key(ctx context.Context, id verifier.KeyID) (KeyRecord, time.Time, error)

	// KeyByDigest is Key for who knows the key itself.
	KeyByDigest(ctx context.Context, digest verifier.Digest) (KeyRecord, time.Time, error)

	// Keys returns at most filter.Limit keys in id order, which is the order of
	// their creation.
	Keys(ctx context.Context, filter KeyFilter) ([]KeyRecord, time.Time, error)

	Keyspace(ctx context.Context, name string) (KeyspaceRecord, error) // ErrNotFound
	Keyspaces(ctx context.Context) ([]KeyspaceRecord, error)           // by name

	// Client returns nil for one that is not there. ImportedKeys is derived.
	Client(ctx context.Context, id string) (*client.Client, error)
	Clients(ctx context.Context) ([]client.Client, error) // by id
}

// Changer changes what is managed.
type Changer interface {
	// Change runs do in one transaction and commits what it wrote, all or nothing;
	// if do fails, that error is returned and nothing is changed. Every exchange that
	// starts after Change returned sees the change. Changes of the same key, keyspace
	// or client never overlap, on whatever replica.
	//
	// A store that runs a transaction again calls do again; the last call counts. Who
	// locks several things does so in the order keyspace, client, key, budget, and
	// keys in id order. An error that wraps verifier.ErrOutcomeUnknown means that the
	// commit may have happened.
	Change(ctx context.Context, do func(ctx context.Context, tx Tx) error) error
}

// Tx is a transaction of Change. What Lock methods return is the newest that was
// committed, and nobody else changes it until the transaction ends.
type Tx interface {
	Now() time.Time // the database's clock, once for the whole transaction
	KeyTx
	KeyspaceTx
	ClientTx
	LogTx
}

// KeyTx changes keys and their budgets.
type KeyTx interface {
	// AddKeys stores keys with the budgets they bring; of rec, Version, ChangedAt,
	// Status and Keyspace (but its name) are the store's to set. A budget of that id
	// which is there already is shared as it stands: it is never filled up by a new
	// key. ErrExists if an id or a digest is taken, ErrNotFound if a keyspace is not
	// there; nothing can follow in the transaction after either.
	AddKeys(ctx context.Context, recs []KeyRecord) error

	// LockKeys returns the keys that are there, tombstones included, in id order.
	LockKeys(ctx context.Context, ids []verifier.KeyID) ([]KeyRecord, error)

	// DigestsTaken returns the keys that have one of these digests, by id.
	DigestsTaken(ctx context.Context, digests []verifier.Digest) ([]KeyRecord, error)

	// SaveKey stores a key that is locked, all but its id, digest, start, keyspace,
	// creation and budget, and counts its version up. The status of its tokens
	// follows its state, as StatusOf says.
	SaveKey(ctx context.Context, rec KeyRecord) error

	// VoidKeys makes the tokens of these keys void and returns how many keys that
	// were: those that are there and not revoked. Each gets another status entry;
	// the one it had is invalid for good. Every token is void then whose exchange had
	// started before, and none is whose exchange starts after the commit.
	VoidKeys(ctx context.Context, ids []verifier.KeyID) (int, error)

	// LockBudget returns a budget, whose key is locked. No charge comes between
	// LockBudget and the end of the transaction.
	LockBudget(ctx context.Context, id verifier.BudgetID) (verifier.Budget, error)
	SaveBudget(ctx context.Context, b verifier.Budget) error
}

// KeyspaceTx changes keyspaces.
type KeyspaceTx interface {
	AddKeyspace(ctx context.Context, ks verifier.Keyspace) error           // ErrExists
	LockKeyspace(ctx context.Context, name string) (KeyspaceRecord, error) // ErrNotFound
	DeleteKeyspace(ctx context.Context, name string) error                 // ErrInUse: it has keys, tombstones included

	// SaveKeyspace stores a keyspace that is locked and counts its version up. One
	// that holds imported keys now, or no more, changes the version of every client.
	SaveKeyspace(ctx context.Context, ks verifier.Keyspace) error

	// VoidKeyspaces begins another generation of statuses in a keyspace, or in every
	// one if name is empty, and returns in how many. It fails with ErrNotFound. The
	// promise is that of VoidKeys.
	VoidKeyspaces(ctx context.Context, name string) (int, error)
}

// ClientTx changes clients.
type ClientTx interface {
	// Client reads a client without locking it; nil: there is none.
	Client(ctx context.Context, id string) (*client.Client, error)

	// AddClient stores a client with a version that no client of that id had
	// before. ErrExists.
	AddClient(ctx context.Context, c client.Client) error

	LockClient(ctx context.Context, id string) (client.Client, error) // ErrNotFound

	// SaveClient stores a client that is locked, secrets included, and counts its
	// version up.
	SaveClient(ctx context.Context, c client.Client) error

	// DeleteClient removes a client that is locked. What was counted of it stays.
	DeleteClient(ctx context.Context, id string) error
}

// Done is what was done under an idempotency key.
type Done struct {
	ID      [32]byte // SHA-256 of who said it and the key
	Request [32]byte // SHA-256 of what was asked
	Answer  []byte   // JSON; holds no secret
	Until   time.Time
}

// LogTx keeps the log of changes, and what a repeat is answered from.
type LogTx interface {
	// Log appends an entry to the audit log; the store sets its number and time. It
	// comes after everything that locks something. It returns the new head.
	Log(ctx context.Context, e audit.Entry) (audit.Head, error)

	// Done returns what was done under an idempotency key, nil if nothing was or its
	// time is over.
	Done(ctx context.Context, id [32]byte) (*Done, error)

	// Remember stores d. It fails with ErrExists if another transaction was first.
	Remember(ctx context.Context, d Done) error
}

// UsageStore tells what was used. See usage.Store for the promise.
type UsageStore interface {
	Usage(ctx context.Context, q usage.Query) ([]usage.Point, error)
}

// Store is all that manage needs.
type Store interface {
	Reader
	Changer
	UsageStore
	audit.Store
}
