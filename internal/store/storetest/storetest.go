// Package storetest holds every store to the promises of verifier.Store,
// issuer.KeyStore, issuer.StatusStore, manage.Store, audit.Store and usage.Store. It
// knows nothing about any database: what is true of one only is tested beside it.
//
// The suite runs in real time, because the clock is the database's; that can
// only be moved.
package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

// Database is an empty database at the newest schema.
type Database struct {
	// Open opens a store on it, whose status lists have StatusListSize entries. Every
	// call opens another, as another process would. The suite closes them; Close may
	// be called twice.
	Open func(ctx context.Context) (store.Store, error)

	// Shift moves the clock of the database, for every store on it.
	Shift func(ctx context.Context, by time.Duration) error
}

// StatusListSize makes lists fill up while there are few keys.
const StatusListSize = 64

// Run runs the suite. fresh makes a database for one test.
func Run(t *testing.T, fresh func(t *testing.T) Database) {
	for _, group := range [][]promise{
		updatePromises, racePromises, changePromises, keyPromises, keyChangePromises, keyListPromises, budgetPromises,
		keyspacePromises, keyspaceChangePromises, clientPromises, clientChangePromises, signingKeyPromises, statusPromises,
		voidPromises, auditPromises, repeatPromises, repeatedPromises, rotatedPromises, usagePromises, lifePromises, historyPromises,
		replicaPromises, lineagePromises, censusPromises,
	} {
		for _, p := range group {
			t.Run(p.says, func(t *testing.T) {
				db := &database{t: t, fresh: fresh(t)}
				db.Store = db.again()
				p.holds(t, db)
			})
		}
	}
}

// promise is one subtest.
type promise struct {
	says  string
	holds func(t *testing.T, db *database)
}

// database is an open store, and the way to open it again.
type database struct {
	store.Store
	t     *testing.T
	fresh Database
	made  int
}

// again opens another store on the same database.
func (db *database) again() store.Store {
	db.t.Helper()
	s, err := db.fresh.Open(db.t.Context())
	if err != nil {
		db.t.Fatalf("opening the store: %v", err)
	}
	db.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			db.t.Errorf("closing the store: %v", err)
		}
	})
	return s
}

// shift moves the clock of the database.
func (db *database) shift(by time.Duration) {
	db.t.Helper()
	if err := db.fresh.Shift(db.t.Context(), by); err != nil {
		db.t.Fatal(err)
	}
}

// key stores a key with a budget of its own, five uses unless change says
// otherwise, and returns it with its secret.
func (db *database) key(change func(*verifier.Key, *verifier.Budget)) (verifier.Secret, verifier.Key) {
	db.t.Helper()
	db.made++
	secret, err := verifier.GenerateKey("ck")
	if err != nil {
		db.t.Fatal(err)
	}
	key := verifier.Key{
		ID:        verifier.KeyID(fmt.Sprintf("key_%04d", db.made)),
		Digest:    secret.Digest(),
		Keyspace:  "default",
		State:     verifier.Active,
		CreatedAt: noon,
	}
	budget := verifier.Budget{ID: verifier.BudgetID(fmt.Sprintf("budget_%04d", db.made)), Counted: true, Remaining: 5}
	if change != nil {
		change(&key, &budget)
	}
	if err := AddKey(db.t.Context(), db, key, budget); err != nil {
		db.t.Fatalf("creating key %s: %v", key.ID, err)
	}
	return secret, key
}

// remaining returns the uses left to a key, as the store s tells them.
func remaining(t *testing.T, s store.Store, id verifier.KeyID) int64 {
	t.Helper()
	rec, _, err := s.Key(t.Context(), id)
	if err != nil {
		t.Fatalf("reading key %s: %v", id, err)
	}
	return rec.Budget.Remaining
}

// exchange asks a real Verifier on s for one use of the key.
func exchange(ctx context.Context, s store.Store, key verifier.Secret) error {
	v, err := verifier.New(verifier.Config{Store: s, Timeout: time.Minute})
	if err != nil {
		return err
	}
	_, err = v.Verify(ctx, verifier.Request{
		Key:  key,
		Cost: 1,
		Client: verifier.Allowance{
			Audiences:    []string{"https://orders.example.com"},
			AllKeyspaces: true,
		},
	})
	return err
}

// spent reports whether err refuses a key without uses left.
func spent(err error) bool {
	var e *verifier.SpentError
	return errors.As(err, &e)
}

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 123456789, time.UTC)

func digest(s string) verifier.Digest { return sha256.Sum256([]byte(s)) }

// same fails the test unless got is want in every field. Times must be equal as
// values, so in UTC; nil and empty are different.
func same[T any](t *testing.T, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(verifier.Interval{}),
		cmp.Comparer(func(a, b time.Time) bool { return a == b })); diff != "" { //nolint:staticcheck // also the zone
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}
