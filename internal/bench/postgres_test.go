package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/pgtest"
)

// startPostgreSQL starts a server whose commits survive a crash. Its directory
// may be in memory, where nothing waits for a disk, so its log is moved to where
// temporary files are.
func startPostgreSQL(tb testing.TB) *pgtest.Server {
	tb.Helper()
	disk, err := os.MkdirTemp("", "cambio-bench-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(disk) })
	server := pgtest.Start(tb, pgtest.Options{Durable: true, Conf: map[string]string{
		"shared_buffers":  "1GB",
		"max_connections": "300",
		"max_wal_size":    "2GB",
	}})
	var data string
	withPostgreSQL(tb, server, func(ctx context.Context, db *pgx.Conn) error {
		return db.QueryRow(ctx, "SHOW data_directory").Scan(&data)
	})
	server.Stop()
	if err := moveLog(data, disk); err != nil {
		tb.Fatalf("moving the log of PostgreSQL: %v", err)
	}
	server.Restart(tb)
	return server
}

func moveLog(data, disk string) error {
	if err := os.Chmod(disk, 0o755); err != nil {
		return err
	}
	from, to := filepath.Join(data, "pg_wal"), filepath.Join(disk, "pg_wal")
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := os.RemoveAll(from); err != nil {
		return err
	}
	return os.Symlink(to, from)
}

func withPostgreSQL(tb testing.TB, server *pgtest.Server, do func(ctx context.Context, db *pgx.Conn) error) {
	tb.Helper()
	ctx := context.Background()
	db, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close(ctx)
	if err := do(ctx, db); err != nil {
		tb.Fatal(err)
	}
}

func createDatabase(tb testing.TB, server *pgtest.Server, name string) {
	tb.Helper()
	withPostgreSQL(tb, server, func(ctx context.Context, db *pgx.Conn) error {
		_, err := db.Exec(ctx, "CREATE DATABASE "+name)
		return err
	})
}
