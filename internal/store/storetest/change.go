package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

// errStop is how a test gives a transaction up.
var errStop = errors.New("stop")

// mustChange is a Change that succeeds.
func mustChange(t *testing.T, s manage.Changer, do func(ctx context.Context, tx manage.Tx) error) {
	t.Helper()
	must(t, s.Change(t.Context(), do))
}

var changePromises = []promise{
	{"an error after all kinds of writes leaves nothing of them, and is returned", func(t *testing.T, db *database) {
		nothingStays(t, db, func(err error) error { return err })
	}},
	{"neither does a panic, and the store stays usable", func(t *testing.T, db *database) {
		nothingStays(t, db, func(err error) error { panic(err) })
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
			return tx.AddKeyspace(ctx, verifier.Keyspace{Name: "after", Prefix: "ck"})
		})
	}},
	{"what goes wrong unheeded fails the transaction all the same", func(t *testing.T, db *database) {
		before := contents(t, db)
		err := db.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			must(t, tx.AddKeyspace(ctx, verifier.Keyspace{Name: "new", Prefix: "ck"}))
			wantErr(t, tx.AddKeyspace(ctx, verifier.Keyspace{Name: "default"}), manage.ErrExists)
			return nil
		})
		if err == nil {
			t.Error("no error")
		}
		same(t, contents(t, db), before)
	}},
	{"a transaction sees what it wrote, and nobody else does before it has ended", func(t *testing.T, db *database) {
		other := db.again()
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
			must(t, tx.AddKeyspace(ctx, verifier.Keyspace{Name: "new", Prefix: "ck"}))
			must(t, tx.AddClient(ctx, client.Client{ID: "new"}))
			key := verifier.Key{ID: "new", Keyspace: "new", State: verifier.Active}
			must(t, tx.AddKeys(ctx, []manage.KeyRecord{keyRecord(key, verifier.Budget{ID: "new"})}))
			rec, err := lockKey(ctx, tx, "new")
			must(t, err)
			same(t, rec.Key, key)
			c, err := tx.Client(ctx, "new")
			must(t, err)
			if c == nil {
				t.Error("the client is not there")
			}
			_, _, err = other.Key(ctx, "new")
			wantErr(t, err, manage.ErrNotFound)
			return nil
		})
		_, _, err := other.Key(t.Context(), "new")
		must(t, err)
	}},
	{"there is one now for the whole transaction, and what it writes is of then", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		var now time.Time
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
			now = tx.Now()
			rec, err := lockKey(ctx, tx, key.ID)
			must(t, err)
			must(t, tx.SaveKey(ctx, rec))
			_, err = tx.Log(ctx, audit.Entry{Action: "test"})
			must(t, err)
			same(t, tx.Now(), now)
			return nil
		})
		rec, later, err := db.Key(t.Context(), key.ID)
		must(t, err)
		same(t, rec.ChangedAt, now)
		if now.Location() != time.UTC || now.After(later) || later.Sub(now) > time.Minute {
			t.Errorf("now was %v, and is %v", now, later)
		}
		same(t, entries(t, db, audit.Query{})[0].At, now.Truncate(time.Microsecond))
	}},
	{"a context that has ended runs nothing", func(t *testing.T, db *database) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := db.Change(ctx, func(context.Context, manage.Tx) error {
			t.Error("do was called")
			return nil
		})
		wantErr(t, err, context.Canceled)
	}},
	{"a context that ends meanwhile: the error says truly whether the change is stored", func(t *testing.T, db *database) {
		for i := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			name := fmt.Sprintf("keyspace%d", i)
			err := db.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
				err := tx.AddKeyspace(ctx, verifier.Keyspace{Name: name, Prefix: "ck"})
				if i%2 == 0 {
					cancel()
				} else {
					go cancel()
				}
				return err
			})
			cancel()
			_, found := db.Keyspace(t.Context(), name)
			if (err == nil) != (found == nil) {
				t.Errorf("the change told %v, and the keyspace is there: %v", err, found == nil)
			}
		}
	}},
	{"changes of one key, client or keyspace take turns, and none is lost", changesTakeTurns},
}

