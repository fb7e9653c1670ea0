package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

var keyChangePromises = []promise{
	{"what is known of a key comes back as it was stored, but for what the store sets", func(t *testing.T, db *database) {
		rec := keyRecord(fullKey(noon), fullBudget(noon))
		rec.Reason, rec.Replaces, rec.ReplacedBy, rec.DeletedAt = "leaked ☃", "key_old", "key_new", noon.Add(5)
		want := rec
		rec.Version, rec.ChangedAt, rec.Status, rec.Keyspace.Prefix = 77, noon, verifier.StatusRef{List: 99, Index: 1 << 40}, "mine"
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error { return tx.AddKeys(ctx, []manage.KeyRecord{rec}) })
		ks, err := db.Keyspace(t.Context(), "default")
		must(t, err)
		want.Version, want.Status, want.Keyspace = 1, status(t, db, rec.Key.ID), ks.Keyspace
		same(t, mustKey(t, db, rec.Key.ID), want)
		if want.Status.List == 99 || want.Status.Index >= StatusListSize {
			t.Errorf("status %v", want.Status)
		}
	}},
	{"a saved key has all that was changed, and keeps what cannot be", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		must(t, exchange(t.Context(), db, secret))
		before := mustKey(t, db, key.ID)
		changed := keyRecord(fullKey(noon.Add(time.Hour)), fullBudget(noon))
		changed.Key.ID = key.ID
		changed.Reason, changed.Replaces, changed.ReplacedBy, changed.DeletedAt = "why", "a", "b", noon
		changed.Version, changed.Status = 77, verifier.StatusRef{List: 99}
		mustChange(t, db.again(), func(ctx context.Context, tx manage.Tx) error {
			_, err := lockKey(ctx, tx, key.ID)
			return errors.Join(err, tx.SaveKey(ctx, changed))
		})
		got, want := mustKey(t, db, key.ID), changed
		want.Key.Digest, want.Key.Start, want.Key.Keyspace, want.Key.CreatedAt = key.Digest, key.Start, key.Keyspace, key.CreatedAt
		want.Keyspace, want.Budget, want.Status = before.Keyspace, before.Budget, before.Status
		want.Version, want.ChangedAt = 2, got.ChangedAt
		same(t, got, want)
		if got.ChangedAt.IsZero() {
			t.Error("it was never changed")
		}
	}},
	{"a key saved with nil and zeros has nil and zeros", func(t *testing.T, db *database) {
		must(t, AddKey(t.Context(), db, fullKey(noon), fullBudget(noon)))
		full := mustKey(t, db, fullKey(noon).ID)
		plain := full
		plain.Key.Owner, plain.Key.Name, plain.Key.ExternalID, plain.Key.ExpiresAt = "", "", "", time.Time{}
		plain.Key.Permissions, plain.Key.Audiences, plain.Key.Metadata = nil, nil, nil
		saveKey(t, db, plain)
		got := mustKey(t, db, plain.Key.ID)
		plain.Version, plain.ChangedAt = 2, got.ChangedAt
		same(t, got, plain)
	}},
	{"what cannot be kept is not saved", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		before := mustKey(t, db, key.ID)
		for what, spoil := range map[string]func(*verifier.Key){
			"a state that does not exist":  func(k *verifier.Key) { k.State = "happy" },
			"a time after 2262":            func(k *verifier.Key) { k.ExpiresAt = time.Date(2263, 1, 1, 0, 0, 0, 0, time.UTC) },
			"a permission that is no text": func(k *verifier.Key) { k.Permissions = verifier.Permissions{"a\xff": {"b"}} },
		} {
			err := ChangeKey(t.Context(), db, key.ID, func(_ time.Time, k *verifier.Key) error {
				spoil(k)
				return nil
			})
			if err == nil {
				t.Errorf("%s: stored", what)
			}
		}
		same(t, mustKey(t, db, key.ID), before)
	}},
	{"a version counts changes by operators, and no use, void or change of the keyspace", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		for i := range 3 {
			must(t, exchange(t.Context(), db, secret))
			_, err := VoidKeys(t.Context(), db, []verifier.KeyID{key.ID})
			must(t, err)
			mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
				ks, err := tx.LockKeyspace(ctx, "default")
				return errors.Join(err, tx.SaveKeyspace(ctx, ks.Keyspace))
			})
			if got := mustKey(t, db, key.ID).Version; got != int64(1+i) {
				t.Errorf("version %d, want %d", got, 1+i)
			}
			setState(t, db, key.ID, verifier.Active) // as it was
		}
	}},
	{"a key that is voided and then saved has the status of its state, in its new entry", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		had := status(t, db, key.ID)
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
			rec, err := lockKey(ctx, tx, key.ID)
			must(t, err)
			_, err = tx.VoidKeys(ctx, []verifier.KeyID{key.ID})
			must(t, err)
			rec.Key.State = verifier.Disabled
			return tx.SaveKey(ctx, rec)
		})
		r := newReplica(db)
		r.mustRead(t)
		has := status(t, db, key.ID)
		if has == had || r.value(had) != wire.StatusInvalid || r.value(has) != manage.StatusOf(verifier.Disabled) {
			t.Errorf("had %v, which is %d, has %v, which is %d", had, r.value(had), has, r.value(has))
		}
	}},
	{"a tombstone is found by its id and its digest, which stays taken, and never listed", tombstones},
	{"keys are locked in id order, each once, and those that are not there left out", func(t *testing.T, db *database) {
		for _, id := range []verifier.KeyID{"key_b", "key_B", "key_a"} {
			db.key(func(k *verifier.Key, _ *verifier.Budget) { k.ID, k.Digest = id, digest(string(id)) })
		}
		ids := []verifier.KeyID{"key_b", "key_nobody", "key_a", "key_B", "key_a"}
		digests := []verifier.Digest{digest("key_b"), digest("nobody"), digest("key_B"), digest("key_b")}
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
			locked, err := tx.LockKeys(ctx, ids)
			must(t, err)
			same(t, locked, []manage.KeyRecord{mustKey(t, db, "key_B"), mustKey(t, db, "key_a"), mustKey(t, db, "key_b")})
			taken, err := tx.DigestsTaken(ctx, digests)
			must(t, err)
			same(t, taken, []manage.KeyRecord{mustKey(t, db, "key_B"), mustKey(t, db, "key_b")})
			none, err := tx.LockKeys(ctx, nil)
			must(t, err)
			free, err := tx.DigestsTaken(ctx, nil)
			must(t, err)
			if len(none)+len(free) != 0 {
				t.Errorf("%v and %v of none", none, free)
			}
			return nil
		})
	}},
	{"a thousand keys are added at once, each with an entry of its own", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ot"}))
		stores := [2]store.Store{db.Store, db.again()}
		race(t, 2, never, func(i int) error {
			return stores[i].Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
				return tx.AddKeys(ctx, thousand(i))
			})
		})
		haveEntries(t, db, 2000)
	}},
	{"of a thousand keys with one that is taken none is added", func(t *testing.T, db *database) {
		_, first := db.key(nil)
		before := contents(t, db)
		for what, spoil := range map[string]func(*manage.KeyRecord){
			"id":     func(rec *manage.KeyRecord) { rec.Key.ID = first.ID },
			"digest": func(rec *manage.KeyRecord) { rec.Key.Digest = first.Digest },
			"twin":   func(rec *manage.KeyRecord) { rec.Key.Digest = digest("0_998") },
		} {
			recs := thousand(0)
			for i := range recs {
				recs[i].Key.Keyspace = "default"
			}
			spoil(&recs[999])
			err := db.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error { return tx.AddKeys(ctx, recs) })
			if !errors.Is(err, manage.ErrExists) {
				t.Errorf("%s: %v", what, err)
			}
		}
		same(t, contents(t, db), before)
	}},
}

