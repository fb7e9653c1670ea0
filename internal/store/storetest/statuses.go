package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// replica is what a server knows of statuses: what it has read, a change at a time.
type replica struct {
	store    store.Store
	revision int64
	lists    map[int64]issuer.StatusChange
	changed  map[verifier.StatusRef]issuer.StatusChange // those that are not in here are valid
}

func newReplica(s store.Store) *replica {
	return &replica{s, 0, map[int64]issuer.StatusChange{}, map[verifier.StatusRef]issuer.StatusChange{}}
}

// read brings r up to date, and returns how many changes there were.
func (r *replica) read(ctx context.Context) (n int, err error) {
	revision, now, err := r.store.StatusChanges(ctx, r.revision, func(c issuer.StatusChange) error {
		n++
		if c.Size > 0 {
			r.lists[c.List] = c
		} else {
			r.changed[verifier.StatusRef{List: c.List, Index: c.Index}] = c
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if revision < r.revision || now.IsZero() {
		return n, fmt.Errorf("revision %d after %d, at %v", revision, r.revision, now)
	}
	r.revision = revision
	return n, nil
}

func (r *replica) mustRead(t *testing.T) (changes int) {
	t.Helper()
	n, err := r.read(t.Context())
	must(t, err)
	return n
}

// value is what r says of a token with this status.
func (r *replica) value(ref verifier.StatusRef) int {
	if ref.Generation < r.lists[ref.List].Generation {
		return wire.StatusInvalid
	}
	return int(r.changed[verifier.StatusRef{List: ref.List, Index: ref.Index}].Value)
}

// status is where the status of a key's next token is, as the store s tells it.
func status(t *testing.T, s store.Store, id verifier.KeyID) verifier.StatusRef {
	t.Helper()
	rec, _, err := s.Key(t.Context(), id)
	must(t, err)
	return rec.Status
}

func changeState(ctx context.Context, s store.Store, id verifier.KeyID, state verifier.State) error {
	return ChangeKey(ctx, s, id, func(_ time.Time, key *verifier.Key) error {
		key.State = state
		return nil
	})
}

func setState(t *testing.T, s store.Store, id verifier.KeyID, state verifier.State) {
	t.Helper()
	must(t, changeState(t.Context(), s, id, state))
}

// granted is the status that a token would have that is issued now.
func granted(ctx context.Context, s store.Store, key verifier.Secret) (verifier.StatusRef, error) {
	v, err := verifier.New(verifier.Config{Store: s, Timeout: time.Minute})
	if err != nil {
		return verifier.StatusRef{}, err
	}
	grant, err := v.Verify(ctx, verifier.Request{
		Key: key, Cost: 1, Client: verifier.Allowance{Audiences: []string{audience}, AllKeyspaces: true},
	})
	return grant.Status, err
}

func unlimited(_ *verifier.Key, b *verifier.Budget) { *b = verifier.Budget{ID: b.ID} }

var statusPromises = []promise{
	{"keys that are made at once get entries of their own, in lists of their keyspace", entriesAreUnique},
	{"entries are handed out at random", func(t *testing.T, db *database) {
		var handed []verifier.StatusRef
		for range 20 {
			_, key := db.key(nil)
			handed = append(handed, status(t, db, key.ID))
		}
		byIndex := func(a, b verifier.StatusRef) int { return int(a.Index - b.Index) }
		if slices.IsSortedFunc(handed, byIndex) || handed[0].Index == 0 && handed[1].Index == 1 {
			t.Errorf("in order: %v", handed)
		}
	}},
	{"a key that is not stored takes no entry", func(t *testing.T, db *database) {
		_, first := db.key(nil)
		r := newReplica(db)
		r.mustRead(t)
		for range 3 * r.lists[status(t, db, first.ID).List].Size {
			err := AddKey(t.Context(), db, first, verifier.Budget{ID: "orphan"})
			wantErr(t, err, manage.ErrExists)
		}
		if n := r.mustRead(t); n != 0 {
			t.Errorf("%d lists were opened for keys that are not there", n)
		}
	}},
	{"the status of a key's tokens follows its state", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		_, other := db.key(nil)
		r := newReplica(db.again())
		for _, step := range []struct {
			state verifier.State
			want  int
		}{{verifier.Disabled, 2}, {verifier.Active, 0}, {verifier.Disabled, 2}, {verifier.Revoked, 1}} {
			setState(t, db, key.ID, step.state)
			r.mustRead(t)
			if got := r.value(status(t, db, key.ID)); got != step.want {
				t.Errorf("%s: %d, want %d", step.state, got, step.want)
			}
		}
		if got := r.value(status(t, db, other.ID)); got != 0 {
			t.Errorf("another key: %d", got)
		}
	}},
	{"what is not committed changes no status, and neither does what changes nothing", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		r := newReplica(db)
		r.mustRead(t)
		err := ChangeKey(t.Context(), db, key.ID, func(_ time.Time, key *verifier.Key) error {
			key.State = verifier.Revoked
			return errNotActive
		})
		wantErr(t, err, errNotActive)
		setState(t, db, key.ID, verifier.Active)
		must(t, exchange(t.Context(), db, secret))
		db.key(nil)
		_, err = VoidKeys(t.Context(), db, []verifier.KeyID{"key_nobody"})
		must(t, err)
		before := r.revision
		if n := r.mustRead(t); n != 0 || r.revision != before {
			t.Errorf("%d changes, to revision %d from %d", n, r.revision, before)
		}
	}},
	{"a change is read once, and everything by who begins at zero", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		r, late := newReplica(db), newReplica(db.again())
		r.mustRead(t)
		setState(t, db, key.ID, verifier.Disabled)
		if a, b := r.mustRead(t), r.mustRead(t); a != 1 || b != 0 {
			t.Errorf("%d changes and then %d, want 1 and 0", a, b)
		}
		late.mustRead(t)
		same(t, late.lists, r.lists)
		same(t, late.changed, r.changed)
	}},
	{"a reader who gives up gets its own error, and may begin again", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		setState(t, db, key.ID, verifier.Revoked)
		full := errors.New("full")
		_, _, err := db.StatusChanges(t.Context(), 0, func(issuer.StatusChange) error { return full })
		wantErr(t, err, full)
		r := newReplica(db)
		if n := r.mustRead(t); n != 2 {
			t.Errorf("%d changes, want a list and an entry", n)
		}
	}},
	{"whoever reads after a change has returned sees it, whatever is under way", changesAreInOrder},
}

