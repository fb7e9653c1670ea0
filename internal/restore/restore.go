// Package restore decides when the data of a store counts as restored from a backup,
// and what has to happen before it is served again. Stores say where their data is
// from, and change it; who stops to serve meanwhile is for the caller.
//
// # Why everything begins anew
//
// A backup does not know what was done after it. Tokens that were issued since refer
// to entries of status lists that the restored store hands out a second time, and to
// generations that it counts up to once more. Checkers have seen revisions that it
// reaches again with other contents, and keys that were removed since sign again. So
// the revision goes on from the microseconds since 1970, which no counter reaches one
// by one, every keyspace gets the same as its generation, and all signing keys are
// replaced.
package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/issuer"
)

// Lineage is where the data of a store is from, and how far it goes.
type Lineage struct {
	Confirmed int64  // the revision that the last Begin began; zero: there was none
	Why       string // it counts as restored, and Begin has not run since; empty: it does not
	Revision  int64  // of statuses
	Head      audit.Head
}

// Inventory is what a store holds.
type Inventory struct {
	At          time.Time // the database's clock
	LastChange  time.Time // the newest entry of the audit log; zero: there is none
	LastUse     time.Time // the beginning of the newest hour of usage; zero: there is none
	Keys        int64     // that are active
	Counted     int64     // of these, that have a number of uses left, or a rate
	ChangedLate int64     // of these, that were changed in the day before the last change
	Clients     int64     // that are not disabled
}

// Newest is the time of the newest thing in it; zero: there is none.
func (i Inventory) Newest() time.Time {
	if i.LastUse.After(i.LastChange) {
		return i.LastUse
	}
	return i.LastChange
}

// Beginning is what BeginAnew needs to know.
type Beginning struct {
	After int64       // Lineage.Confirmed as it was when this was decided
	Entry audit.Entry // for the log

	// Change says what the signing keys are to be, as in issuer.KeyStore.
	Change func(now time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error)
}

// Begun is what BeginAnew did.
type Begun struct {
	Revision  int64
	Keyspaces int // all there are
}

// Next is the revision that BeginAnew begins where last was the last one: higher than
// any that was counted up to from an earlier one.
func Next(last int64, now time.Time) int64 { return max(last+1, now.UnixMicro()) }

// ErrMeanwhile is returned if somebody else was first.
var ErrMeanwhile = errors.New("it was confirmed by somebody else meanwhile")

// Store is what Begin needs from a database.
type Store interface {
	issuer.KeyStore

	// Lineage reads all of it at one moment.
	Lineage(ctx context.Context) (Lineage, error)

	Inventory(ctx context.Context) (Inventory, error)

	// BeginAnew makes every token void and the data good to be served, all in one
	// transaction: it begins the revision Next, which becomes the generation of every
	// keyspace and Lineage.Confirmed, changes the signing keys, and adds to the log.
	// Every token is void then whose exchange had started before. It fails with
	// ErrMeanwhile, and with the errors of Change. Change may be called again.
	BeginAnew(ctx context.Context, b Beginning) (Begun, error)
}

// How says what becomes of signing keys, and who says so.
type How struct {
	After     int64             // Lineage.Confirmed as it was when this was decided
	MasterKey *issuer.MasterKey // seals the keys that replace all others; nil: the others are kept
	Actor     audit.Actor
	Reason    string
}

// Begin vouches for the data of a store as it is. It fails with ErrMeanwhile, or with
// issuer.ErrSealed if the master key does not open the signing keys, and changes
// nothing then.
func Begin(ctx context.Context, store Store, how How) (Begun, error) {
	b := Beginning{After: how.After, Entry: audit.Entry{Action: "store.restored", Actor: how.Actor, Reason: how.Reason}}
	one := &beginning{Store: store, b: b}
	var err error
	if how.MasterKey == nil {
		err = one.ChangeSigningKeys(audit.By(ctx, how.Actor), keep)
	} else {
		err = issuer.Rotate(audit.By(ctx, how.Actor), one, issuer.Rotation{Emergency: true, Fresh: true, MasterKey: *how.MasterKey})
	}
	if err != nil {
		return Begun{}, fmt.Errorf("confirming restored data: %w", err)
	}
	return one.begun, nil
}

func keep(_ time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error) { return keys, nil }

// beginning is a KeyStore in which a change of signing keys is a part of BeginAnew.
type beginning struct {
	Store
	b     Beginning
	begun Begun
}

// ChangeSigningKeys implements issuer.KeyStore.
func (o *beginning) ChangeSigningKeys(ctx context.Context, change func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error)) (err error) {
	o.b.Change = change
	o.begun, err = o.BeginAnew(ctx, o.b)
	return err
}