// mustKey reads a key that is there.
func mustKey(t *testing.T, s store.Store, id verifier.KeyID) manage.KeyRecord {
	t.Helper()
	rec, _, err := s.Key(t.Context(), id)
	must(t, err)
	return rec
}

// saveKey stores rec over the key of its id.
func saveKey(t *testing.T, s store.Store, rec manage.KeyRecord) {
	t.Helper()
	mustChange(t, s, func(ctx context.Context, tx manage.Tx) error {
		_, err := lockKey(ctx, tx, rec.Key.ID)
		return errors.Join(err, tx.SaveKey(ctx, rec))
	})
}

// thousand keys of the keyspaces default and other, whose digests are those of
// batch_number. Two share a budget, each of the others has one of its own.
func thousand(batch int) []manage.KeyRecord {
	recs := make([]manage.KeyRecord, 1000)
	for i := range recs {
		recs[i] = keyRecord(verifier.Key{
			ID:     verifier.KeyID(fmt.Sprintf("key_t%d_%03d", batch, i)),
			Digest: digest(fmt.Sprintf("%d_%d", batch, i)), Keyspace: [2]string{"default", "other"}[i%2],
			Permissions: verifier.Permissions{"p": {"r"}}, Metadata: json.RawMessage(`{}`), State: verifier.Active,
		}, verifier.Budget{ID: verifier.BudgetID(fmt.Sprintf("budget_t%d_%03d", batch, max(i, 1))), Counted: true, Remaining: 7})
	}
	return recs
}

