// Package usage keeps count of who used what, by the hour. Grants are counted by
// the store in the transaction that charges; refusals of known keys are counted
// here, late and together, so that an attack costs no write per attempt.
package usage

import (
	"context"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// Granted is the outcome of a grant; a refusal's outcome is its reason.
const Granted = "granted"

// MaxCost is what costs are counted and summed up to: exact in every JSON parser.
// Keys without a limit may be charged more, and never fail for it.
const MaxCost = 1<<53 - 1

// Count is how often something came of exchanges of one key, in one hour.
type Count struct {
	Key      verifier.KeyID
	Client   string
	Audience string // empty: none that the client may use
	Outcome  string
	Requests int64
	Cost     int64 // uses charged; zero for refusals
}

// Query narrows and groups what was counted. Zero fields do not narrow.
type Query struct {
	Key       verifier.KeyID
	Owner     string
	Keyspaces []string // any of these
	Client    string
	Audience  string
	From, To  time.Time // hours that begin in [From, To)
	By        Step
	Group     []Dimension // what points are told apart by; none: client, audience and outcome
	Limit     int         // points, at most; zero: all
}

// Dimension is something that points of a query can be told apart by.
type Dimension string

// The dimensions, in the order of points.
const (
	ByKey      Dimension = "key"
	ByOwner    Dimension = "owner"
	ByKeyspace Dimension = "keyspace"
	ByClient   Dimension = "client"
	ByAudience Dimension = "audience"
	ByOutcome  Dimension = "outcome"
)

// Dimensions lists them in the order of points.
func Dimensions() []Dimension {
	return []Dimension{ByKey, ByOwner, ByKeyspace, ByClient, ByAudience, ByOutcome}
}

// Tells reports whether points of q are told apart by d.
func (q Query) Tells(d Dimension) bool {
	if len(q.Group) == 0 {
		return d == ByClient || d == ByAudience || d == ByOutcome
	}
	return slices.Contains(q.Group, d)
}

// OfKeys reports whether q asks for more than is known of whole keyspaces: then the
// counts of each key must be read.
func (q Query) OfKeys() bool {
	return q.Key != "" || q.Owner != "" || q.Tells(ByKey) || q.Tells(ByOwner)
}

// Step is the length of a point of a series.
type Step string

// The steps. Total is the zero Step: one point for all time asked for.
const (
	Total Step = ""
	Hour  Step = "hour"
	Day   Step = "day" // UTC
)

// Point is a sum over one step. What its query does not tell apart is empty.
type Point struct {
	Start    time.Time // zero in a Total
	Key      verifier.KeyID
	Owner    string
	Keyspace string
	Client   string
	Audience string
	Outcome  string
	Requests int64
	Cost     int64
}

// Store keeps counts. Grants reach it through verifier.Store.
type Store interface {
	// AddUsage adds counts to the hour that it is by the database's clock. Counts
	// of keys that are not there are dropped.
	AddUsage(ctx context.Context, counts []Count) error

	// Usage answers a query, in order of time and then of Dimensions.
	Usage(ctx context.Context, q Query) ([]Point, error)

	// RollUp sums up the hours that are over, so that queries for no key and no
	// owner need not look at every key. An hour is over some minutes after its
	// end, when nothing can be added to it any more. It may run on several
	// replicas at a time, and does nothing when there is nothing to do.
	RollUp(ctx context.Context) error

	// Forget deletes at most limit counts of hours that began before a time, and
	// returns how many it deleted.
	Forget(ctx context.Context, before time.Time, limit int) (int, error)
}
