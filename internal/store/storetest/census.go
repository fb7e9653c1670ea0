package storetest

import (
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/activity"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

var censusPromises = []promise{
	{"keys are counted by keyspace and state, as they are now by the database's clock, without those that were deleted", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "live", Prefix: "ck"}))
		now := databaseNow(t, db)
		for _, k := range []verifier.Key{
			{Keyspace: "default", State: verifier.Active},
			{Keyspace: "default", State: verifier.Active, ExpiresAt: now.Add(time.Hour)},
			{Keyspace: "default", State: verifier.Active, ExpiresAt: now.Add(-time.Nanosecond)},
			{Keyspace: "default", State: verifier.Revoked, ExpiresAt: now.Add(-time.Hour)},
			{Keyspace: "live", State: verifier.Disabled},
			{Keyspace: "live", State: verifier.Active},
		} {
			db.key(func(key *verifier.Key, _ *verifier.Budget) {
				key.Keyspace, key.State, key.ExpiresAt = k.Keyspace, k.State, k.ExpiresAt
			})
		}
		_, err := manage.New(db).DeleteKey(t.Context(), "key_0006")
		must(t, err)
		counted := func(want ...manage.KeyCount) {
			t.Helper()
			got, err := db.CountKeys(t.Context())
			must(t, err)
			same(t, got, want)
		}
		counted(
			manage.KeyCount{Keyspace: "default", State: manage.StateActive, Keys: 2},
			manage.KeyCount{Keyspace: "default", State: manage.StateExpired, Keys: 1},
			manage.KeyCount{Keyspace: "default", State: manage.StateRevoked, Keys: 1},
			manage.KeyCount{Keyspace: "live", State: manage.StateDisabled, Keys: 1},
		)
		db.shift(2 * time.Hour)
		counted(
			manage.KeyCount{Keyspace: "default", State: manage.StateActive, Keys: 1},
			manage.KeyCount{Keyspace: "default", State: manage.StateExpired, Keys: 2},
			manage.KeyCount{Keyspace: "default", State: manage.StateRevoked, Keys: 1},
			manage.KeyCount{Keyspace: "live", State: manage.StateDisabled, Keys: 1},
		)
	}},
	{"what goes well, what is refused and what cannot be done are no errors of the store", func(t *testing.T, db *database) {
		secret, _ := db.key(nil)
		for range 6 {
			_ = exchange(t.Context(), db, secret)
		}
		_, err := manage.New(db).CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "default"})
		if err == nil {
			t.Error("made a keyspace twice")
		}
		for kind, n := range db.Activity().Errors {
			if n != 0 {
				t.Errorf("%d of %s", n, kind)
			}
		}
		if n := len(db.Activity().Errors); n != len(activity.Kinds()) {
			t.Errorf("%d kinds", n)
		}
	}},
}
