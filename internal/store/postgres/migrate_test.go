package postgres_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/internal/store/storetest"
	"github.com/cambio-auth/cambio/verifier"
)

// ofVersion makes a database as an old binary left it, and runs statements on it.
func ofVersion(t *testing.T, version int64, statements ...string) (url string) {
	t.Helper()
	url = pgtest.Database(t, "", nil)
	cfg, err := pgx.ParseConfig(url)
	must(t, err)
	db := stdlib.OpenDB(*cfg)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations"),
		goose.WithTableName("cambio_schema_version"), goose.WithDisableGlobalRegistry(true))
	must(t, err)
	_, err = provider.UpTo(t.Context(), version)
	must(t, errors.Join(err, db.Close(), exec(t.Context(), url, statements...)))
	return url
}

func TestKeysFromBeforeThereWereStatusesGetOne(t *testing.T) {
	url := ofVersion(t, 1,
		`INSERT INTO keyspaces (name, prefix, key_lifetime, token_lifetime, publish_metadata, imported_keys) VALUES ('other', 'ot', 0, 0, false, false)`,
		`INSERT INTO budgets (id, counted, remaining, refill_amount, rate_limit, rate_window, rate_burst)
			SELECT i, false, 0, 0, 0, 0, 0 FROM generate_series(1, 500) i`,
		`INSERT INTO keys (id, digest, start, keyspace, owner, name, state, budget_id)
			SELECT 'key_' || lpad(i::text, 4, '0'), sha256(i::text::bytea), '', CASE WHEN i % 5 > 0 THEN 'default' ELSE 'other' END, '', '',
				CASE WHEN i = 7 THEN 'disabled' ELSE 'active' END, i FROM generate_series(1, 500) i`)
	storetest.KeysFromBefore(t, open(t, url), 500)
}

func TestADatabaseWithoutKeysGetsStatuses(t *testing.T) {
	storetest.KeysFromBefore(t, open(t, ofVersion(t, 1)), 0)
}

// However many statuses there are, only those are looked at that changed, or that
// were drawn.
func TestStatusesAreFoundByIndex(t *testing.T) {
	conn := connect(t, database(t))
	run(t, conn, `INSERT INTO status_lists (list, keyspace, size) SELECT i, 'default', 20000 FROM generate_series(1, 10) i`,
		`INSERT INTO statuses (list, idx, value, revision) SELECT 1 + i / 15000, i % 15000, 0, CASE WHEN i % 10 > 0 THEN 0 ELSE i END FROM generate_series(0, 149999) i`,
		`ANALYZE`, `SET plan_cache_mode = force_generic_plan`, `PREPARE changes AS `+postgres.SelectStatusChanges, `PREPARE take AS `+postgres.TakeStatuses)
	for execute, index := range map[string]string{`changes (5)`: "statuses_by_revision", `take ('default', '{1,2}', 1)`: "statuses_pkey"} {
		if plan := planOf(t, conn, execute); !strings.Contains(plan, index) || strings.Contains(plan, "Seq Scan on statuses") {
			t.Errorf("%s:\n%s", execute, plan)
		}
	}
}

// planOf is how a statement is executed that was prepared.
func planOf(t *testing.T, conn *pgx.Conn, execute string) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `EXPLAIN EXECUTE `+execute)
	must(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return strings.Join(lines, "\n")
}

// The plan is one for any value, and knows nothing about the one that is asked for.
func TestKeysAreFoundByNameAndExternalIDWithoutReadingAll(t *testing.T) {
	conn := connect(t, database(t))
	run(t, conn, `INSERT INTO budgets (id, counted, remaining, refill_amount, rate_limit, rate_window, rate_burst) VALUES ('b', false, 0, 0, 0, 0, 0)`,
		`INSERT INTO keys (id, digest, start, keyspace, owner, name, state, budget_id, status_list, status_index, external_id)
			SELECT i, sha256(i::text::bytea), '', 'default', '', 'name ' || i, 'active', 'b', 1, i, 'external ' || i FROM generate_series(1, 20000) i`,
		`ANALYZE`, `SET plan_cache_mode = force_generic_plan`)
	for index, filter := range map[string]manage.KeyFilter{
		"keys_by_name": {Name: "any", Limit: 1}, "keys_by_external_id": {ExternalID: "any", Limit: 1},
	} {
		sql, err := postgres.KeysQuery(filter)
		must(t, err)
		run(t, conn, `PREPARE `+index+` AS `+sql)
		if plan := planOf(t, conn, index+` ('', 100, 'any')`); !strings.Contains(plan, index) {
			t.Errorf("%s is not used:\n%s", index, plan)
		}
	}
}

func TestPostgreSQLLooksAtItsTablesWhenManyKeysWereAdded(t *testing.T) {
	url := database(t)
	s, conn := open(t, url), connect(t, url)
	looked := func() (keys float64) {
		t.Helper()
		must(t, conn.QueryRow(t.Context(), `SELECT reltuples FROM pg_class WHERE relname = 'keys'`).Scan(&keys))
		return keys
	}
	add := func(n byte) {
		t.Helper()
		key := verifier.Key{ID: verifier.KeyID([]byte{'k', n}), Digest: verifier.Digest{n}, Keyspace: "default", State: verifier.Active}
		must(t, storetest.AddKey(t.Context(), s, key, verifier.Budget{ID: verifier.BudgetID([]byte{'b', n})}))
	}
	s.Grow(9_997)
	for n, want := range []float64{0, 0, 3, 3} { // at 10,000 and then not before 100,000
		if add('1' + byte(n)); max(looked(), 0) != want {
			t.Errorf("after key %d it has seen %v keys, want %v", n+1, looked(), want)
		}
	}
}
