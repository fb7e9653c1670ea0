package verifier

import (
	"context"
	"time"
)

// Store is what a Verifier needs from a database.
type Store interface {
	// Update loads the keys with these digests, their keyspaces and their
	// budgets, locks them in one global order, lets decide change the budgets,
	// and commits. Unknown digests are nil in found. Nothing is durable before
	// Update returns nil; a budget that decide left alone is not written.
	// Concurrent calls never see each other half done, and a change to a key
	// that returned before Update began is seen by decide.
	//
	// now is the database's clock. An error that wraps ErrOutcomeUnknown means
	// that the commit may have happened; any other error, that it did not.
	// decide is called at most once, and must not keep found.
	Update(ctx context.Context, digests []Digest, decide func(now time.Time, found []*Record)) error
}
