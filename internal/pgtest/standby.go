package pgtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Standby copies s into a server that follows it by streaming, and answers
// reads. If s is Synchronous, commits wait for a standby from now on. A standby
// keeps its place while s runs (it has a replication slot).
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	standby, err := newServer(s.opts)
	if err == nil {
		standby.name, standby.password = s.enlist(), s.password
		err = standby.boot(func(ctx context.Context) error { return standby.copyOf(ctx, s) })
	}
	if err == nil {
		err = s.await(standby.name)
	}
	standby.adopt(t, err)
	return standby
}

// enlist gives the next standby its name.
func (s *Server) enlist() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := "s" + strconv.Itoa(len(s.standbys)+1)
	s.standbys = append(s.standbys, name)
	return name
}

func (s *Server) copyOf(ctx context.Context, primary *Server) error {
	if !executable(s.bin.dir, "pg_basebackup") {
		return errors.New("pg_basebackup is missing beside postgres: install the client programs too")
	}
	err := runBound(s.bin.command(ctx, s.dir.who, s.dir.data(), "pg_basebackup",
		"-D", s.dir.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync", "-C", "-S", s.name,
		"-d", fmt.Sprintf("host=%s port=%d user=postgres application_name=%s", primary.dir.socket(), primary.port, s.name)))
	if err != nil {
		return err
	}
	return s.configure(map[string]string{
		"synchronous_standby_names":   "",      // once promoted, it waits for nobody
		"wal_retrieve_retry_interval": "100ms", // how long it may take to see that it is promoted
	})
}

// await returns when name streams from s and, if so asked, when no commit can
// return before it has been applied there.
func (s *Server) await(name string) error {
	if err := s.replicates(name, "state = 'streaming'"); err != nil || !s.opts.Synchronous {
		return err
	}
	s.mu.Lock()
	names := "FIRST 1 (" + strings.Join(s.standbys, ", ") + ")"
	s.mu.Unlock()
	if err := s.configure(map[string]string{"synchronous_standby_names": names}); err != nil {
		return err
	}
	if err := s.exec("SELECT pg_reload_conf()"); err != nil {
		return err
	}
	if err := s.replicates(name, "sync_priority > 0"); err != nil {
		return err
	}
	// The checkpointer is who tells all sessions to wait. The postmaster has
	// passed it the reload before it forks this connection, and it reads its
	// settings before it begins a checkpoint.
	return s.exec("CHECKPOINT")
}

// replicates polls until condition holds for the standby name, each time on a
// connection of its own, which sees the newest settings.
func (s *Server) replicates(name, condition string) error {
	var lastErr error
	err := eventually("standby "+name+" to have "+condition, func() bool {
		var ok bool
		lastErr = s.admin(func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_stat_replication WHERE application_name = $1 AND "+condition, name).Scan(&ok)
		})
		return ok
	})
	if err != nil {
		return errors.Join(err, lastErr)
	}
	return nil
}

// Promote makes a standby accept writes. Its primary should be dead: nothing
// else stops that one from accepting them too.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	var done bool
	err := s.admin(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT pg_promote(true, 30)").Scan(&done)
	})
	if err == nil && !done {
		err = errors.New("not promoted within 30 seconds")
	}
	if err != nil {
		t.Fatalf("promoting a standby: %v", err)
	}
}
