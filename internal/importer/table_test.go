package importer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/importer"
	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/verifier"
)

// The table as Better Auth's migrator makes it.
const apikey = `CREATE TABLE "apikey" ("id" text NOT NULL PRIMARY KEY, "configId" text NOT NULL, "name" text, "start" text,
	"referenceId" text NOT NULL, "prefix" text, "key" text NOT NULL, "refillInterval" integer, "refillAmount" integer,
	"lastRefillAt" timestamptz, "enabled" boolean, "rateLimitEnabled" boolean, "rateLimitTimeWindow" integer, "rateLimitMax" integer,
	"requestCount" integer, "remaining" integer, "lastRequest" timestamptz, "expiresAt" timestamptz, "createdAt" timestamptz NOT NULL,
	"updatedAt" timestamptz NOT NULL, "permissions" text, "metadata" text)`

// oldApikey has neither configurations nor references, and numbers as ids.
const oldApikey = `CREATE SCHEMA old; CREATE TABLE old.keys (id serial PRIMARY KEY, "userId" text NOT NULL, key text NOT NULL,
	"createdAt" timestamp NOT NULL, metadata jsonb)`

func tables(t *testing.T, statements ...string) string {
	t.Helper()
	url := pgtest.Database(t, "empty", nil)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	return url
}

func TestATableIsRead(t *testing.T) {
	url := tables(t, `SET timezone = 'Asia/Kolkata'`, apikey,
		`INSERT INTO apikey ("id", "configId", "name", "start", "referenceId", "key", "remaining", "refillAmount", "refillInterval", "lastRefillAt",
			"requestCount", "createdAt", "updatedAt", "permissions", "metadata")
		VALUES ('rowId', 'default', 'laptop', 'QuiteL', 'user_42', '`+base64url(secret)+`', 5, 100, 86400000,
			'2026-11-23 18:00:00.123456+00', 0, '2026-11-23 09:07:44.971+00', now(), '{"files":["read"]}', 'null')`)
	got := only(t, importer.BetterAuthTable(t.Context(), url, importer.DefaultTable, importer.Rules{Now: noon}))
	if got.Err != nil || got.Number != 1 {
		t.Fatal(got.Number, got.Err)
	}
	want := betterAuth.key
	want.Permissions = verifier.Permissions{"files": {"read"}}
	refilled := time.Date(2026, 11, 23, 18, 0, 0, 123456e3, time.UTC)
	want.Budget = verifier.Budget{Counted: true, Remaining: 5, Refilled: refilled,
		Refill: verifier.Refill{Amount: 100, Interval: verifier.Every(24 * time.Hour), Anchor: refilled}}
	if diff := diff(want, got.Key); diff != "" {
		t.Error(diff)
	}
}

func TestATableMayBeOldAndElsewhere(t *testing.T) {
	url := tables(t, oldApikey, `INSERT INTO old.keys ("userId", key, "createdAt", metadata)
		VALUES ('user_42', '`+base64url(secret)+`', '2026-11-23 09:07:44.971', '{"plan":"pro"}')`)
	got := only(t, importer.BetterAuthTable(t.Context(), url, "old.keys", importer.Rules{Now: noon}))
	k := got.Key
	if got.Err != nil || k.Owner != "user_42" || k.ExternalID != "1" || !k.CreatedAt.Equal(created) || string(k.Metadata) != `{"plan":"pro"}` {
		t.Errorf("%+v, %v", k, got.Err)
	}
	if diff := cmp.Diff([]string{"createdAt: names no time zone, so it was read as UTC"}, got.Notes); diff != "" {
		t.Error(diff)
	}
}

func TestATableOfManyPagesIsReadInOrderAndAsItWas(t *testing.T) {
	url := tables(t, apikey, `INSERT INTO apikey ("id", "configId", "referenceId", "key", "createdAt", "updatedAt")
		SELECT lpad(n::text, 6, '0'), 'default', 'user_42', translate(rtrim(encode(sha256(n::text::bytea), 'base64'), '='), '+/', '-_'), now(), now()
		FROM generate_series(1, 3000) n`)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	n := 0
	for row, err := range importer.BetterAuthTable(t.Context(), url, importer.DefaultTable, importer.Rules{Now: noon}) {
		if n++; err != nil || row.Err != nil || row.Number != n || row.Key.ExternalID != fmt.Sprintf("%06d", n) {
			t.Fatalf("row %d: %s, %v, %v", n, row.Key.ExternalID, err, row.Err)
		}
		if n == 1 { // what is changed meanwhile was not so when reading began
			if _, err := conn.Exec(t.Context(), `DELETE FROM apikey WHERE id > '000500'`); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 3000 {
		t.Errorf("%d rows", n)
	}
}

func TestAReaderMayLeaveATable(t *testing.T) {
	url := tables(t, apikey, `INSERT INTO apikey ("id", "configId", "referenceId", "key", "createdAt", "updatedAt")
		SELECT n, 'default', 'user_42', 'x', now(), now() FROM generate_series(1, 2) n`)
	for row := range importer.BetterAuthTable(t.Context(), url, importer.DefaultTable, importer.Rules{Now: noon}) {
		if row.Err == nil {
			t.Error("a key that is none was taken")
		}
		break
	}
}

// A database says what is wrong with it in words of its own. The URL is not among
// them.
func TestATableThatCannotBeRead(t *testing.T) {
	url := tables(t, apikey)
	for name, test := range map[string]struct{ url, table, err string }{
		"is not there":            {url, "keys", `relation "keys" does not exist`},
		"is not in that schema":   {url, "old.apikey", `relation "old.apikey" does not exist`},
		"has a name of SQL":       {url, `apikey"; DROP TABLE apikey; --`, "does not exist"},
		"is of no URL":            {"postgres://u:hunter2@ho st/db", "apikey", "the URL of the database cannot be read"},
		"is on no port":           {"postgres://u:hunter2@localhost:x/db", "apikey", "the URL of the database cannot be read"},
		"is where nobody listens": {"postgres://u:hunter2@127.0.0.1:1/db?sslmode=disable", "apikey", "connection refused"},
		"is of nobody":            {url + "&user=nobody_here&password=hunter2", "apikey", "nobody_here"},
	} {
		t.Run(name, func(t *testing.T) {
			var failed error
			for _, err := range importer.BetterAuthTable(t.Context(), test.url, test.table, importer.Rules{Now: noon}) {
				failed = err
			}
			if failed == nil || !strings.Contains(failed.Error(), test.err) {
				t.Fatal(failed)
			}
			if strings.Contains(failed.Error(), "hunter2") || strings.Contains(failed.Error(), test.url) {
				t.Error(failed)
			}
		})
	}
}
