package storetest

import (
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

var keyListPromises = []promise{
	{"a list can be narrowed by every field, and by several", func(t *testing.T, db *database) {
		for _, name := range []string{"live", "test"} {
			must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: name, Prefix: "ck"}))
		}
		for _, k := range []verifier.Key{
			{ID: "k1", Keyspace: "default", Owner: "ann", Name: "ci", ExternalID: "1"},
			{ID: "k2", Keyspace: "live", Owner: "ann", Name: "CI", ExternalID: "2"},
			{ID: "k3", Keyspace: "test", Owner: "bob", Name: "ci", ExternalID: "1"},
			{ID: "k4", Keyspace: "live", Owner: "ann", State: verifier.Disabled},
		} {
			db.key(func(key *verifier.Key, _ *verifier.Budget) {
				key.ID, key.Keyspace, key.Owner, key.Name, key.ExternalID = k.ID, k.Keyspace, k.Owner, k.Name, k.ExternalID
				if k.State != "" {
					key.State = k.State
				}
			})
		}
		for _, test := range []struct {
			filter manage.KeyFilter
			want   []verifier.KeyID
		}{
			{manage.KeyFilter{Name: "ci"}, []verifier.KeyID{"k1", "k3"}},
			{manage.KeyFilter{Name: "c%"}, nil},
			{manage.KeyFilter{ExternalID: "1"}, []verifier.KeyID{"k1", "k3"}},
			{manage.KeyFilter{Keyspaces: []string{"live", "nowhere", "default"}}, []verifier.KeyID{"k1", "k2", "k4"}},
			{manage.KeyFilter{Keyspaces: []string{"live", "test"}, After: "k2"}, []verifier.KeyID{"k3", "k4"}},
			{manage.KeyFilter{Keyspaces: []string{"live", "live"}, State: manage.StateDisabled}, []verifier.KeyID{"k4"}},
			{manage.KeyFilter{Owner: "ann", State: manage.StateActive}, []verifier.KeyID{"k1", "k2"}},
			{manage.KeyFilter{Owner: "ann", Name: "ci", ExternalID: "1", Keyspaces: []string{"default"}, State: "active"}, []verifier.KeyID{"k1"}},
			{manage.KeyFilter{Owner: "bob", Name: "ci", ExternalID: "1", Keyspaces: []string{"default"}, State: "active"}, nil},
		} {
			test.filter.Limit = 9
			sameIDs(t, db, test.filter, test.want...)
		}
	}},
	{"the states of a list are those of this moment, by the database's clock", func(t *testing.T, db *database) {
		now := databaseNow(t, db)
		for id, k := range map[verifier.KeyID]verifier.Key{
			"k1": {State: verifier.Active},
			"k2": {State: verifier.Active, ExpiresAt: now.Add(time.Hour)},
			"k3": {State: verifier.Active, ExpiresAt: now.Add(-time.Hour)},
			"k4": {State: verifier.Disabled, ExpiresAt: now.Add(-time.Hour)},
			"k5": {State: verifier.Revoked, ExpiresAt: now.Add(time.Hour)},
			"k6": {State: verifier.Active, ExpiresAt: now}, // expired the instant it expires
		} {
			db.key(func(key *verifier.Key, _ *verifier.Budget) {
				key.ID, key.State, key.ExpiresAt = id, k.State, k.ExpiresAt
			})
		}
		inState := func(state string, want ...verifier.KeyID) {
			t.Helper()
			sameIDs(t, db, manage.KeyFilter{State: state, Limit: 9}, want...)
		}
		inState("", "k1", "k2", "k3", "k4", "k5", "k6")
		inState(manage.StateActive, "k1", "k2")
		inState(manage.StateExpired, "k3", "k6")
		inState(manage.StateDisabled, "k4")
		inState(manage.StateRevoked, "k5")
		db.shift(2 * time.Hour)
		inState(manage.StateActive, "k1")
		inState(manage.StateExpired, "k2", "k3", "k6")
		db.shift(-4 * time.Hour)
		inState(manage.StateActive, "k1", "k2", "k3", "k6")
		inState(manage.StateExpired)
	}},
	{"a list of a state that does not exist is a mistake", func(t *testing.T, db *database) {
		if _, _, err := db.Keys(t.Context(), manage.KeyFilter{Limit: 1, State: "happy"}); err == nil {
			t.Error("no error")
		}
	}},
	{"a narrowed list is paged through without a gap", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ck"}))
		var want, got []verifier.KeyID
		for i := range 50 {
			_, key := db.key(func(k *verifier.Key, _ *verifier.Budget) {
				k.Keyspace, k.State = [2]string{"default", "other"}[i%2], [2]verifier.State{verifier.Active, verifier.Disabled}[i%5%2]
			})
			if key.State == verifier.Active {
				want = append(want, key.ID)
			}
		}
		page := manage.KeyFilter{Keyspaces: []string{"other", "default"}, State: manage.StateActive, Limit: 7}
		for {
			recs, _, err := db.Keys(t.Context(), page)
			must(t, err)
			if len(recs) == 0 {
				break
			}
			for _, rec := range recs {
				got = append(got, rec.Key.ID)
			}
			page.After = got[len(got)-1]
		}
		same(t, got, want)
	}},
	{"a key is found by its digest, and one that is not there is ErrNotFound", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		rec, now, err := db.KeyByDigest(t.Context(), key.Digest)
		must(t, err)
		same(t, rec, mustKey(t, db, key.ID))
		if now.IsZero() {
			t.Error("no clock")
		}
		_, _, err = db.KeyByDigest(t.Context(), digest("nobody"))
		wantErr(t, err, manage.ErrNotFound)
	}},
}
