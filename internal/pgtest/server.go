package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options of a server. The zero value is the fastest: it forgets on a crash.
type Options struct {
	// Durable turns on fsync, full_page_writes and synchronous_commit: what was
	// committed is still there after Kill and Restart.
	Durable bool
	// Synchronous makes every commit wait, once Standby has returned, until a
	// standby has applied it (synchronous_commit=remote_apply). It implies Durable.
	Synchronous bool
	// TCP makes URL name a port of 127.0.0.1, guarded by a password, in place of
	// the unix socket. The port stays the same over Restart.
	TCP bool
	// Conf are settings of postgresql.conf, unquoted. They win over ours.
	Conf map[string]string
}

// Server is a PostgreSQL server of one test. It ends with the test. Its methods
// may be called concurrently, except that those which take a testing.TB belong
// into the goroutine of that test.
type Server struct {
	t        testing.TB
	opts     Options
	bin      binaries
	dir      *directory
	port     int
	reserved *os.File // holds the port while the server is down
	password string   // for TCP
	name     string   // of a standby, as its primary knows it

	mu       sync.Mutex
	cmd      *exec.Cmd       // nil: not running
	ended    <-chan struct{} // closed when cmd has ended
	spent    time.Duration   // CPU time of those that were killed
	standbys []string
}

// Start runs a server for this test alone, to be killed, paused or copied. With
// no PostgreSQL on the machine and no way to install one, the test fails.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := newServer(opts)
	if err == nil {
		err = s.boot(s.initdb)
	}
	s.adopt(t, err)
	return s
}

// adopt ends s with t, and fails t when there was an error.
func (s *Server) adopt(t testing.TB, err error) {
	t.Helper()
	if s != nil {
		s.t = t
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the log of the server %s ends with\n%s", s.dir.path, s.logTail())
			}
			if err := s.discard(); err != nil {
				t.Errorf("removing a server: %v", err)
			}
		})
	}
	if err != nil {
		t.Fatalf("starting PostgreSQL: %v", err)
	}
}

// newServer prepares everything but the data directory.
func newServer(opts Options) (*Server, error) {
	bin, err := locate()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, bin: bin, port: 5432}
	if s.dir, err = newDirectory(); err != nil {
		return nil, err
	}
	if opts.TCP {
		s.password = rand.Text()
		s.port, s.reserved, err = reservePort()
	}
	return s, err
}

// boot fills the data directory by create, and starts the server on it.
func (s *Server) boot(create func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := create(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.launch()
}

// settings are small and fast: several test processes run a server at a time.
func (s *Server) settings() map[string]string {
	conf := map[string]string{
		"shared_buffers":             "16MB",
		"max_connections":            "100",
		"dynamic_shared_memory_type": "mmap",
		"jit":                        "off",
		"fsync":                      "off",
		"full_page_writes":           "off",
		"synchronous_commit":         "off",
	}
	if s.opts.Durable || s.opts.Synchronous {
		conf["fsync"], conf["full_page_writes"], conf["synchronous_commit"] = "on", "on", "on"
	}
	if s.opts.Synchronous {
		conf["synchronous_commit"] = "remote_apply"
	}
	maps.Copy(conf, s.opts.Conf)
	return conf
}

// configure appends to postgresql.conf, whose last word counts.
func (s *Server) configure(conf map[string]string) error {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(conf)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(conf[name], "'", "''"))
	}
	f, err := os.OpenFile(s.dir.data()+"/postgresql.conf", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text.String())
	return errors.Join(err, f.Close())
}

// launch starts the postmaster and returns when it lets clients in. s.mu is held.
func (s *Server) launch() error {
	log, err := os.OpenFile(s.dir.log(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the server writes to its own copy
	listen := ""
	if s.opts.TCP {
		listen = "127.0.0.1"
	}
	cmd := s.bin.command(context.Background(), s.dir.who, s.dir.data(), "postgres",
		"-D", s.dir.data(), "-k", s.dir.socket(), "-p", strconv.Itoa(s.port), "-h", listen,
		"-c", "cluster_name="+filepath.Base(s.dir.path))
	cmd.Stdout, cmd.Stderr = log, log
	ended, err := spawn(cmd)
	if err != nil {
		return err
	}
	s.cmd, s.ended = cmd, ended
	over := false
	err = eventually("the server to be ready", func() bool {
		over = over || closed(ended)
		return over || ready(s.dir.path, cmd.Process.Pid)
	})
	if err == nil && over {
		s.cmd, err = nil, errors.New("the server ended at once")
	}
	if err == nil && s.opts.TCP && s.name == "" {
		err = s.setPassword()
	}
	if err != nil {
		return fmt.Errorf("%w; its log ends with\n%s", err, s.logTail())
	}
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (s *Server) logTail() []byte {
	text, err := os.ReadFile(s.dir.log())
	if err != nil {
		return []byte(err.Error())
	}
	return tail(text)
}

func (s *Server) setPassword() error {
	return s.exec("ALTER ROLE postgres PASSWORD '" + s.password + "'")
}

// exec runs statements over the socket, each in a transaction of its own, as
// some of them must be, on a connection that was made for them.
func (s *Server) exec(statements ...string) error {
	return s.admin(execute(statements))
}

func execute(statements []string) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%.28s: %w", sql, err)
			}
		}
		return nil
	}
}

func (s *Server) admin(f func(context.Context, *pgx.Conn) error) error {
	return connect(socketURL(s.dir.socket(), s.port), f)
}

// connect calls f with a connection to the database at url, and closes it.
func connect(url string, f func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, conn), conn.Close(ctx))
}

// URL is the connection string of a database of s. With standbys it names them
// all, asks for the one that accepts writes, and gives each two seconds.
func (s *Server) URL(dbname string, standbys ...*Server) string {
	q := url.Values{"user": {"postgres"}, "sslmode": {"disable"}}
	var hosts, ports []string
	for _, server := range append([]*Server{s}, standbys...) {
		host := server.dir.socket()
		if server.opts.TCP {
			host = "127.0.0.1"
			q.Set("password", server.password)
		}
		hosts, ports = append(hosts, host), append(ports, strconv.Itoa(server.port))
	}
	if len(standbys) > 0 {
		q.Set("target_session_attrs", "read-write")
		q.Set("connect_timeout", "2")
	}
	q.Set("host", strings.Join(hosts, ","))
	q.Set("port", strings.Join(ports, ","))
	return "postgres:///" + url.PathEscape(dbname) + "?" + q.Encode()
}

func socketURL(socket string, port int) string {
	q := url.Values{"user": {"postgres"}, "host": {socket}, "port": {strconv.Itoa(port)}}
	return "postgres:///postgres?" + q.Encode()
}
