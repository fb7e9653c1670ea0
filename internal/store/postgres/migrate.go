package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/cambio-auth/cambio/internal/store/schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

const versionTable = "cambio_schema_version"

// migrationLock is the advisory lock of a server that migrates: "Cambio".
const migrationLock = 0x43616d62696f

// oldestTable holds, in one row, the version that a binary must know at least to run
// on this schema. It is read only by binaries that the schema is too new for.
const oldestTable = "cambio_schema_oldest"

// migrate brings the database to the newest schema. Of several servers that start
// at once, one migrates and the others look every second whether it has done. A
// database that is up to date is not locked, nor need its user own it; one that a
// newer binary has migrated is left as it is, and taken if it says that it takes us.
func migrate(ctx context.Context, cfg *pgx.ConnConfig) error {
	state, err := schemaState(ctx, cfg)
	if err != nil {
		return err
	}
	if state.Behind() {
		if err := up(ctx, cfg, state.Oldest); err != nil {
			return err
		}
		if state, err = schemaState(ctx, cfg); err != nil {
			return err
		}
	}
	return state.Check()
}

// Schema tells of the schema of the database that url names, and changes nothing.
// Its errors are those of Open.
func Schema(ctx context.Context, url string) (schema.State, error) {
	cfg, err := configure(url, Options{})
	if err != nil {
		return schema.State{}, openError(err)
	}
	state, err := schemaState(ctx, cfg.ConnConfig)
	if err == nil {
		err = state.Check()
	}
	if err != nil {
		return schema.State{}, openError(err)
	}
	return state, nil
}

func schemaState(ctx context.Context, cfg *pgx.ConnConfig) (state schema.State, err error) {
	if state.Versions, err = schema.Read(migrations, "migrations"); err != nil {
		return state, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return state, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versionTable+` WHERE is_applied`).Scan(&state.Version); err != nil {
		if codeOf(err) == "42P01" { // no such table
			err = nil
		}
		return state, err
	}
	err = conn.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM `+oldestTable).Scan(&state.Needs)
	if code := codeOf(err); code == "42P01" || code == "42501" { // it does not say, or not to us
		err = nil
	}
	return state, err
}

// recording is a lock for migrations whose holder has recorded what a binary must
// know from now on. That comes before the first migration, so that no old binary
// starts on a schema that is not for it, however the migrations end; and it only
// ever grows.
type recording struct {
	lock.SessionLocker
	oldest int64
}

// SessionLock implements lock.SessionLocker. The lock ends with conn if it fails.
func (r recording) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if err := r.SessionLocker.SessionLock(ctx, conn); err != nil {
		return err
	}
	for _, statement := range []string{
		`CREATE TABLE IF NOT EXISTS ` + oldestTable + ` (version bigint NOT NULL)`,
		`INSERT INTO ` + oldestTable + ` (version) SELECT 0 WHERE NOT EXISTS (SELECT FROM ` + oldestTable + `)`,
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	_, err := conn.ExecContext(ctx, `UPDATE `+oldestTable+` SET version = $1 WHERE version < $1`, r.oldest)
	return err
}

// up runs the pending migrations. Servers of the version before may be at work, and
// lock the same tables in another order; of a deadlock nothing is left, so it is
// run again.
func up(ctx context.Context, cfg *pgx.ConnConfig, oldest int64) (err error) {
	const tries = 10
	for range tries {
		if err = upOnce(ctx, cfg, oldest); codeOf(err) != "40P01" {
			return err
		}
	}
	return err
}

func upOnce(ctx context.Context, cfg *pgx.ConnConfig, oldest int64) (err error) {
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
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(recording{locker, oldest}),
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}