// haveEntries wants n keys to be there, each with a valid status that no other has,
// in a list of its keyspace.
func haveEntries(t *testing.T, db *database, n int) {
	t.Helper()
	r := newReplica(db)
	r.mustRead(t)
	handed, keyspaceOf := map[verifier.StatusRef]bool{}, map[int64]string{}
	for page := (manage.KeyFilter{Limit: 300}); ; {
		recs, _, err := db.Keys(t.Context(), page)
		must(t, err)
		for _, rec := range recs {
			page.After = rec.Key.ID
			ref := rec.Status
			if handed[ref] || ref.Index < 0 || ref.Index >= r.lists[ref.List].Size || r.value(ref) != wire.StatusValid || rec.Budget.Remaining != 7 {
				t.Errorf("%s has %v of %+v, handed out: %t, and %d uses", rec.Key.ID, ref, r.lists[ref.List], handed[ref], rec.Budget.Remaining)
			}
			if was, ok := keyspaceOf[ref.List]; ok && was != rec.Key.Keyspace {
				t.Errorf("list %d has keys of %s and of %s", ref.List, was, rec.Key.Keyspace)
			}
			handed[ref], keyspaceOf[ref.List] = true, rec.Key.Keyspace
		}
		if len(recs) == 0 {
			break
		}
	}
	if len(handed) != n {
		t.Errorf("%d keys, want %d", len(handed), n)
	}
}

func tombstones(t *testing.T, db *database) {
	secret, key := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Owner, k.Name, k.ExternalID = "ann", "n", "x" })
	_, other := db.key(nil)
	rec := mustKey(t, db, key.ID)
	rec.Key.State, rec.DeletedAt = verifier.Revoked, noon
	saveKey(t, db, rec)
	rec = mustKey(t, db, key.ID)
	same(t, rec.DeletedAt, noon)
	byDigest, now, err := db.KeyByDigest(t.Context(), key.Digest)
	must(t, err)
	same(t, byDigest, rec)
	if now.IsZero() {
		t.Error("no clock")
	}
	mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
		locked, err := tx.LockKeys(ctx, []verifier.KeyID{key.ID})
		must(t, err)
		taken, err := tx.DigestsTaken(ctx, []verifier.Digest{key.Digest})
		must(t, err)
		same(t, [][]manage.KeyRecord{locked, taken}, [][]manage.KeyRecord{{rec}, {rec}})
		return nil
	})
	wantErr(t, exchange(t.Context(), db, secret), verifier.ErrRevoked)
	again := verifier.Key{ID: "again", Digest: key.Digest, Keyspace: "default", State: verifier.Active}
	wantErr(t, AddKey(t.Context(), db, again, verifier.Budget{ID: "again"}), manage.ErrExists)
	sameIDs(t, db, manage.KeyFilter{Limit: 9}, other.ID)
	for _, filter := range []manage.KeyFilter{
		{Owner: "ann"}, {Name: "n"}, {ExternalID: "x"}, {State: manage.StateRevoked}, {Keyspaces: []string{"default"}, State: manage.StateRevoked},
	} {
		filter.Limit = 9
		sameIDs(t, db, filter)
	}
}
