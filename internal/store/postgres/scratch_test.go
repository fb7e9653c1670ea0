package postgres_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

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
	// Options are read after other settings, so this undoes ours as a pooler may.
	_, err = postgres.OpenScratch(t.Context(), url+"&options=-c%20search_path%3Dpublic")
	if err == nil || !strings.Contains(err.Error(), "search_path") {
		t.Errorf("error is %v", err)
	}
	if n := schemas(t, db); n != 0 {
		t.Errorf("%d schemas are left", n)
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
