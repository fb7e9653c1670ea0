package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

var voidPromises = []promise{
	{"voiding keys makes the status they had invalid, and they get others", func(t *testing.T, db *database) {
		var ids []verifier.KeyID
		had, secrets := map[verifier.KeyID]verifier.StatusRef{}, map[verifier.KeyID]verifier.Secret{}
		for range 100 { // more than a list of a test holds
			secret, key := db.key(nil)
			ids = append(ids, key.ID)
			had[key.ID], secrets[key.ID] = status(t, db, key.ID), secret
		}
		_, other := db.key(nil)
		n, err := VoidKeys(t.Context(), db, ids)
		must(t, err)
		if n != len(ids) {
			t.Errorf("%d keys, want %d", n, len(ids))
		}
		r := newReplica(db.again())
		r.mustRead(t)
		for _, id := range ids {
			fresh := status(t, db, id)
			if r.value(had[id]) != wire.StatusInvalid || r.value(fresh) != wire.StatusValid || fresh == had[id] {
				t.Errorf("%s: had %v, which is %d, and has %v, which is %d", id, had[id], r.value(had[id]), fresh, r.value(fresh))
			}
			if got, err := granted(t.Context(), db, secrets[id]); err != nil || got != fresh {
				t.Errorf("%s: a token would have %v, want %v; %v", id, got, fresh, err)
			}
		}
		if r.value(status(t, db, other.ID)) != wire.StatusValid {
			t.Error("another key was voided")
		}
	}},
	{"a disabled key that is voided and enabled has new tokens only", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		had := status(t, db, key.ID)
		setState(t, db, key.ID, verifier.Disabled)
		_, err := VoidKeys(t.Context(), db, []verifier.KeyID{key.ID})
		must(t, err)
		setState(t, db, key.ID, verifier.Active)
		r := newReplica(db)
		r.mustRead(t)
		if r.value(had) != wire.StatusInvalid || r.value(status(t, db, key.ID)) != wire.StatusValid {
			t.Errorf("%d before and %d now", r.value(had), r.value(status(t, db, key.ID)))
		}
	}},
	{"a revoked key and one that is not there are left alone", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		setState(t, db, key.ID, verifier.Revoked)
		had := status(t, db, key.ID)
		n, err := VoidKeys(t.Context(), db, []verifier.KeyID{key.ID, "key_nobody"})
		must(t, err)
		if n != 0 || status(t, db, key.ID) != had {
			t.Errorf("%d voided, and the status is %v, was %v", n, status(t, db, key.ID), had)
		}
		n, err = VoidKeys(t.Context(), db, nil)
		must(t, err)
		if n != 0 {
			t.Errorf("%d of no keys", n)
		}
	}},
	{"voiding a keyspace begins a generation in it, and in no other", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ot"}))
		_, key := db.key(nil)
		_, other := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Keyspace = "other" })
		had, others := status(t, db, key.ID), status(t, db, other.ID)
		r := newReplica(db.again())
		r.mustRead(t)
		n, err := VoidKeyspaces(t.Context(), db, "default")
		must(t, err)
		if changes := r.mustRead(t); n != 1 || changes != 1 {
			t.Errorf("%d keyspaces and %d changes, want one each", n, changes)
		}
		now := status(t, db, key.ID)
		if now.Generation != had.Generation+1 || now.List != had.List || now.Index != had.Index || status(t, db, other.ID) != others {
			t.Errorf("was %v, is %v; the other was %v, is %v", had, now, others, status(t, db, other.ID))
		}
		if r.value(had) != wire.StatusInvalid || r.value(now) != wire.StatusValid || r.value(others) != wire.StatusValid {
			t.Errorf("%d before and %d now, the other %d", r.value(had), r.value(now), r.value(others))
		}
		if list := r.lists[had.List]; list.Revision != r.revision {
			t.Errorf("the list is of revision %d, want %d", list.Revision, r.revision)
		}
	}},
	{"a list that is opened later has the generation of its keyspace", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ot"}))
		_, err := VoidKeyspaces(t.Context(), db, "other")
		must(t, err)
		_, key := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Keyspace = "other" })
		r := newReplica(db)
		r.mustRead(t)
		if ref := status(t, db, key.ID); ref.Generation != 1 || r.lists[ref.List].Generation != 1 || r.value(ref) != 0 {
			t.Errorf("%v in %v", ref, r.lists[ref.List])
		}
	}},
	{"voiding all keyspaces begins a generation in each", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ot"}))
		_, key := db.key(nil)
		_, other := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Keyspace = "other" })
		n, err := VoidKeyspaces(t.Context(), db, "")
		must(t, err)
		if n != 2 || status(t, db, key.ID).Generation != 1 || status(t, db, other.ID).Generation != 1 {
			t.Errorf("%d keyspaces; generations %d and %d", n, status(t, db, key.ID).Generation, status(t, db, other.ID).Generation)
		}
	}},
	{"a keyspace that is not there cannot be voided", func(t *testing.T, db *database) {
		_, err := VoidKeyspaces(t.Context(), db, "Default")
		wantErr(t, err, manage.ErrNotFound)
	}},
	{"no exchange that starts after voiding has returned gives a token that is void", func(t *testing.T, db *database) {
		voidAgainstExchanges(t, db, func(s store.Store, id verifier.KeyID) error {
			_, err := VoidKeys(t.Context(), s, []verifier.KeyID{id})
			return err
		})
	}},
	{"nor after voiding a keyspace, and every one before is void", func(t *testing.T, db *database) {
		voidAgainstExchanges(t, db, func(s store.Store, _ verifier.KeyID) error {
			_, err := VoidKeyspaces(t.Context(), s, "default")
			return err
		})
	}},
	{"voids and changes at once are in nobody's way", func(t *testing.T, db *database) {
		stores := [2]store.Store{db.Store, db.again()}
		var ids, reversed []verifier.KeyID
		for range 8 {
			_, key := db.key(nil)
			ids, reversed = append(ids, key.ID), append([]verifier.KeyID{key.ID}, reversed...)
		}
		race(t, 16, never, func(i int) error {
			s, err := stores[i/2%2], error(nil)
			for n := 0; n < 5 && err == nil; n++ {
				switch i % 4 {
				case 0:
					_, err = VoidKeys(t.Context(), s, ids)
				case 1:
					_, err = VoidKeys(t.Context(), s, reversed)
				case 2:
					_, err = VoidKeyspaces(t.Context(), s, []string{"", "default"}[n%2])
				case 3:
					err = changeState(t.Context(), s, ids[i/2], []verifier.State{verifier.Disabled, verifier.Active}[n%2])
				}
			}
			return err
		})
		r := newReplica(db)
		r.mustRead(t)
		for _, id := range ids {
			rec, _, err := db.Key(t.Context(), id)
			must(t, err)
			if rec.Key.State == verifier.Active && r.value(rec.Status) != wire.StatusValid {
				t.Errorf("%s is active, and new tokens of it are %d", id, r.value(rec.Status))
			}
		}
	}},
}

