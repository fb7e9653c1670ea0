package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/pgtest"
)

// TestTheSecretsOfDeployOpenADatabase pastes what deploy/README.md shows, and takes
// the password from where compose.yaml has it, and from where Kubernetes has it.
func TestTheSecretsOfDeployOpenADatabase(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	text, err := os.ReadFile("../../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	n := newcomer{dir: t.TempDir()}
	if out, err := n.shell(t, readmeBlock(t, string(text), "secrets")).Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, owner := range map[string]uint32{"master-key": 65532, "pgpass": 65532, "postgres-password": 999} {
		info, err := os.Stat(filepath.Join(n.dir, "secrets", name))
		if err != nil || info.Mode().Perm() != 0o400 || info.Sys().(*syscall.Stat_t).Uid != owner {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	password := strings.TrimSpace(string(must(os.ReadFile(filepath.Join(n.dir, "secrets/postgres-password")))(t)))
	server := pgtest.Start(t, pgtest.Options{TCP: true})
	host, port := owns(t, server.URL("postgres"), password)
	pgpass := strings.Replace(string(must(os.ReadFile(filepath.Join(n.dir, "secrets/pgpass")))(t)), "postgres:5432:", host+":"+port+":", 1)
	path := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(path, []byte(pgpass), 0o400); err != nil {
		t.Fatal(err)
	}
	store := "postgres://cambio@" + net.JoinHostPort(host, port) + "/cambio"
	for name, env := range map[string][]string{
		"a file":     {"CAMBIO_STORE=" + store + "?passfile=" + path},
		"a variable": {"CAMBIO_STORE=" + store, "PGPASSWORD=" + password},
	} {
		migrate := n.shell(t, "cambio migrate")
		migrate.Env = append(migrate.Env, env...)
		if out, err := migrate.Output(); err != nil {
			t.Errorf("by %s: %v: %s", name, err, out)
		}
	}
	if out, err := n.shell(t, "CAMBIO_STORE="+store+" cambio migrate").Output(); err == nil {
		t.Errorf("it asks for no password, so this proves nothing: %s", out)
	}
}

// owns makes the database that compose.yaml makes, and its owner.
func owns(t *testing.T, url, password string) (host, port string) {
	t.Helper()
	conn := must(pgx.Connect(t.Context(), url))(t)
	defer func() { _ = conn.Close(t.Context()) }()
	for _, statement := range []string{`CREATE ROLE cambio LOGIN PASSWORD '` + password + `'`, `CREATE DATABASE cambio OWNER cambio`} {
		must(conn.Exec(t.Context(), statement))(t)
	}
	return conn.Config().Host, strconv.Itoa(int(conn.Config().Port))
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
