package storetest

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// fullBudget has every field set.
func fullBudget(at time.Time) verifier.Budget {
	return verifier.Budget{
		ID: "budget_full", Counted: true, Remaining: math.MaxInt64,
		Refill:   verifier.Refill{Amount: math.MaxInt64, Interval: verifier.Every(90*time.Minute + 1), Anchor: at.Add(1)},
		Refilled: at.Add(2),
		Rate:     verifier.Rate{Limit: 7, Window: 366*24*time.Hour - 1, Burst: math.MaxInt64},
		TAT:      at.Add(3),
	}
}

// fullKey has every field set, to what is hard to keep.
func fullKey(at time.Time) verifier.Key {
	return verifier.Key{
		ID: "key_Full-1", Digest: digest("full"), Start: "ck_\"'%_", Keyspace: "default",
		Owner: "użytkownik ☃", Name: "'); DROP TABLE keys; -- \U0001F511\n\t",
		Permissions: verifier.Permissions{
			"__proto__": {"constructor", "toString"}, "projects": {"write", "read", "read"},
			"*": {"*"}, "": {""}, "Projects": {}, "a:b": nil, "żółć <&>": {"\"\\", "\u2028"},
		},
		Audiences: []string{"https://orders.example.com/?a=b#c", "Ünïcode", ""},
		Metadata:  json.RawMessage("{\"z\" : 1.0,\n\t\"a\":\"\\u0000 \\ud83d\\udd11 ☃ <&>\", \"a\":12345678901234567890}"),
		State:     verifier.Disabled, CreatedAt: at, ExpiresAt: at.Add(time.Nanosecond), ExternalID: "Ünïcode '☃",
	}
}

