package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

const versionTable = "cambio_schema_version"

// migrationLock is the advisory lock of a server that migrates: "Cambio".
const migrationLock = 0x43616d62696f

// migrate brings the database to the newest schema. Of several servers that start
// at once, one migrates and the others look every second whether it has done. A
// database that is up to date is not locked, nor need its user own it.
func migrate(ctx context.Context, cfg *pgx.ConnConfig) error {
	newest, err := newestMigration()
	if err != nil {
		return err
	}
	version, err := schemaVersion(ctx, cfg)
	if err != nil || version == newest {
		return err
	}
	if version < newest {
		if err := up(ctx, cfg); err != nil {
			return err
		}
		if version, err = schemaVersion(ctx, cfg); err != nil {
			return err
		}
	}
	if version != newest {
		return fmt.Errorf("its schema is version %d and this binary knows none above %d; run the newer binary that made it",
			version, newest)
	}
	return nil
}

func newestMigration() (int64, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, err
	}
	return goose.NumericComponent(names[len(names)-1]) // Glob sorts
}

// schemaVersion is 0 for an empty database.
func schemaVersion(ctx context.Context, cfg *pgx.ConnConfig) (version int64, err error) {
	conn, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versionTable+` WHERE is_applied`).Scan(&version)
	if codeOf(err) == "42P01" { // no such table
		return 0, nil
	}
	return version, err
}

// up runs the pending migrations.
func up(ctx context.Context, cfg *pgx.ConnConfig) (err error) {
	db := stdlib.OpenDB(*cfg.Copy())
	defer func() { err = errors.Join(err, db.Close()) }()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, 300))
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker),
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}
