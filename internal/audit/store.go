package audit

import (
	"context"
	"time"
)

// Query narrows and pages the entries of a log. Zero fields do not narrow.
type Query struct {
	After     int64 // only entries after this one
	Before    int64 // only entries before this one; with Newest, pages go back
	Target    string
	Actor     string // Actor.ID
	Action    string // whole, such as key.create, or a group of them, such as key
	Keyspaces []string
	From, To  time.Time // entries made in [From, To)
	Newest    bool      // newest first
	Limit     int       // required
}

// Past is the query of what comes after the entry seq, in the order of q.
func (q Query) Past(seq int64) Query {
	if q.Newest {
		q.Before = seq
	} else {
		q.After = seq
	}
	return q
}

// Refusal is how often the authentication of a client was refused, in one hour.
type Refusal struct {
	Hour     time.Time
	Client   string // as known to us; empty: nobody that is
	Remote   string // empty: of more addresses than are kept
	Attempts int64
	LastAt   time.Time
}

// Log is read.
type Log interface {
	// Audit returns entries by their number.
	Audit(ctx context.Context, q Query) ([]Row, error)

	// AuditHead returns where the log ends.
	AuditHead(ctx context.Context) (Head, error)
}

// Store keeps a log. Entries reach it through manage.Tx.
type Store interface {
	Log

	// AddRefusals adds attempts to what is known of an hour, client and address.
	AddRefusals(ctx context.Context, refusals []Refusal) error

	// Refusals returns what was refused in hours that begin in [from, to), newest
	// first, then by attempts, at most limit.
	Refusals(ctx context.Context, from, to time.Time, limit int) ([]Refusal, error)
}