var keyPromises = []promise{
	{"a record comes back as it was stored, in every field", func(t *testing.T, db *database) {
		roundTrip(t, db, fullKey(noon), fullBudget(noon))
	}},
	{"a record of zeros comes back as zeros, nil as nil", func(t *testing.T, db *database) {
		roundTrip(t, db, verifier.Key{ID: "key_zero", Keyspace: "default", State: verifier.Active}, verifier.Budget{ID: "budget_zero"})
	}},
	{"empty lists and maps come back empty, not nil", func(t *testing.T, db *database) {
		roundTrip(t, db, verifier.Key{
			ID: "key_empty", Keyspace: "default", State: verifier.Active,
			Permissions: verifier.Permissions{}, Audiences: []string{}, Metadata: json.RawMessage("{}"),
		}, verifier.Budget{ID: "budget_empty"})
	}},
	{"daily and monthly refills come back as they were", func(t *testing.T, db *database) {
		for i, interval := range []verifier.Interval{verifier.Daily, verifier.Monthly, verifier.Every(time.Second), verifier.Every(math.MaxInt64)} {
			name := string(rune('a' + i))
			roundTrip(t, db, verifier.Key{ID: verifier.KeyID(name), Digest: digest(name), Keyspace: "default", State: verifier.Active},
				verifier.Budget{ID: verifier.BudgetID(name), Counted: true, Refill: verifier.Refill{Amount: 1, Interval: interval}})
		}
	}},
	{"the first and last times of 64 bits come back to the nanosecond", func(t *testing.T, db *database) {
		first, last := time.Unix(0, math.MinInt64).UTC(), time.Unix(0, math.MaxInt64).UTC()
		roundTrip(t, db, fullKey(first), fullBudget(first))
		key, budget := fullKey(last.Add(-time.Second)), fullBudget(last.Add(-time.Second))
		key.ID, key.Digest, key.ExpiresAt, budget.ID, budget.TAT = "key_last", digest("last"), last, "budget_last", last
		roundTrip(t, db, key, budget)
	}},
	{"what cannot be kept exactly is an error, and nothing is stored", func(t *testing.T, db *database) {
		for name, spoil := range map[string]func(*verifier.Key, *verifier.Budget){
			"a time after 2262":            func(k *verifier.Key, _ *verifier.Budget) { k.ExpiresAt = time.Date(2263, 1, 1, 0, 0, 0, 0, time.UTC) },
			"a time before 1677":           func(_ *verifier.Key, b *verifier.Budget) { b.TAT = time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC) },
			"a permission that is no text": func(k *verifier.Key, _ *verifier.Budget) { k.Permissions = verifier.Permissions{"a\xff": {"b"}} },
			"an interval below a second":   func(_ *verifier.Key, b *verifier.Budget) { b.Refill.Interval = verifier.Every(5) },
			"negative uses":                func(_ *verifier.Key, b *verifier.Budget) { b.Remaining = -1 },
			"a state that does not exist":  func(k *verifier.Key, _ *verifier.Budget) { k.State = "happy" },
		} {
			key, budget := fullKey(noon), fullBudget(noon)
			spoil(&key, &budget)
			if err := AddKey(t.Context(), db, key, budget); err == nil {
				t.Errorf("%s: stored", name)
			}
			_, _, err := db.Key(t.Context(), key.ID)
			wantErr(t, err, manage.ErrNotFound)
		}
	}},
	{"a taken id or digest is ErrExists, and the budget is not stored either", func(t *testing.T, db *database) {
		_, first := db.key(nil)
		for _, again := range []verifier.Key{
			{ID: first.ID, Digest: digest("other"), Keyspace: "default", State: verifier.Active},
			{ID: "key_other", Digest: first.Digest, Keyspace: "default", State: verifier.Active},
		} {
			err := AddKey(t.Context(), db, again, verifier.Budget{ID: "orphan", Counted: true, Remaining: 77})
			wantErr(t, err, manage.ErrExists)
		}
		_, key := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.ID = "orphan" })
		if left := remaining(t, db, key.ID); left != 5 {
			t.Errorf("%d uses left: the refused keys left their budget behind", left)
		}
	}},
	{"a key for a keyspace that is not there is ErrNotFound", func(t *testing.T, db *database) {
		err := AddKey(t.Context(), db, verifier.Key{ID: "k", Keyspace: "Default", State: verifier.Active}, verifier.Budget{ID: "b"})
		wantErr(t, err, manage.ErrNotFound)
	}},
	{"a key that brings a budget which is there shares it as it stands", func(t *testing.T, db *database) {
		secret, _ := db.key(nil)
		must(t, exchange(t.Context(), db, secret))
		_, successor := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.ID, b.Remaining = "budget_0001", 1000 })
		if left := remaining(t, db, successor.ID); left != 4 {
			t.Errorf("%d uses left, want 4", left)
		}
	}},
	{"an unknown key is ErrNotFound", func(t *testing.T, db *database) {
		_, _, err := db.Key(t.Context(), "key_nobody")
		wantErr(t, err, manage.ErrNotFound)
		err = ChangeKey(t.Context(), db, "key_nobody", func(time.Time, *verifier.Key) error {
			t.Error("change was called")
			return nil
		})
		wantErr(t, err, manage.ErrNotFound)
	}},
	{"keys are listed in id order, by bytes, in pages", func(t *testing.T, db *database) {
		for _, id := range []verifier.KeyID{"key_b", "key_B", "key_a", "key_Z", "key_10", "key_9", "key_é"} {
			db.key(func(k *verifier.Key, _ *verifier.Budget) { k.ID = id })
		}
		sameIDs(t, db, manage.KeyFilter{Limit: 100}, "key_10", "key_9", "key_B", "key_Z", "key_a", "key_b", "key_é")
		sameIDs(t, db, manage.KeyFilter{Limit: 3}, "key_10", "key_9", "key_B")
		sameIDs(t, db, manage.KeyFilter{Limit: 3, After: "key_B"}, "key_Z", "key_a", "key_b")
		sameIDs(t, db, manage.KeyFilter{Limit: 3, After: "key_b"}, "key_é")
		sameIDs(t, db, manage.KeyFilter{Limit: 3, After: "key_é"})
		sameIDs(t, db, manage.KeyFilter{Limit: 1, After: "key_AAA"}, "key_B")
	}},
	{"a list can be narrowed by keyspace and owner, exactly", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ot"}))
		for _, k := range [][3]string{
			{"k1", "default", "ann"}, {"k2", "default", "bob"}, {"k3", "other", "ann"}, {"k4", "default", "Ann"}, {"k5", "default", "ann"},
		} {
			db.key(func(key *verifier.Key, _ *verifier.Budget) {
				key.ID, key.Keyspace, key.Owner = verifier.KeyID(k[0]), k[1], k[2]
			})
		}
		sameIDs(t, db, manage.KeyFilter{Limit: 9, Keyspaces: []string{"default"}}, "k1", "k2", "k4", "k5")
		sameIDs(t, db, manage.KeyFilter{Limit: 9, Owner: "ann"}, "k1", "k3", "k5")
		sameIDs(t, db, manage.KeyFilter{Limit: 9, Owner: "ann", Keyspaces: []string{"default"}}, "k1", "k5")
		sameIDs(t, db, manage.KeyFilter{Limit: 9, Owner: "ann", Keyspaces: []string{"default"}, After: "k1"}, "k5")
		sameIDs(t, db, manage.KeyFilter{Limit: 9, Owner: "nobody"})
		sameIDs(t, db, manage.KeyFilter{Limit: 9, Keyspaces: []string{"nowhere"}})
	}},
	{"a list without a limit is a mistake", func(t *testing.T, db *database) {
		if _, _, err := db.Keys(t.Context(), manage.KeyFilter{}); err == nil {
			t.Error("no error")
		}
	}},
	{"a change of state is seen by the next exchange", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		must(t, ChangeKey(t.Context(), db, key.ID, func(now time.Time, k *verifier.Key) error {
			if k.ID != key.ID || now.IsZero() {
				t.Errorf("change got %v at %v", k, now)
			}
			k.State = verifier.Disabled
			return nil
		}))
		wantErr(t, exchange(t.Context(), db.again(), secret), verifier.ErrDisabled)
	}},
	{"a change that fails alters nothing, and its error is returned", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		refused := errors.New("revoked is final")
		err := ChangeKey(t.Context(), db, key.ID, func(_ time.Time, k *verifier.Key) error {
			k.State = verifier.Revoked
			return refused
		})
		wantErr(t, err, refused)
		rec, _, err := db.Key(t.Context(), key.ID)
		must(t, err)
		same(t, rec.Key, key)
	}},
	{"a change that panics alters nothing and leaves the store usable", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		func() {
			defer func() { _ = recover() }()
			_ = ChangeKey(t.Context(), db, key.ID, func(_ time.Time, k *verifier.Key) error {
				k.State = verifier.Revoked
				panic("change")
			})
		}()
		must(t, exchange(t.Context(), db, secret))
	}},
}

