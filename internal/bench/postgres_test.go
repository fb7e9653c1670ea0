package bench

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/pgtest"
)

// startPostgreSQL starts a server whose commits survive a crash.
func startPostgreSQL(tb testing.TB) *pgtest.Server {
	tb.Helper()
	return pgtest.Start(tb, pgtest.Options{Durable: true, Conf: map[string]string{
		"shared_buffers":  "256MB",
		"max_connections": "300",
		"max_wal_size":    "2GB",
	}})
}

func createDatabase(tb testing.TB, server *pgtest.Server, name string) {
	tb.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		tb.Fatal(err)
	}
}
