package issuer

import (
	"context"
	"time"
)

// StatusListSize is how many entries a new list has (Token Status List §13).
const StatusListSize = 1 << 17

// StatusStore is what StatusLists need from a database.
type StatusStore interface {
	// StatusChanges passes to change, in no order, all that has a revision above
	// after, as it is at one moment. It returns the revision and the time of that
	// moment: what is committed later has a higher revision. It may begin anew, and
	// so pass the same again; an error of change ends it.
	StatusChanges(ctx context.Context, after int64, change func(StatusChange) error) (revision int64, now time.Time, err error)
}

// StatusChange is a list that is new or of another generation, or an entry of
// another value.
type StatusChange struct {
	List     int64 // its number, which is the revision that opened it
	Revision int64

	Size       int64 // of a list: its entries; zero: this is an entry
	Generation int64 // of a list: tokens that refer to an earlier one are void

	Index int64
	Value uint8
}