// voidAgainstExchanges voids while callers exchange a key in a loop.
func voidAgainstExchanges(t *testing.T, db *database, void func(store.Store, verifier.KeyID) error) {
	secret, key := db.key(unlimited)
	stores := [2]store.Store{db.Store, db.again()}
	var voided, done atomic.Bool
	var mu sync.Mutex
	var before, after []verifier.StatusRef // of exchanges that had ended before, or began afterwards
	underway := make(chan struct{})
	var callers sync.WaitGroup
	for i := range 6 {
		callers.Go(func() {
			for !done.Load() {
				late := voided.Load()
				ref, err := granted(t.Context(), stores[i%2], secret)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if late {
					after = append(after, ref)
				} else if before = append(before, ref); len(before) == 20 {
					close(underway)
				}
				if len(after) == 20 {
					done.Store(true)
				}
				mu.Unlock()
			}
		})
	}
	<-underway
	mu.Lock()
	ended := len(before)
	mu.Unlock()
	err := void(stores[1], key.ID)
	voided.Store(true)
	callers.Wait()
	must(t, err)
	r := newReplica(stores[0])
	r.mustRead(t)
	for what, test := range map[string]struct {
		refs []verifier.StatusRef
		want int
	}{"had ended before": {before[:ended], wire.StatusInvalid}, "began afterwards": {after, wire.StatusValid}} {
		for _, ref := range test.refs {
			if got := r.value(ref); got != test.want {
				t.Errorf("%s: %s, want %d", fmt.Sprint(ref, " is ", got), what, test.want)
				break
			}
		}
	}
}
