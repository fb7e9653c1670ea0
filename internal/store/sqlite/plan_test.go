package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/internal/store/storetest"
	"github.com/cambio-auth/cambio/verifier"
)

// plan is how SQLite would run a query, one step a line.
func plan(t *testing.T, s *sqlite.Store, query string, args ...any) string {
	t.Helper()
	var steps strings.Builder
	err := s.OnWriter(t.Context(), func(conn *sql.Conn) error {
		rows, err := conn.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				return err
			}
			steps.WriteString(detail + "\n")
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps.String()
}

// However many statuses there are, only those are looked at that changed.
func TestStatusesAreFoundByIndex(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "cambio.db"))
	if got := plan(t, s, sqlite.SelectStatusChanges, 5); !strings.Contains(got, "SEARCH statuses USING INDEX statuses_by_revision (revision>?)") {
		t.Error(got)
	}
}

// However many keys there are, no page of a list has all of them sorted.
func TestAListOfKeysIsReadInItsOrder(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "cambio.db"))
	for want, filter := range map[string]manage.KeyFilter{
		"SEARCH k USING INDEX sqlite_autoindex_keys_1 (id>?)":               {},
		"SEARCH k USING INDEX keys_by_keyspace (keyspace=? AND id>?)":       {Keyspaces: []string{"a"}, State: manage.StateActive},
		"SEARCH k USING INDEX sqlite_autoindex_keys_1 (id>?) ":              {Keyspaces: []string{"a", "b"}},
		"SEARCH k USING INDEX keys_by_owner (owner=? AND id>?)":             {Owner: "a", Keyspaces: []string{"a", "b"}},
		"SEARCH k USING INDEX keys_by_name (name=? AND id>?)":               {Name: "a"},
		"SEARCH k USING INDEX keys_by_external_id (external_id=? AND id>?)": {ExternalID: "a"},
	} {
		filter.Limit = 10
		query, args, err := sqlite.KeysQuery(filter, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		got := plan(t, s, query, args...)
		if !strings.Contains(got, strings.TrimSpace(want)) || strings.Contains(got, "B-TREE") {
			t.Errorf("%+v: want %s, got\n%s", filter, want, got)
		}
	}
}

func TestAKeyExpiresInAListAtTheInstantThatWasSaid(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 1, time.UTC)
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cambio.db"), sqlite.Options{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, expires := range []time.Time{noon, noon.Add(1)} {
		key := verifier.Key{ID: id(i), Digest: verifier.Digest{byte(i)}, Keyspace: "default", State: verifier.Active, ExpiresAt: expires}
		if err := storetest.AddKey(t.Context(), s, key, verifier.Budget{ID: verifier.BudgetID(id(i))}); err != nil {
			t.Fatal(err)
		}
	}
	for state, want := range map[string]verifier.KeyID{manage.StateExpired: id(0), manage.StateActive: id(1)} {
		found, _, err := s.Keys(t.Context(), manage.KeyFilter{State: state, Limit: 9})
		if err != nil || len(found) != 1 || found[0].Key.ID != want {
			t.Errorf("%s: %v, %v, want %s", state, found, err, want)
		}
	}
}
