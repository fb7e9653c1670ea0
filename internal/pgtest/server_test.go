package pgtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestServerThatIsKilled(t *testing.T) {
	s := Start(t, Options{Durable: true, TCP: true})
	url := s.URL("postgres")
	conn := open(t, url)
	do(t, conn, "CREATE TABLE things (id int)")
	for round := range 3 {
		do(t, conn, fmt.Sprint("INSERT INTO things VALUES (", round, ")"))
		before := s.CPU()
		s.Kill()

		if left := processes(s.dir.path); len(left) > 0 || s.PID() != 0 {
			t.Errorf("still there: %v", left)
		}
		if conn.Ping(t.Context()) == nil {
			t.Error("a dead server answers")
		}
		if s.CPU() < before {
			t.Error("the time it used is forgotten")
		}
		s.Restart(t)
		conn = open(t, url) // the same address
		if n := count(t, url, "SELECT count(*) FROM things"); n != round+1 {
			t.Fatalf("after %d crashes, %d rows", round+1, n)
		}
	}
}

func TestServerThatCrashesByItself(t *testing.T) {
	s := Start(t, Options{})
	postmaster, err := os.FindProcess(s.PID())
	must(t, err)
	must(t, postmaster.Kill()) // its children live on for a while
	until(t, "its end", func() bool { return s.PID() == 0 })
	s.Restart(t)
	if n := count(t, s.URL("postgres"), "SELECT 1"); n != 1 {
		t.Error("no answer")
	}
}

func TestServerThatIsStopped(t *testing.T) {
	s := Start(t, Options{Durable: true})
	conn := open(t, s.URL("postgres"))
	do(t, conn, "CREATE TABLE things (id int)")
	s.Pause()
	s.Stop() // wakes it first
	if s.PID() != 0 {
		t.Error("it still runs")
	}
	s.Restart(t)
	if n := count(t, s.URL("postgres"), "SELECT count(*) FROM things"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestServerThatIsPaused(t *testing.T) {
	s := Start(t, Options{})
	conn := open(t, s.URL("postgres"))
	s.Pause()

	for _, p := range processes(s.dir.path) {
		if state, _, _ := stat(p.pid); state != 'T' {
			t.Errorf("%s is in state %c", p.title, state)
		}
	}
	answer := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT 1")
		answer <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := pgx.Connect(ctx, s.URL("postgres")); err == nil {
		t.Error("a paused server lets somebody in")
	}
	select {
	case err := <-answer:
		t.Fatalf("a paused server answers %v", err)
	default:
	}
	s.Resume()
	must(t, <-answer)
}

func TestServerSettings(t *testing.T) {
	tests := map[string]struct {
		opts Options
		want map[string]string
	}{
		"zero options are fast":          {Options{}, map[string]string{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "listen_addresses": ""}},
		"a durable one loses nothing":    {Options{Durable: true}, map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}},
		"a synchronous one waits longer": {Options{Synchronous: true}, map[string]string{"fsync": "on", "synchronous_commit": "remote_apply", "synchronous_standby_names": ""}},
		"what is asked for wins":         {Options{Durable: true, Conf: map[string]string{"synchronous_commit": "local", "application_name": "it's"}}, map[string]string{"synchronous_commit": "local", "application_name": "it's"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			conn := open(t, Start(t, tt.opts).URL("postgres"))
			for setting, want := range tt.want {
				var got string
				must(t, conn.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got))
				if got != want {
					t.Errorf("%s is %q, want %q", setting, got, want)
				}
			}
		})
	}
}

func TestServerThatCannotStart(t *testing.T) {
	s, err := newServer(Options{Conf: map[string]string{"shared_buffers": "none at all"}})
	must(t, err)
	err = s.boot(s.initdb)
	if err == nil || !strings.Contains(err.Error(), "shared_buffers") {
		t.Errorf("the reason is missing: %v", err)
	}
	must(t, s.discard())
}

func TestServerOverTCP(t *testing.T) {
	s := Start(t, Options{TCP: true})
	config, err := pgx.ParseConfig(s.URL("postgres"))
	must(t, err)
	config.Password = "guessed"
	if conn, err := pgx.ConnectConfig(t.Context(), config); err == nil {
		t.Error("any password will do", conn.Close(t.Context()))
	}
}

func TestServerCountsWhatItsSessionsCompute(t *testing.T) {
	s := Start(t, Options{})
	conn := open(t, s.URL("postgres"))
	start := s.CPU()
	until(t, "a running session to be counted", func() bool {
		do(t, conn, "SELECT count(*) FROM generate_series(1, 300000)")
		return s.CPU() >= start+50*time.Millisecond
	})
	used := s.CPU()
	must(t, conn.Close(t.Context()))
	until(t, "the session to end", func() bool { return sessions(s) == 0 })
	if s.CPU() < used {
		t.Errorf("the time of a session that has ended is forgotten: %v after %v", s.CPU(), used)
	}
}

func TestServerLeavesNothing(t *testing.T) {
	var s *Server
	t.Run("the test", func(t *testing.T) {
		s = Start(t, Options{})
		s.Pause()
	})
	if left := processes(s.dir.path); len(left) > 0 {
		t.Errorf("still there: %v", left)
	}
	if _, err := os.Stat(s.dir.path); err == nil {
		t.Errorf("%s is still there", s.dir.path)
	}
}

func sessions(s *Server) (n int) {
	for _, p := range processes(s.dir.path) {
		if strings.Contains(p.title, ": postgres postgres ") {
			n++
		}
	}
	return n
}
