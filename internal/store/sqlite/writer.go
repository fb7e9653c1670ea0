package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cambio-auth/cambio/internal/activity"
	"github.com/cambio-auth/cambio/verifier"
)

var errClosed = errors.New("store is closed")

// writer is the one connection of this process that writes.
type writer struct {
	db      *sql.DB
	turn    chan struct{} // holds a token while somebody uses what is below
	closed  bool
	counted activity.Counter
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt // prepared on conn, by their text
}

func newWriter(db *sql.DB) *writer {
	return &writer{db: db, turn: make(chan struct{}, 1)}
}

// transaction is what work does inside writer.do.
type transaction struct {
	w      *writer
	wrote  bool
	failed error // of a statement
}

// do runs work holding the database's write lock, and commits what it wrote.
// If work or a statement of it fails, or work panics or wrote nothing, the
// transaction is rolled back, so that asking costs no write.
//
// ctx bounds the wait for the lock, and work; it does not reach COMMIT, whose
// outcome would be unknown if it were cut short. An error that wraps
// verifier.ErrOutcomeUnknown means that the commit may have happened; any other,
// that it did not.
func (w *writer) do(ctx context.Context, work func(*transaction) error) error {
	err := w.attempt(ctx, work)
	w.counted.Failed(kindOf(err))
	return err
}

func (w *writer) attempt(ctx context.Context, work func(*transaction) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting to write: %w", ctx.Err())
	}
	defer func() { <-w.turn }()

	if err := w.connect(ctx); err != nil {
		return err
	}
	open := true
	defer func() {
		if open {
			w.rollback(ctx)
		}
	}()
	if _, err := w.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
		return fmt.Errorf("waiting for the database's write lock: %w", err)
	}
	tx := &transaction{w: w}
	if err := work(tx); err != nil {
		return err
	}
	if tx.failed != nil || !tx.wrote {
		return tx.failed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	open = false
	return w.commit(ctx)
}

// commit ends the transaction, whatever becomes of ctx.
func (w *writer) commit(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	_, err := w.exec(ctx, `COMMIT`)
	if err == nil {
		return nil
	}
	w.rollback(ctx)
	if surelyUncommitted(codeOf(err)) {
		return fmt.Errorf("committing: %w", err)
	}
	return fmt.Errorf("%w: committing: %w", verifier.ErrOutcomeUnknown, err)
}

// surelyUncommitted reports whether a COMMIT that failed with this code has left
// no commit frame in the log: it could not begin, or ran out of space before the
// frame, which is the last, was whole. After any other error, above all one of
// fsync, a crash may bring the transaction back.
func surelyUncommitted(code int) bool {
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_READONLY:
		return true
	}
	return false
}

// rollback ends the transaction, if one is open. A connection that cannot even
// do that is given up, and with it its transaction.
func (w *writer) rollback(ctx context.Context) {
	_, err := w.exec(context.WithoutCancel(ctx), `ROLLBACK`)
	if err != nil && !strings.Contains(err.Error(), "no transaction is active") {
		w.disconnect()
	}
}

// connect makes sure that there is a connection.
func (w *writer) connect(ctx context.Context) error {
	if w.closed {
		return errClosed
	}
	if w.conn != nil {
		return nil
	}
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	w.conn, w.stmts = conn, map[string]*sql.Stmt{}
	return nil
}

// disconnect closes the connection for good, instead of returning it to a pool.
func (w *writer) disconnect() {
	if w.conn == nil {
		return
	}
	for _, stmt := range w.stmts {
		_ = stmt.Close()
	}
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.conn.Close()
	w.conn, w.stmts = nil, nil
}

func (w *writer) close() error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	w.closed = true
	w.disconnect()
	return w.db.Close()
}

// prepared returns the statement of this text. Texts are constants, so their
// number is small.
func (w *writer) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := w.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	w.stmts[query] = stmt
	return stmt, nil
}

func (w *writer) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := w.prepared(ctx, query) //nolint:sqlclosecheck // kept until disconnect
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

// exec runs a statement and reports how many rows it wrote.
func (tx *transaction) exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := tx.w.exec(ctx, query, args...)
	if err != nil {
		tx.failed = err
		return 0, err
	}
	n, err := result.RowsAffected()
	tx.wrote = tx.wrote || n > 0 || err != nil
	return n, err
}

func (tx *transaction) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := tx.w.prepared(ctx, query) //nolint:sqlclosecheck // kept until disconnect
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// codeOf returns SQLite's extended result code, or 0 for an error of another
// kind.
func codeOf(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}
