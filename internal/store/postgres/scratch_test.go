package postgres_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/postgres"
)

func schemas(t *testing.T, db *pgx.Conn) (n int) {
	t.Helper()
	err := db.QueryRow(t.Context(), `SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, $1)`, postgres.ScratchPrefix).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAScratchIsApartFromTheRealStoreAndLeavesNothing(t *testing.T) {
	url := database(t)
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	scratch, err := postgres.OpenScratch(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if scratch.Others != 0 || !strings.HasPrefix(scratch.Version, "PostgreSQL 1") {
		t.Errorf("found %+v", scratch)
	}
	if err := scratch.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	inside := open(t, scratch.URL)
	if _, err := manage.New(inside).CreateClient(t.Context(), manage.NewClient{ID: "bench"}); err != nil {
		t.Fatal(err)
	}
	if real, err := open(t, url).Clients(t.Context()); err != nil || len(real) != 0 {
		t.Errorf("the real store has %v, %v", real, err)
	}
	if made, err := inside.Clients(t.Context()); err != nil || len(made) != 1 {
		t.Errorf("the scratch has %v, %v", made, err)
	}
	if err := inside.Close(); err != nil {
		t.Error(err)
	}
	if err := scratch.Close(); err != nil {
		t.Error(err)
	}
	if n := schemas(t, db); n != 0 {
		t.Errorf("%d schemas are left", n)
	}
}

func TestAScratchKnowsWhoElseIsThere(t *testing.T) {
	url := database(t)
	open(t, url)
	scratch, err := postgres.OpenScratch(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer scratch.Close()
	if scratch.Others != 1 {
		t.Errorf("%d connections, want one", scratch.Others)
	}
}

func TestAScratchIsDroppedThoughItsConnectionIsLost(t *testing.T) {
	url := database(t)
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	scratch, err := postgres.OpenScratch(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	run(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cambio bench'`)
	if err := scratch.Commit(t.Context()); err == nil {
		t.Error("the connection still works")
	}
	if err := scratch.Close(); err != nil {
		t.Error(err)
	}
	if n := schemas(t, db); n != 0 {
		t.Errorf("%d schemas are left", n)
	}
}

func TestAScratchIsRefusedWhereTheSearchPathIsNotKept(t *testing.T) {
	url := database(t)
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	_, err = postgres.OpenScratch(t.Context(), forgetful(t, url))
	if err == nil || !strings.Contains(err.Error(), "does not keep its search_path") {
		t.Errorf("error is %v", err)
	}
	if n := schemas(t, db); n != 0 {
		t.Errorf("%d schemas are left", n)
	}
}

// forgetful is the URL of a pooler that drops the search_path of its clients, as one
// does that is told to ignore_startup_parameters.
func forgetful(t *testing.T, url string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	pooler, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pooler.Close() })
	network, server := pgconn.NetworkAddress(cfg.Host, cfg.Port)
	go func() {
		for {
			from, err := pooler.Accept()
			if err != nil {
				return
			}
			go func() {
				defer from.Close()
				to, err := net.Dial(network, server)
				if err != nil {
					t.Error(err)
					return
				}
				defer to.Close()
				if err := forget(from, to); err != nil {
					t.Error(err)
				}
			}()
		}
	}()
	return "postgres://postgres@" + pooler.Addr().String() + "/" + cfg.Database + "?sslmode=disable&search_path=mine"
}

func forget(from, to net.Conn) error {
	startup, err := pgproto3.NewBackend(from, from).ReceiveStartupMessage()
	if err != nil {
		return err
	}
	message := startup.(*pgproto3.StartupMessage)
	delete(message.Parameters, "search_path")
	raw, err := message.Encode(nil)
	if err != nil {
		return err
	}
	if _, err := to.Write(raw); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(from, to) }()
	_, _ = io.Copy(to, from) // until the client leaves
	return nil
}

func TestASettingOfTheUserStaysAsItIsWritten(t *testing.T) {
	url := database(t) + "&options=-c%20work_mem%3D1234kB"
	scratch, err := postgres.OpenScratch(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer scratch.Close()
	s := open(t, scratch.URL)
	defer s.Close()
	if got, err := s.Setting(t.Context(), "work_mem"); got != "1234kB" || err != nil {
		t.Errorf("work_mem is %s, %v", got, err)
	}
}

func TestErrorsOfAScratchHoldNoPassword(t *testing.T) {
	for _, url := range []string{"postgres://me:hunter2@127.0.0.1:1/cambio", "postgres://me:hunter2/@host/x", "postgres://me:%zzhunter2@h/x"} {
		_, err := postgres.OpenScratch(t.Context(), url)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "CAMBIO_STORE: ") {
			t.Errorf("error is %v", err)
		}
	}
}