func entriesAreUnique(t *testing.T, db *database) {
	must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ot"}))
	stores := [3]store.Store{db.Store, db.again(), db.again()}
	const keys = 240
	keyspaces := [2]string{"default", "other"}
	id := func(i int) verifier.KeyID { return verifier.KeyID(fmt.Sprintf("key_u%03d", i)) }
	race(t, 12, never, func(caller int) error {
		for i := caller; i < keys; i += 12 {
			key := verifier.Key{ID: id(i), Digest: digest(fmt.Sprint(i)), Keyspace: keyspaces[i/12%2], State: verifier.Active}
			if err := AddKey(t.Context(), stores[i%3], key, verifier.Budget{ID: verifier.BudgetID(id(i))}); err != nil {
				return err
			}
			if i%8 == 0 { // some get another at once
				if _, err := VoidKeys(t.Context(), stores[(i+1)%3], []verifier.KeyID{id(i)}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	r := newReplica(db)
	r.mustRead(t)
	handed, keyspaceOf := map[verifier.StatusRef]bool{}, map[int64]string{}
	for ref := range r.changed { // those that were taken back
		handed[ref] = true
	}
	for i := range keys {
		rec, _, err := db.Key(t.Context(), id(i))
		must(t, err)
		list := r.lists[rec.Status.List]
		if handed[rec.Status] || rec.Status.Index < 0 || rec.Status.Index >= list.Size {
			t.Errorf("key %d has %v, of a list of %d, taken: %t", i, rec.Status, list.Size, handed[rec.Status])
		}
		handed[rec.Status] = true
		if was, ok := keyspaceOf[rec.Status.List]; ok && was != rec.Key.Keyspace {
			t.Errorf("list %d has keys of %s and of %s", rec.Status.List, was, rec.Key.Keyspace)
		}
		keyspaceOf[rec.Status.List] = rec.Key.Keyspace
	}
	var room int64
	for _, list := range r.lists {
		room += list.Size
	}
	if len(handed) != keys+keys/8 || len(r.lists) < 3 || room > 2*int64(len(handed)) {
		t.Errorf("%d entries were handed out, of %d lists for %d", len(handed), len(r.lists), room)
	}
}

// changesAreInOrder lets operators change keys on several stores, each looking
// through the eyes of a replica of its own whether its change is there.
func changesAreInOrder(t *testing.T, db *database) {
	stores := [3]store.Store{db.Store, db.again(), db.again()}
	var done atomic.Bool
	var creating sync.WaitGroup
	creating.Go(func() { // and opens lists
		for i := 0; !done.Load(); i++ {
			key := verifier.Key{ID: verifier.KeyID(fmt.Sprintf("key_more_%d", i)), Digest: digest(fmt.Sprint("more", i)), Keyspace: "default", State: verifier.Active}
			if err := AddKey(t.Context(), stores[i%3], key, verifier.Budget{ID: verifier.BudgetID(key.ID)}); err != nil {
				t.Error(err)
			}
		}
	})
	var keys [6]verifier.KeyID
	for i := range keys {
		_, key := db.key(nil)
		keys[i] = key.ID
	}
	race(t, len(keys), never, func(i int) error {
		r := newReplica(stores[(i+1)%3])
		for n := range 15 {
			state := []verifier.State{verifier.Disabled, verifier.Active}[n%2]
			if err := changeState(t.Context(), stores[i%3], keys[i], state); err != nil {
				return err
			}
			if _, err := r.read(t.Context()); err != nil {
				return err
			}
			rec, _, err := r.store.Key(t.Context(), keys[i])
			if err != nil {
				return err
			}
			if got := r.value(rec.Status); got != manage.StatusOf(state) {
				return fmt.Errorf("made %s, and a replica at revision %d says %d", state, r.revision, got)
			}
		}
		return nil
	})
	done.Store(true)
	creating.Wait()
}

// KeysFromBefore holds a store to what a migration promises to keys that were made
// before there were statuses: they are n, of the keyspaces "default" and "other",
// and one of them is disabled.
func KeysFromBefore(t *testing.T, s store.Store, n int) {
	t.Helper()
	before, _, err := s.Keys(t.Context(), manage.KeyFilter{Limit: n + 1})
	must(t, err)
	if len(before) != n {
		t.Fatalf("%d keys, want %d", len(before), n)
	}
	r := newReplica(s)
	r.mustRead(t)
	handed, keyspaceOf, ascending := map[verifier.StatusRef]bool{}, map[int64]string{}, 0
	for i, rec := range before {
		ref := rec.Status
		if handed[ref] || ref.Index < 0 || ref.Index >= r.lists[ref.List].Size || r.value(ref) != wire.StatusValid {
			t.Errorf("%s has %v, which is %d, of %+v", rec.Key.ID, ref, r.value(ref), r.lists[ref.List])
		}
		if was, ok := keyspaceOf[ref.List]; ok && was != rec.Key.Keyspace {
			t.Errorf("list %d has keys of %s and of %s", ref.List, was, rec.Key.Keyspace)
		}
		handed[ref], keyspaceOf[ref.List] = true, rec.Key.Keyspace
		if i > 0 && before[i-1].Status.Index < ref.Index {
			ascending++
		}
	}
	if ascending < n/4 || ascending > n*3/4 {
		t.Errorf("%d of %d entries ascend: not in random order", ascending, n)
	}
	for _, rec := range before[:min(n, 10)] {
		setState(t, s, rec.Key.ID, verifier.Revoked)
		if r.mustRead(t); r.value(rec.Status) != wire.StatusInvalid {
			t.Errorf("%s was revoked, and is %d", rec.Key.ID, r.value(rec.Status))
		}
	}
	key := verifier.Key{ID: "new", Keyspace: "default", State: verifier.Active}
	must(t, AddKey(t.Context(), s, key, verifier.Budget{ID: "new"}))
	if ref := status(t, s, key.ID); handed[ref] || ref.List == 0 {
		t.Errorf("a new key has %v", ref)
	}
}
