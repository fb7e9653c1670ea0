package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// things is a migration: a table with one row. runs counts how often it ran.
func things(runs *atomic.Int32) func(context.Context, string) error {
	return func(_ context.Context, url string) error {
		runs.Add(1)
		return connect(url, execute([]string{"CREATE TABLE things (id int)", "INSERT INTO things VALUES (1)"}))
	}
}

func TestDatabase(t *testing.T) {
	t.Run("is migrated once, however many tests ask at a time, and is a copy for each", func(t *testing.T) {
		version := rand.Text() // the tests may run twice in a process
		var runs atomic.Int32
		var tests sync.WaitGroup
		for range 8 {
			tests.Go(func() {
				url := Database(t, version, things(&runs))
				err := connect(url, func(ctx context.Context, conn *pgx.Conn) error {
					var rows int
					_, err := conn.Exec(ctx, "INSERT INTO things VALUES (2)")
					return errors.Join(err, conn.QueryRow(ctx, "SELECT count(*) FROM things").Scan(&rows), want(rows, 2))
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		tests.Wait()
		if runs.Load() != 1 {
			t.Errorf("migrated %d times", runs.Load())
		}
	})
	t.Run("differs by version", func(t *testing.T) {
		var first, second atomic.Int32
		Database(t, rand.Text(), things(&first))
		Database(t, rand.Text(), things(&second))
		if first.Load() != 1 || second.Load() != 1 {
			t.Errorf("migrated %d and %d times", first.Load(), second.Load())
		}
	})
	t.Run("is empty without a migration", func(t *testing.T) {
		if n := count(t, Database(t, "", nil), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 0 {
			t.Errorf("%d tables", n)
		}
	})
	t.Run("is gone after the test, even if the test is still connected", func(t *testing.T) {
		var url string
		var conn *pgx.Conn
		t.Run("the test", func(inner *testing.T) {
			url = Database(inner, "", nil)
			conn = open(t, url)
		})
		if conn.Ping(t.Context()) == nil {
			t.Error("the connection still answers")
		}
		if other, err := pgx.Connect(t.Context(), url); err == nil {
			t.Error("the database is still there", other.Close(t.Context()))
		}
	})
	t.Run("stays away when its migration fails, for every test that asks", func(t *testing.T) {
		c, err := shared()
		must(t, err)
		version, broken := rand.Text(), errors.New("no such column")
		for range 2 {
			if _, err := c.clone(version, func(context.Context, string) error { return broken }); !errors.Is(err, broken) {
				t.Errorf("error is %v", err)
			}
		}
	})
}

func want(got, want int) error {
	if got != want {
		return errors.New("wrong number of rows")
	}
	return nil
}

func TestGivenServer(t *testing.T) {
	server := Start(t, Options{TCP: true})
	given := server.URL("postgres")
	ours := "SELECT count(*) FROM pg_database WHERE datname LIKE 'cambio\\_pgtest\\_%'"
	enter := func(t *testing.T) *cluster {
		c, err := openCluster(given)
		must(t, err)
		t.Cleanup(func() { _ = c.held.Close(context.Background()) })
		return c
	}

	t.Run("gives databases that are copies of a template, and can be reached", func(t *testing.T) {
		c := enter(t)
		var runs atomic.Int32
		for range 2 {
			name, err := c.clone("v1", things(&runs))
			must(t, err)
			conn := open(t, c.url(name))
			do(t, conn, "INSERT INTO things VALUES (2)")
			if n := count(t, c.url(name), "SELECT count(*) FROM things"); n != 2 {
				t.Errorf("%d rows", n)
			}
			must(t, c.drop(name))
		}
		if n := count(t, given, ours); n != 1 {
			t.Errorf("%d databases left, want the template", n)
		}
	})
	t.Run("is freed of the databases of processes that have ended, and of no others", func(t *testing.T) {
		alive, dead := enter(t), enter(t)
		kept, err := alive.clone("", nil)
		must(t, err)
		for range 2 {
			_, err = dead.clone("", nil)
			must(t, err)
		}
		must(t, dead.held.Close(t.Context()))
		until(t, "the dead one's databases to go", func() bool { // the server notices its end a moment later
			enter(t)
			return count(t, given, ours) == 1
		})
		if n := count(t, alive.url(kept), "SELECT 1"); n != 1 {
			t.Error("the living one's database is gone")
		}
	})
	t.Run("is refused when its URL is none, without repeating it", func(t *testing.T) {
		_, err := openCluster("host=localhost password=secret")
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("error is %v", err)
		}
	})
}

func BenchmarkDatabase(b *testing.B) {
	c, err := shared()
	if err != nil {
		b.Fatal(err)
	}
	var runs atomic.Int32
	for b.Loop() {
		name, err := c.clone("bench", things(&runs))
		if err == nil {
			err = c.drop(name)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