// roundTrip stores a key and wants it back the same from Key, Keys and Update.
func roundTrip(t *testing.T, db *database, key verifier.Key, budget verifier.Budget) {
	t.Helper()
	must(t, AddKey(t.Context(), db, key, budget))
	keyspace, err := db.Keyspace(t.Context(), key.Keyspace)
	must(t, err)
	want := keyRecord(key, budget)
	want.Keyspace, want.Version = keyspace.Keyspace, 1

	rec, _, err := db.again().Key(t.Context(), key.ID)
	must(t, err)
	want.Status = rec.Status // which the store has made
	same(t, rec, want)
	must(t, update(t.Context(), db, []verifier.Digest{key.Digest}, func(_ time.Time, found []*verifier.Record) {
		same(t, *found[0], want.Record)
	}))
	list, _, err := db.Keys(t.Context(), manage.KeyFilter{Limit: 100})
	must(t, err)
	for _, rec := range list {
		if rec.Key.ID == key.ID {
			same(t, rec, want)
			return
		}
	}
	t.Errorf("key %s is not listed", key.ID)
}

func sameIDs(t *testing.T, db *database, filter manage.KeyFilter, want ...verifier.KeyID) {
	t.Helper()
	records, now, err := db.Keys(t.Context(), filter)
	must(t, err)
	if now.IsZero() {
		t.Error("no clock")
	}
	var got []verifier.KeyID
	for _, rec := range records {
		got = append(got, rec.Key.ID)
	}
	same(t, got, want)
}
