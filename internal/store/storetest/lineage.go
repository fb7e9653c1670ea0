package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/restore"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

func keepSigningKeys(_ time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error) {
	return keys, nil
}

func lineageOf(t *testing.T, s restore.Store) restore.Lineage {
	t.Helper()
	l, err := s.Lineage(t.Context())
	must(t, err)
	return l
}

// beginAnew confirms what the store holds.
func beginAnew(t *testing.T, s restore.Store, change func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error)) restore.Begun {
	t.Helper()
	begun, err := s.BeginAnew(t.Context(), restore.Beginning{
		After: lineageOf(t, s).Confirmed, Change: change, Entry: audit.Entry{Action: "store.restored"},
	})
	must(t, err)
	return begun
}

var lineagePromises = []promise{
	{"a new database is not restored, also when it has been settled and opened again", func(t *testing.T, db *database) {
		must(t, db.Settle(t.Context()))
		must(t, db.again().Settle(t.Context()))
		for _, s := range []restore.Store{db, db.again()} {
			if l := lineageOf(t, s); l.Why != "" || l.Confirmed != 0 {
				t.Errorf("%+v", l)
			}
		}
	}},
	{"the lineage follows revision and log", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		setState(t, db, key.ID, verifier.Revoked)
		beginAnew(t, db, keepSigningKeys)
		r := newReplica(db)
		r.mustRead(t)
		head, err := db.AuditHead(t.Context())
		must(t, err)
		if l := lineageOf(t, db); l.Revision != r.revision || l.Head != head || head.Seq == 0 {
			t.Errorf("%+v, want revision %d and head %v", l, r.revision, head)
		}
	}},
	{"to begin anew makes every token void, and no token of afterwards", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ot"}))
		_, first := db.key(nil)
		secret, second := db.key(func(k *verifier.Key, b *verifier.Budget) { k.Keyspace = "other"; unlimited(k, b) })
		had := []verifier.StatusRef{status(t, db, first.ID), status(t, db, second.ID)}
		r := newReplica(db.again())
		r.mustRead(t)
		begun := beginAnew(t, db, keepSigningKeys)
		if begun.Keyspaces != 2 {
			t.Errorf("%d keyspaces", begun.Keyspaces)
		}
		r.mustRead(t)
		for _, ref := range had {
			if r.value(ref) != wire.StatusInvalid {
				t.Errorf("%v is good", ref)
			}
		}
		fresh, err := granted(t.Context(), db, secret)
		must(t, err)
		if r.value(fresh) != wire.StatusValid || fresh.Generation != begun.Revision {
			t.Errorf("a token of now has %v, after %+v", fresh, begun)
		}
	}},
	{"it begins a revision that nobody has counted up to", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		now, clock, err := db.FindKey(t.Context(), key.ID)
		must(t, err)
		begun := beginAnew(t, db, keepSigningKeys)
		if begun.Revision < clock.UnixMicro() || now == nil {
			t.Errorf("%d at %d", begun.Revision, clock.UnixMicro())
		}
		must(t, db.fresh.Shift(t.Context(), -time.Hour)) // a clock that was set back
		if again := beginAnew(t, db, keepSigningKeys); again.Revision <= begun.Revision {
			t.Errorf("%d after %d", again.Revision, begun.Revision)
		}
	}},
	{"signing keys change with it, and the log says both", func(t *testing.T, db *database) {
		old := issuer.SealedKey{KID: "old", Algorithm: "EdDSA", PublicKey: []byte{1}, Sealed: []byte{2}, CreatedAt: noon}
		fresh := issuer.SealedKey{KID: "new", Algorithm: "EdDSA", Generation: 1, PublicKey: []byte{1}, Sealed: []byte{2}, CreatedAt: noon}
		putSigningKeys(t, db, old)
		beginAnew(t, db, func(now time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error) {
			same(t, keys, []issuer.SealedKey{old})
			if now.IsZero() {
				t.Error("no clock")
			}
			return []issuer.SealedKey{fresh}, nil
		})
		keys, _, err := db.SigningKeys(t.Context())
		must(t, err)
		same(t, keys, []issuer.SealedKey{fresh})
		rows, err := db.Audit(t.Context(), audit.Query{Newest: true, Limit: 10})
		must(t, err)
		if len(rows) < 2 || rows[0].Action != "store.restored" || !slices.ContainsFunc(rows, func(r audit.Row) bool { return r.Target == "new" }) {
			t.Errorf("%+v", rows)
		}
	}},
	{"what fails half way has changed nothing", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		before, ref := lineageOf(t, db), status(t, db, key.ID)
		_, err := db.BeginAnew(t.Context(), restore.Beginning{Change: func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error) {
			return nil, errNoChange
		}})
		if !errors.Is(err, errNoChange) {
			t.Errorf("%v", err)
		}
		if after := lineageOf(t, db); after != before || status(t, db, key.ID) != ref {
			t.Errorf("%+v, was %+v", after, before)
		}
	}},
	{"of several that confirm the same data at once, one does", func(t *testing.T, db *database) {
		stores := []restore.Store{db, db.again(), db.again()}
		errs := make([]error, len(stores))
		var all sync.WaitGroup
		for i, s := range stores {
			all.Go(func() {
				_, errs[i] = s.BeginAnew(context.WithoutCancel(t.Context()), restore.Beginning{Change: keepSigningKeys, Entry: audit.Entry{Action: "store.restored"}})
			})
		}
		all.Wait()
		late := 0
		for _, err := range errs {
			if errors.Is(err, restore.ErrMeanwhile) {
				late++
			} else if err != nil {
				t.Error(err)
			}
		}
		if late != len(stores)-1 {
			t.Errorf("%d came too late: %v", late, errs)
		}
	}},
	{"the inventory counts what is there", func(t *testing.T, db *database) {
		empty, err := db.Inventory(t.Context())
		must(t, err)
		if empty.At.IsZero() {
			t.Error("no clock")
		}
		empty.At = time.Time{}
		same(t, empty, restore.Inventory{})
		secret, counted := db.key(nil)
		_, err = granted(t.Context(), db, secret)
		must(t, err)
		db.key(unlimited)
		db.key(func(_ *verifier.Key, b *verifier.Budget) {
			*b = verifier.Budget{ID: b.ID, Rate: verifier.Rate{Limit: 1, Window: time.Minute}}
		})
		_, gone := db.key(nil)
		setState(t, db, gone.ID, verifier.Revoked)
		beginAnew(t, db, keepSigningKeys)
		setState(t, db, counted.ID, verifier.Active)
		got, err := db.Inventory(t.Context())
		must(t, err)
		if got.Keys != 3 || got.Counted != 2 || got.ChangedLate != 1 || got.Clients != 0 ||
			got.At.Sub(got.LastChange) > time.Hour || !got.LastUse.Equal(got.At.Truncate(time.Hour)) && got.At.Sub(got.LastUse) > 2*time.Hour {
			t.Errorf("%+v", got)
		}
		must(t, db.fresh.Shift(t.Context(), 48*time.Hour))
		beginAnew(t, db, keepSigningKeys)
		if got, err = db.Inventory(t.Context()); err != nil || got.ChangedLate != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	}},
	{"a witness notices data that went backwards, and takes what is confirmed", func(t *testing.T, db *database) {
		var w restore.Witness
		must(t, w.Look(t.Context(), db))
		_, key := db.key(nil)
		setState(t, db, key.ID, verifier.Revoked)
		must(t, w.Look(t.Context(), db))
		beginAnew(t, db, keepSigningKeys)
		must(t, w.Look(t.Context(), db))
		_, key = db.key(nil)
		setState(t, db, key.ID, verifier.Revoked)
		must(t, w.Look(t.Context(), db))
	}},
}
