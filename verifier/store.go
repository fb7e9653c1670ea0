package verifier

import (
	"context"
	"time"
)

// Lookup names what a group needs.
type Lookup struct {
	Digests []Digest
	Clients []string   // ids
	Repeats [][32]byte // Repeat.ID of requests, each once; mostly none
}

// Found is what there is, in the order of a Lookup.
type Found struct {
	Records []*Record // nil: unknown. One digest has one record, one budget one place
	Clients []int64   // versions, which grow with every change; zero: there is none

	// Repeats is what was charged under these ids and is not over yet, each a place
	// in which decide leaves what it charges. nil: nothing.
	Repeats []*Charged
}

// Store is what a Verifier needs from a database.
type Store interface {
	// Update loads the keys with these digests, their keyspaces and their
	// budgets, and the versions of these clients. It locks the budgets of active
	// keys in one global order, lets decide change them and add uses, and commits. Nothing is
	// durable before Update returns nil; a record that decide left alone is not
	// written. Concurrent calls never see each other half done, and a change to a
	// key, keyspace or client that returned before Update began is seen by decide.
	//
	// What decide puts into an empty place of found.Repeats is stored with the rest.
	// Of two calls that do so for one id, at most one commits; the other fails with
	// ErrBadRecord, or has found what the first left.
	//
	// now is the database's clock. An error that wraps ErrOutcomeUnknown means
	// that the commit may have happened; any other error, that it did not. One
	// that wraps ErrBadRecord is the fault of what is stored about one of the
	// keys, and would not happen without it.
	//
	// decide must not keep found. A store that runs a transaction again calls it
	// again, with fresh records; the last call counts.
	Update(ctx context.Context, lookup Lookup, decide func(now time.Time, found Found)) error
}
