package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestStandby(t *testing.T) {
	t.Run("follows its primary, answers reads, and takes over where one URL names both", func(t *testing.T) {
		primary := Start(t, Options{Durable: true, TCP: true})
		conn := open(t, primary.URL("postgres"))
		do(t, conn, "CREATE TABLE things (id int)")
		standby := primary.Standby(t)
		do(t, conn, "INSERT INTO things VALUES (1)")
		until(t, "the row to arrive", func() bool { return count(t, standby.URL("postgres"), "SELECT count(*) FROM things") == 1 })

		both := primary.URL("postgres", standby)
		do(t, open(t, both), "INSERT INTO things VALUES (2)")
		until(t, "the row to arrive", func() bool { return count(t, standby.URL("postgres"), "SELECT count(*) FROM things") == 2 })
		primary.Kill()
		standby.Promote(t)
		do(t, open(t, both), "INSERT INTO things VALUES (3)")
		if n := count(t, both, "SELECT count(*) FROM things"); n != 3 {
			t.Errorf("%d rows", n)
		}
	})
	t.Run("loses what was committed while WAL did not flow, if asynchronous", func(t *testing.T) {
		primary := Start(t, Options{Durable: true})
		conn := open(t, primary.URL("postgres"))
		do(t, conn, "CREATE TABLE things (id int)")
		standby := primary.Standby(t)
		primary.PauseSenders()
		do(t, conn, "INSERT INTO things VALUES (1)")
		primary.Kill()
		standby.Promote(t)
		if n := count(t, standby.URL("postgres"), "SELECT count(*) FROM things"); n != 0 {
			t.Errorf("%d rows: the senders were not paused", n)
		}
	})
	t.Run("catches up after a pause, however much was written", func(t *testing.T) {
		primary := Start(t, Options{Conf: map[string]string{"max_wal_size": "8MB"}})
		conn := open(t, primary.URL("postgres"))
		do(t, conn, "CREATE TABLE things (id int)")
		standby := primary.Standby(t)
		standby.Pause()
		for range 3 {
			do(t, conn, "INSERT INTO things SELECT generate_series(1, 100000)")
			do(t, conn, "CHECKPOINT")
		}
		standby.Resume()
		until(t, "the rows to arrive", func() bool { return count(t, standby.URL("postgres"), "SELECT count(*) FROM things") == 300000 })
	})
}

func TestSynchronousStandbyHasAllThatReturned(t *testing.T) {
	primary := Start(t, Options{Synchronous: true})
	conn := open(t, primary.URL("postgres"))
	do(t, conn, "CREATE TABLE things (id int)")
	standby := primary.Standby(t)
	second := primary.Standby(t)
	do(t, conn, "INSERT INTO things VALUES (1)")
	if n := count(t, standby.URL("postgres"), "SELECT count(*) FROM things"); n != 1 {
		t.Errorf("%d rows at the return of the commit", n)
	}

	primary.PauseSenders()
	committed := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "INSERT INTO things VALUES (2)")
		committed <- err
	}()
	until(t, "the commit to wait", func() bool {
		return count(t, primary.URL("postgres"), "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1
	})
	primary.Resume()
	must(t, <-committed)

	primary.PauseSenders()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(ctx, "INSERT INTO things VALUES (3)"); err == nil {
		t.Error("a commit returned that no standby has seen")
	}
	primary.Kill()
	standby.Promote(t)
	do(t, open(t, primary.URL("postgres", standby, second)), "INSERT INTO things VALUES (4)") // waits for nobody
	if n := count(t, standby.URL("postgres"), "SELECT count(*) FROM things WHERE id <> 3"); n != 3 {
		t.Errorf("%d rows", n)
	}
}

func TestURLOfSeveralServersIsOneForPgx(t *testing.T) {
	a := &Server{dir: &directory{path: "/a"}, port: 1}
	b := &Server{dir: &directory{path: "/b"}, port: 2}
	config, err := pgx.ParseConfig(a.URL("a database", b))
	must(t, err)
	if len(config.Fallbacks) != 1 || config.Database != "a database" || config.Host != "/a/socket" ||
		config.Fallbacks[0].Host != "/b/socket" || config.Port != 1 || config.Fallbacks[0].Port != 2 {
		t.Errorf("config is %+v", config)
	}
}
