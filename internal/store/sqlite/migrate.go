package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"

	"github.com/cambio-auth/cambio/internal/store/schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	applicationID = 1130458466 // as in the first migration
	versionTable  = "schema_version"
)

var errForeign = errors.New("it belongs to another application; choose another path")

// inspect reads the version of a database's schema: 0 for an empty one. What a
// binary must know at least to run on it is SQLite's user_version, 0 where no binary
// has said so. It fails with errForeign for the database of another application, and
// for a version that this binary must not run on.
func inspect(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}) (state schema.State, err error) {
	if state.Versions, err = schema.Read(migrations, "migrations"); err != nil {
		return state, err
	}
	var application, tables int64
	err = db.QueryRowContext(ctx, `SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id, pragma_user_version`).Scan(&application, &state.Needs, &tables)
	switch {
	case err != nil:
		return state, err
	case application == 0 && tables == 0:
		return state, nil
	case application != applicationID:
		return state, errForeign
	}
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versionTable).Scan(&state.Version)
	if err != nil {
		return state, err
	}
	return state, state.Check()
}

// Schema tells of the schema of the database at path, and changes nothing: a file
// that is not there is an empty database. Its errors are those of Open.
func Schema(ctx context.Context, path string) (state schema.State, err error) {
	if state, err = schemaOf(ctx, path); err != nil {
		return schema.State{}, openError(path, err)
	}
	return state, nil
}

func schemaOf(ctx context.Context, path string) (state schema.State, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return state, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		state.Versions, err = schema.Read(migrations, "migrations")
		return state, err
	}
	return inspectFile(ctx, path)
}

// migrate brings the database to the newest schema, in one transaction: of
// several processes that start at once, one migrates, the others wait and find
// it done; and one that fails leaves the database as it was. A database that a newer
// binary has migrated, and that takes us, is left as it is.
func (w *writer) migrate(ctx context.Context) error {
	return w.do(ctx, func(tx *transaction) error {
		state, err := inspect(ctx, w.conn)
		if err != nil {
			return err
		}
		if !state.Behind() {
			return tx.mayWrite(ctx)
		}
		tx.wrote = true
		if _, err := tx.exec(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, max(state.Needs, state.Oldest))); err != nil {
			return err
		}
		return w.conn.Raw(func(conn any) error {
			return up(ctx, conn.(driver.Conn))
		})
	})
}

// mayWrite fails if the file is read-only, which BEGIN IMMEDIATE lets pass.
func (tx *transaction) mayWrite(ctx context.Context) error {
	_, err := tx.exec(ctx, `DELETE FROM keyspaces WHERE FALSE`)
	return err
}

// up runs the pending migrations on a connection that is in a transaction.
func up(ctx context.Context, conn driver.Conn) error {
	db := sql.OpenDB(nested{conn})
	defer db.Close()
	db.SetMaxOpenConns(1)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// nested is a database on a connection that is in a transaction already: its
// transactions are savepoints, and closing it leaves the connection open. goose
// can only begin and commit by itself, and would let go of the write lock between
// looking which migrations are due and running them.
type nested struct{ driver.Conn }

// Connect implements driver.Connector.
func (n nested) Connect(context.Context) (driver.Conn, error) { return n, nil }

// Driver implements driver.Connector.
func (n nested) Driver() driver.Driver { return nil }

// Close implements driver.Conn.
func (n nested) Close() error { return nil }

// BeginTx implements driver.ConnBeginTx.
func (n nested) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	_, err := n.ExecContext(ctx, `SAVEPOINT migration`, nil)
	return savepoint{n}, err
}

// ExecContext implements driver.ExecerContext.
func (n nested) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return n.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

// QueryContext implements driver.QueryerContext.
func (n nested) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return n.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

type savepoint struct{ n nested }

func (s savepoint) Commit() error { return s.exec(`RELEASE migration`) }

func (s savepoint) Rollback() error {
	return errors.Join(s.exec(`ROLLBACK TO migration`), s.exec(`RELEASE migration`))
}

func (s savepoint) exec(query string) error {
	_, err := s.n.ExecContext(context.Background(), query, nil)
	return err
}