// nothingStays writes what can be written, ends with errStop as end does, and wants
// everything to be as before.
func nothingStays(t *testing.T, db *database, end func(error) error) {
	t.Helper()
	_, key := db.key(nil)
	must(t, AddClient(t.Context(), db, client.Client{ID: "orders", Secrets: secrets("s")}))
	must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "empty", Prefix: "ck"}))
	before := contents(t, db)
	r := newReplica(db)
	r.mustRead(t)
	done := manage.Done{ID: digest("id"), Request: digest("request"), Answer: []byte("{}")}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(errStop) {
				panic(r)
			}
		}()
		wantErr(t, db.again().Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			done.Until = tx.Now().Add(time.Hour)
			must(t, writeEverything(ctx, tx, key.ID, done))
			return end(errStop)
		}), errStop)
	}()
	same(t, contents(t, db), before)
	if n := r.mustRead(t); n != 0 {
		t.Errorf("%d changes of statuses", n)
	}
	mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
		d, err := tx.Done(ctx, done.ID)
		if d != nil {
			t.Errorf("%+v is remembered", d)
		}
		return err
	})
}

// writeEverything calls every method of tx that writes. There are a key of this id
// that is active, the client orders and the keyspace empty.
func writeEverything(ctx context.Context, tx manage.Tx, id verifier.KeyID, done manage.Done) error {
	rec, err := lockKey(ctx, tx, id)
	if err != nil {
		return err
	}
	budget, err := tx.LockBudget(ctx, rec.Budget.ID)
	if err != nil {
		return err
	}
	budget.Remaining++
	rec.Key.State = verifier.Disabled
	added := verifier.Key{ID: "added", Digest: digest("added"), Keyspace: "added", State: verifier.Active}
	orders := client.Client{ID: "orders", Secrets: secrets("another")}
	errs := []error{
		tx.AddKeyspace(ctx, verifier.Keyspace{Name: "added", Prefix: "ck", ImportedKeys: true}),
		tx.SaveKeyspace(ctx, verifier.Keyspace{Name: "default", Prefix: "other"}),
		tx.DeleteKeyspace(ctx, "empty"),
		tx.AddClient(ctx, client.Client{ID: "added", Secrets: secrets("a")}),
		tx.SaveClient(ctx, orders),
		tx.AddKeys(ctx, []manage.KeyRecord{keyRecord(added, verifier.Budget{ID: "added"})}),
		tx.SaveBudget(ctx, budget),
		tx.SaveKey(ctx, rec),
		tx.DeleteClient(ctx, "orders"),
		tx.Remember(ctx, done),
	}
	_, voidErr := tx.VoidKeys(ctx, []verifier.KeyID{id})
	_, voidAllErr := tx.VoidKeyspaces(ctx, "")
	_, logErr := tx.Log(ctx, audit.Entry{Action: "test", After: json.RawMessage(`{}`)})
	return errors.Join(append(errs, voidErr, voidAllErr, logErr)...)
}

func changesTakeTurns(t *testing.T, db *database) {
	_, key := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Name = "" })
	must(t, AddClient(t.Context(), db, client.Client{ID: "orders"}))
	first, err := db.Client(t.Context(), "orders")
	must(t, err)
	stores := [2]store.Store{db.Store, db.again()}
	const times = 20
	race(t, times, never, func(i int) error {
		return stores[i%2].Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			ks, err := tx.LockKeyspace(ctx, "default")
			if err != nil {
				return err
			}
			ks.TokenLifetime++
			c, err := tx.LockClient(ctx, "orders")
			if err != nil {
				return err
			}
			c.Audiences = append(c.Audiences, audience)
			rec, err := lockKey(ctx, tx, key.ID)
			if err != nil {
				return err
			}
			rec.Key.Name += "x"
			return errors.Join(tx.SaveKeyspace(ctx, ks.Keyspace), tx.SaveClient(ctx, c), tx.SaveKey(ctx, rec))
		})
	})
	ks, err := db.Keyspace(t.Context(), "default")
	must(t, err)
	c, err := db.Client(t.Context(), "orders")
	must(t, err)
	rec, _, err := db.Key(t.Context(), key.ID)
	must(t, err)
	if ks.TokenLifetime != times || ks.Version != times+1 {
		t.Errorf("the keyspace has %d in version %d, want %d", ks.TokenLifetime, ks.Version, times)
	}
	if len(c.Audiences) != times || c.Version != first.Version+times {
		t.Errorf("the client has %d in version %d after %d, want %d", len(c.Audiences), c.Version, first.Version, times)
	}
	if len(rec.Key.Name) != times || rec.Version != times+1 {
		t.Errorf("the key has %d in version %d, want %d", len(rec.Key.Name), rec.Version, times)
	}
}
