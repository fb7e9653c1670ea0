// Package activity is what a store counts of its own work, for those who watch it. It
// decides on the names of what can go wrong; which error is which is known to the
// store alone.
package activity

import (
	"slices"
	"sync/atomic"
)

// Kind is what went wrong in a database, in a word for counters.
type Kind string

// The kinds. None is no fault of the database: the caller has left, or what was asked
// cannot be done.
const (
	None           Kind = ""
	Connection     Kind = "connection"      // it cannot be reached, or went away
	Conflict       Kind = "conflict"        // it gave up one transaction for another, once too often
	Timeout        Kind = "timeout"         // time was up before COMMIT
	OutcomeUnknown Kind = "outcome_unknown" // nobody can say whether it was committed
	ReadOnly       Kind = "read_only"       // it takes no writes
	Full           Kind = "full"            // no room on its disk
	Disk           Kind = "disk"            // its disk or its file is broken
	BadRecord      Kind = "bad_record"      // what is stored of a key cannot be read or written
	Other          Kind = "other"
)

var kinds = [...]Kind{Connection, Conflict, Timeout, OutcomeUnknown, ReadOnly, Full, Disk, BadRecord, Other}

// Kinds lists them, but None.
func Kinds() []Kind { return slices.Clone(kinds[:]) }

// Counter counts for a store. Its zero value is ready, and safe for concurrent use.
type Counter struct {
	retries atomic.Int64
	errors  [len(kinds)]atomic.Int64
}

// Retried counts a transaction that is run again.
func (c *Counter) Retried() { c.retries.Add(1) }

// Failed counts an error that a caller is told. None is not counted.
func (c *Counter) Failed(kind Kind) {
	if i := slices.Index(kinds[:], kind); i >= 0 {
		c.errors[i].Add(1)
	}
}

// Counts is what a store did since it was opened, and the state of its connections.
type Counts struct {
	Retries int64
	Errors  map[Kind]int64 // of every kind

	// Connections, where there is a pool of them.
	Busy, Idle, Most int
}

// Counts returns what was counted.
func (c *Counter) Counts() Counts {
	n := Counts{Retries: c.retries.Load(), Errors: map[Kind]int64{}}
	for i, k := range kinds {
		n.Errors[k] = c.errors[i].Load()
	}
	return n
}
