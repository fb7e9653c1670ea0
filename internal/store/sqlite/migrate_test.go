package sqlite_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/internal/store/storetest"
)

// ofVersion makes a database as an old binary left it, and runs statements on it.
func ofVersion(t *testing.T, path string, version int64, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"),
		goose.WithTableName("schema_version"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	_, err = provider.UpTo(t.Context(), version)
	for _, statement := range statements {
		if err == nil {
			_, err = db.ExecContext(t.Context(), statement)
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestKeysFromBeforeThereWereStatusesGetOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	ofVersion(t, path, 1,
		`INSERT INTO keyspaces (name, prefix, key_lifetime, token_lifetime, publish_metadata, imported_keys) VALUES ('other', 'ot', 0, 0, 0, 0)`,
		`CREATE TABLE n AS WITH RECURSIVE n (value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM n WHERE value < 500) SELECT value FROM n`,
		`INSERT INTO budgets (id, counted, remaining, refill_amount, rate_limit, rate_window, rate_burst)
			SELECT value, 0, 0, 0, 0, 0, 0 FROM n`,
		`INSERT INTO keys (id, digest, start, keyspace, owner, name, state, budget_id)
			SELECT printf('key_%04d', value), unhex(printf('%064x', value)), '', iif(value % 5, 'default', 'other'), '', '',
				iif(value = 7, 'disabled', 'active'), value FROM n`,
		`DROP TABLE n`)
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	storetest.KeysFromBefore(t, s, 500)
}

func TestADatabaseWithoutKeysGetsStatuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	ofVersion(t, path, 1)
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	storetest.KeysFromBefore(t, s, 0)
}
