package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	applicationID = 1130458466 // as in the first migration
	versionTable  = "schema_version"
)

var errForeign = errors.New("it belongs to another application; choose another path")

// inspect reads the version of a database's schema: 0 for an empty one. It fails
// with errForeign for the database of another application, and for a version
// that this binary does not know.
func inspect(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}) (int64, error) {
	var application, tables, version int64
	err := db.QueryRowContext(ctx, `SELECT application_id, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id`).Scan(&application, &tables)
	switch {
	case err != nil:
		return 0, err
	case application == 0 && tables == 0:
		return 0, nil
	case application != applicationID:
		return 0, errForeign
	}
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versionTable).Scan(&version)
	if err != nil {
		return 0, err
	}
	newest, err := newestMigration()
	if err == nil && version > newest {
		err = fmt.Errorf("its schema is version %d and this binary knows none above %d; run the newer binary that made it",
			version, newest)
	}
	return version, err
}

func newestMigration() (int64, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, err
	}
	return goose.NumericComponent(names[len(names)-1]) // Glob sorts
}

// migrate brings the database to the newest schema, in one transaction: of
// several processes that start at once, one migrates, the others wait and find
// it done; and one that fails leaves the database as it was.
func (w *writer) migrate(ctx context.Context) error {
	newest, err := newestMigration()
	if err != nil {
		return err
	}
	return w.do(ctx, func(tx *transaction) error {
		version, err := inspect(ctx, w.conn)
		if err != nil {
			return err
		}
		if version == newest {
			return tx.mayWrite(ctx)
		}
		tx.wrote = true
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
