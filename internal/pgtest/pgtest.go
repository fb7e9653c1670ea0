// Package pgtest is a real PostgreSQL for go test. It is imported by tests only.
//
// Database gives a test a fresh database, cloned from a template that was
// migrated once, on a server that all tests of the process share. Start gives it
// a server of its own, to be killed, paused, restarted, copied to a standby.
//
// The server is found, in this order, by PGTEST_DATABASE_URL (a superuser of a
// running one; Database only), in PGTEST_BIN, below /usr/lib/postgresql, by
// pg_config, in PATH. Failing that, Debian's package is installed: into the
// system by root, into the user's cache by anybody else. Failing that, the test
// fails and says what to run. It is never skipped.
//
// A server runs as postgres, or else nobody, if we are root; in /dev/shm if that
// has 2 GiB free, or else in /tmp. It listens on a unix socket that only its own
// user and root can reach.
//
// # Why nothing is left behind
//
// A test process may end by os.Exit, a panic or kill -9, and none of them runs a
// cleanup. So the kernel tells the server to end when the thread that started it
// does (which is kept for that), a shell that waits for our end removes the
// directory, and whatever escapes both is found by the next start: it removes
// all directories whose lock nobody holds, with the processes in them.
//
// The goroutine that keeps the thread of the shared server lives as long as the
// process; goleak is told to ignore it by
// IgnoreAnyFunction("github.com/cambio-auth/cambio/internal/pgtest.hold").
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// cluster is the server on which the databases of this process live.
type cluster struct {
	server *Server // nil: a given one
	given  string
	prefix string // of the names of our databases
	count  atomic.Int64

	templating sync.Mutex
	templates  map[string]*template

	commanding sync.Mutex
	held       *pgx.Conn // commands come one at a time, over one connection
}

type template struct {
	once sync.Once
	name string
	err  error
}

// shared is opened by the first test that asks, and ends with the process.
var shared = sync.OnceValues(func() (*cluster, error) {
	return openCluster(os.Getenv("PGTEST_DATABASE_URL"))
})

// Database returns the connection string of a fresh database, which is dropped
// at the end of the test. The first call with a version runs migrate on an empty
// one; all tests of the process that name this version get a copy of that. So a
// version stands for one migrate, which must have closed its connections when it
// returns. A nil migrate leaves the database empty.
//
// Except on a given server, what a test commits does not survive a crash, and
// autovacuum is off.
func Database(t testing.TB, version string, migrate func(ctx context.Context, url string) error) string {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatalf("a database for the test: %v", err)
	}
	name, err := c.clone(version, migrate)
	if err != nil {
		t.Fatalf("a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := c.drop(name); err != nil {
			t.Errorf("dropping the database of the test: %v", err)
		}
	})
	return c.url(name)
}

// openCluster starts a server, unless one is given by its URL.
func openCluster(given string) (*cluster, error) {
	c := &cluster{given: given, prefix: "cambio_pgtest_" + strings.ToLower(rand.Text()[:12]), templates: map[string]*template{}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if given != "" {
		return c, c.enter(ctx)
	}
	var err error
	c.server, err = newServer(Options{Conf: map[string]string{"autovacuum": "off"}})
	if err == nil {
		err = c.server.boot(c.server.initdb)
	}
	if err == nil {
		err = c.enter(ctx)
	}
	if err != nil && c.server != nil {
		err = errors.Join(err, c.server.discard())
	}
	return c, err
}

// enter connects. On a given server it takes a lock, for as long as we run, that
// says our databases are in use, and drops those of test processes that no
// longer hold theirs.
func (c *cluster) enter(ctx context.Context) (err error) {
	if c.server != nil {
		c.held, err = pgx.Connect(ctx, c.url("postgres"))
		return err
	}
	if u, err := url.Parse(c.given); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("PGTEST_DATABASE_URL is not of the form postgres://user:password@host:port/database")
	}
	if c.held, err = pgx.Connect(ctx, c.given); err != nil {
		return fmt.Errorf("PGTEST_DATABASE_URL: %w", err)
	}
	if _, err = c.held.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", c.prefix); err != nil {
		return err
	}
	rows, err := c.held.Query(ctx, `SELECT datname FROM pg_database WHERE datname LIKE 'cambio\_pgtest\_%'`)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range names {
		err = errors.Join(err, c.sweep(ctx, name))
	}
	return err
}

// sweep drops one database if its process has ended.
func (c *cluster) sweep(ctx context.Context, name string) error {
	owner := name[:min(len(name), len(c.prefix))]
	var abandoned bool
	err := c.held.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", owner).Scan(&abandoned)
	if err != nil || !abandoned {
		return err
	}
	if owner != c.prefix {
		_, err = c.held.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	}
	_, unlockErr := c.held.Exec(ctx, "SELECT pg_advisory_unlock(hashtextextended($1, 0))", owner)
	return errors.Join(err, unlockErr)
}

func (c *cluster) url(dbname string) string {
	if c.server != nil {
		return c.server.URL(dbname)
	}
	u, _ := url.Parse(c.given) // it did parse in enter
	u.Path = "/" + dbname
	return u.String()
}

// exec runs a statement outside a transaction, on the server's own database.
func (c *cluster) exec(sql string) error {
	c.commanding.Lock()
	defer c.commanding.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if c.held == nil || c.held.IsClosed() {
		if err := c.enter(ctx); err != nil {
			return err
		}
	}
	_, err := c.held.Exec(ctx, sql)
	return err
}

// next names another database.
func (c *cluster) next() string {
	return c.prefix + "_" + strconv.FormatInt(c.count.Add(1), 10)
}

func (c *cluster) clone(version string, migrate func(context.Context, string) error) (name string, err error) {
	name = c.next()
	if migrate == nil {
		return name, c.exec("CREATE DATABASE " + name)
	}
	c.templating.Lock()
	tmpl := c.templates[version]
	if tmpl == nil {
		tmpl = &template{name: c.next()}
		c.templates[version] = tmpl
	}
	c.templating.Unlock()
	tmpl.once.Do(func() {
		tmpl.err = errors.New("migrate has ended its test") // by t.Fatal, which nobody can catch
		tmpl.err = c.fill(tmpl.name, migrate)
	})
	if tmpl.err != nil {
		return "", fmt.Errorf("migrating the template %q: %w", version, tmpl.err)
	}
	return name, c.exec("CREATE DATABASE " + name + " TEMPLATE " + tmpl.name)
}

// fill makes a template, which nobody can change afterwards.
func (c *cluster) fill(name string, migrate func(context.Context, string) error) error {
	if err := c.exec("CREATE DATABASE " + name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := migrate(ctx, c.url(name)); err != nil {
		return err
	}
	return c.exec("ALTER DATABASE " + name + " ALLOW_CONNECTIONS false")
}

func (c *cluster) drop(name string) error {
	return c.exec("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)")
}
