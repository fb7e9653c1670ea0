package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/internal/store/storetest"
	"github.com/cambio-auth/cambio/verifier"
)

// TestMain says whether a connection or a goroutine was left behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/cambio-auth/cambio/internal/pgtest.hold"),
		goleak.IgnoreTopFunction("github.com/jackc/pgx/v5/pgconn.(*PgConn).asyncClose.func1"))
}

func TestPostgres(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database { return shiftable(t, "") })
}

// The way to go through a pooler that keeps nothing for a session.
func TestPostgresWithoutPreparedStatements(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database {
		return shiftable(t, "&default_query_exec_mode=exec")
	})
}

// shiftable is a database whose clock_timestamp() is ours: it is found before that
// of pg_catalog.
func shiftable(t *testing.T, params string) storetest.Database {
	url := pgtest.Database(t, "shiftable", func(ctx context.Context, url string) error {
		return errors.Join(migrate(ctx, url), exec(ctx, url, `CREATE SCHEMA shifted`,
			`CREATE TABLE shifted.clock (by interval NOT NULL)`, `INSERT INTO shifted.clock VALUES ('0')`,
			`CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
				AS 'SELECT pg_catalog.clock_timestamp() + by FROM shifted.clock'`))
	})
	return storetest.Database{
		Open: func(ctx context.Context) (store.Store, error) {
			return postgres.Open(ctx, url+"&search_path=shifted,pg_catalog,public"+params, postgres.Options{StatusListSize: storetest.StatusListSize})
		},
		Shift: func(ctx context.Context, by time.Duration) error {
			return exec(ctx, url, fmt.Sprintf(`UPDATE shifted.clock SET by = by + interval '%d microseconds'`, by.Microseconds()))
		},
	}
}

// database is the URL of a fresh database at the newest schema.
func database(t testing.TB) string {
	t.Helper()
	return pgtest.Database(t, "newest", migrate)
}

func migrate(ctx context.Context, url string) error {
	s, err := postgres.Open(ctx, url, postgres.Options{})
	if err != nil {
		return err
	}
	return s.Close()
}

// open opens a store that the test closes.
func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	return openWith(t, url, postgres.Options{})
}

func openWith(t testing.TB, url string, opts postgres.Options) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func exec(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return errors.Join(err, conn.Close(ctx))
		}
	}
	return conn.Close(ctx)
}

// connect opens a connection for the length of the test.
func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run executes statements in order.
func run(t testing.TB, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// ask returns the one value that sql answers.
func ask[T any](t testing.TB, conn *pgx.Conn, sql string) (value T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// until asks until the answer is yes, a minute at most.
func until(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if ask[bool](t, conn, sql) {
			return
		}
	}
	t.Fatalf("never came true: %s", sql)
}

// waiting is whether a statement waits for a lock of another.
const waiting = `SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE NOT l.granted AND a.datname = current_database()`

// addKeys stores n keys, each with this many uses, and returns their digests.
// Key i is id(i).
func addKeys(t testing.TB, s *postgres.Store, n int, uses int64) []verifier.Digest {
	t.Helper()
	digests := make([]verifier.Digest, n)
	for i := range digests {
		digests[i] = verifier.NewSecret(fmt.Sprintf("imported-%d", i)).Digest()
		err := storetest.AddKey(t.Context(), s,
			verifier.Key{ID: id(i), Digest: digests[i], Keyspace: "default", State: verifier.Active},
			verifier.Budget{ID: verifier.BudgetID(id(i)), Counted: true, Remaining: uses})
		if err != nil {
			t.Fatal(err)
		}
	}
	return digests
}

func id(i int) verifier.KeyID { return verifier.KeyID(fmt.Sprintf("key_%04d", i)) }

// take returns a decide that takes n uses from every active key, and counts them.
func take(n int64) func(time.Time, []*verifier.Record) {
	return func(_ time.Time, found []*verifier.Record) {
		for _, rec := range found {
			if n > 0 && rec.Key.State == verifier.Active {
				rec.Budget.Remaining -= n
				rec.Uses = append(rec.Uses, verifier.Use{Client: "orders", Audience: "https://a.example.com", Grants: 1, Cost: n})
			}
		}
	}
}

// update is an Update of keys alone.
func update(ctx context.Context, s verifier.Store, digests []verifier.Digest, decide func(time.Time, []*verifier.Record)) error {
	return s.Update(ctx, verifier.Lookup{Digests: digests}, func(now time.Time, found verifier.Found) { decide(now, found.Records) })
}

func BenchmarkUpdate(b *testing.B) {
	server := pgtest.Start(b, pgtest.Options{Durable: true})
	s := open(b, server.URL("postgres"))
	digests := addKeys(b, s, 256, 1<<40)
	if err := exec(b.Context(), server.URL("postgres"), `ANALYZE`); err != nil {
		b.Fatal(err)
	}
	unknown := make([]verifier.Digest, 256)
	for i := range unknown {
		unknown[i] = verifier.NewSecret(fmt.Sprint(i)).Digest()
	}
	for _, what := range []struct {
		name    string
		digests []verifier.Digest
		uses    int64
	}{{"unknown", unknown, 0}, {"refused", digests, 0}, {"granted", digests, 1}} {
		for _, n := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/keys=%d", what.name, n), func(b *testing.B) {
				decide := take(what.uses)
				if what.name == "unknown" {
					decide = func(time.Time, []*verifier.Record) {}
				}
				for b.Loop() {
					if err := update(b.Context(), s, what.digests[:n], decide); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
