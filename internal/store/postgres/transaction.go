package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cambio-auth/cambio/verifier"
)

const (
	begin    = `BEGIN ISOLATION LEVEL READ COMMITTED`
	commit   = `COMMIT`
	rollback = `ROLLBACK`
)

// maxTries is how often a transaction is run in which nothing was committed.
const maxTries = 5

// grace is how long a COMMIT may go on after its caller has lost interest, which
// is not the same as its time being up.
const grace = 5 * time.Second

var (
	errReadOnly   = errors.New("the server accepts no writes: it is a standby")
	errLost       = errors.New("connection lost before anything was committed")
	errRolledBack = errors.New("PostgreSQL rolled back what it was to commit")
)

// statement is one of several that are sent together.
type statement struct {
	sql  string
	args []any
}

// transaction is what work does inside Store.transact.
type transaction struct {
	conn  *pgxpool.Conn
	wrote bool // already, so that there is something to commit
}

// transact runs work, which calls begin first, in a transaction, and commits it
// together with the statements that work returns. Where nothing was written, the
// transaction is rolled back, so that asking costs no flush of the log. If work
// fails, panics or ends its goroutine, nothing is committed.
//
// A transaction that PostgreSQL gave up for the sake of another (40001, 40P01), or
// whose connection turned out to be dead before COMMIT was sent, is run again on
// another one, work included. ctx bounds everything, the wait for a connection
// included. An error that wraps verifier.ErrOutcomeUnknown means that the commit
// may have happened; any other, that it did not.
func (s *Store) transact(ctx context.Context, work func(*transaction) ([]statement, error)) error {
	for try := 1; ; try++ {
		err := s.attempt(ctx, work)
		if err == nil {
			return nil
		}
		err = s.broken(err)
		if try == maxTries || ctx.Err() != nil || !mayRunAgain(err) {
			s.counted.Failed(kindOf(err))
			return err
		}
		s.counted.Retried()
	}
}

func (s *Store) attempt(ctx context.Context, work func(*transaction) ([]statement, error)) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Release() // closes it if a transaction is still open
	tx := &transaction{conn: conn}
	statements, err := work(tx)
	if err != nil || len(statements) == 0 && !tx.wrote {
		tx.rollback(ctx)
		return err
	}
	if err := ctx.Err(); err != nil {
		tx.rollback(ctx)
		return err
	}
	if err := tx.commit(ctx, statements); err != nil {
		tx.rollback(ctx)
		return err
	}
	return nil
}

// begin opens the transaction and sends statements along; read, unless it is nil,
// takes their results. Nothing is committed if it fails.
func (tx *transaction) begin(ctx context.Context, statements []statement, read func(pgx.BatchResults) error) error {
	var batch pgx.Batch
	batch.Queue(begin)
	return tx.send(ctx, &batch, statements, func(results pgx.BatchResults) error {
		_, err := results.Exec()
		if err == nil && read != nil {
			err = read(results)
		}
		return err
	})
}

// ask sends more statements in the transaction that begin has opened.
func (tx *transaction) ask(ctx context.Context, statements []statement, read func(pgx.BatchResults) error) error {
	var batch pgx.Batch
	return tx.send(ctx, &batch, statements, read)
}

func (tx *transaction) send(ctx context.Context, batch *pgx.Batch, statements []statement, read func(pgx.BatchResults) error) error {
	for _, s := range statements {
		batch.Queue(s.sql, s.args...)
	}
	results := tx.conn.SendBatch(ctx, batch)
	err := read(results)
	closeErr := results.Close()
	if err == nil {
		err = closeErr
	}
	return lost(ctx, tx.conn, err)
}

// lost marks an err that has closed conn, but not because ctx has ended.
func lost(ctx context.Context, conn *pgxpool.Conn, err error) error {
	if err != nil && ctx.Err() == nil && conn.Conn().IsClosed() {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

// write is begin for statements that write. It returns how many rows each of them
// affected.
func (tx *transaction) write(ctx context.Context, statements ...statement) ([]int64, error) {
	tx.wrote = true
	affected := make([]int64, len(statements))
	err := tx.begin(ctx, statements, counting(affected))
	return affected, err
}

// exec is write in the transaction that begin has opened.
func (tx *transaction) exec(ctx context.Context, statements ...statement) ([]int64, error) {
	tx.wrote = true
	affected := make([]int64, len(statements))
	err := tx.ask(ctx, statements, counting(affected))
	return affected, err
}

// counting reads how many rows were affected.
func counting(affected []int64) func(pgx.BatchResults) error {
	return func(results pgx.BatchResults) error {
		for i := range affected {
			tag, err := results.Exec()
			if err != nil {
				return err
			}
			affected[i] = tag.RowsAffected()
		}
		return nil
	}
}

// rowsOf sends statements in the transaction that begin has opened, and returns
// the rows of the last one.
func rowsOf[T any](ctx context.Context, tx *transaction, scan func(pgx.CollectableRow) (T, error), statements ...statement) (all []T, err error) {
	err = tx.ask(ctx, statements, func(results pgx.BatchResults) error {
		for range len(statements) - 1 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		all, err = collect(rows, scan)
		return err
	})
	return all, err
}

// commit sends statements and COMMIT in one round trip. PostgreSQL executes them
// in order and, after one that fails, none.
func (tx *transaction) commit(ctx context.Context, statements []statement) error {
	ctx, cancel := untilDeadline(ctx)
	defer cancel()
	var batch pgx.Batch
	for _, s := range statements {
		batch.Queue(s.sql, s.args...)
	}
	batch.Queue(commit)
	forgetWarnings(tx.conn.Conn())
	results := tx.conn.SendBatch(ctx, &batch)
	defer results.Close()
	for range statements {
		if _, err := results.Exec(); err != nil {
			return commitError(err)
		}
	}
	tag, err := results.Exec()
	switch {
	case err != nil:
		return commitError(err)
	case tag.String() == rollback:
		return errRolledBack
	case tag.String() != commit || warned(tx.conn.Conn()):
		return fmt.Errorf("%w: COMMIT was answered %q, with a warning: %t", verifier.ErrOutcomeUnknown, tag, warned(tx.conn.Conn()))
	}
	return nil
}

// rollback ends the transaction if one is open. Where that fails, the connection
// is closed when it is released, and its transaction ends with it.
func (tx *transaction) rollback(ctx context.Context) {
	conn := tx.conn.Conn()
	if conn.IsClosed() || conn.PgConn().TxStatus() == 'I' || conn.PgConn().IsBusy() {
		return
	}
	ctx, cancel := untilDeadline(ctx)
	defer cancel()
	_, _ = conn.Exec(ctx, rollback)
}

// untilDeadline has the deadline of ctx, but outlives its cancellation by grace: a
// caller that leaves while a COMMIT is on its way would make the outcome unknown
// for no gain.
func untilDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	var until context.Context
	var cancel context.CancelFunc
	if deadline, ok := ctx.Deadline(); ok {
		until, cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline)
	} else {
		until, cancel = context.WithCancel(context.WithoutCancel(ctx))
	}
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return until, func() {
		stop()
		cancel()
	}
}

// commitError tells whether a COMMIT that was to be sent may have happened.
func commitError(err error) error {
	if surelyUncommitted(err) {
		return fmt.Errorf("committing: %w", err)
	}
	return fmt.Errorf("%w: committing: %w", verifier.ErrOutcomeUnknown, err)
}

// surelyUncommitted reports whether COMMIT was not sent, or was sent to a server
// that says itself why it did not get that far. A pooler in between speaks the
// same language about servers it has lost, hence the codes.
func surelyUncommitted(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return pgconn.SafeToRetry(err)
	}
	if server.SeverityUnlocalized != "ERROR" {
		return false
	}
	switch {
	case strings.HasPrefix(server.Code, "08"), strings.HasPrefix(server.Code, "57P"), server.Code == "40003":
		return false
	}
	return true
}

// mayRunAgain reports whether nothing was committed and another try may succeed.
func mayRunAgain(err error) bool {
	if errors.Is(err, verifier.ErrOutcomeUnknown) {
		return false
	}
	code := codeOf(err)
	return code == "40001" || code == "40P01" || errors.Is(err, errLost)
}

// broken replaces every connection if err says that they lead to the wrong server,
// or to none, and returns err.
func (s *Store) broken(err error) error {
	if codeOf(err) == "25006" || errors.Is(err, errReadOnly) || errors.Is(err, errLost) {
		s.pool.Reset()
	}
	return err
}

// codeOf is the SQLSTATE of err, if PostgreSQL sent it.
func codeOf(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// A warning while COMMIT runs says that it was not the COMMIT that was asked for.
const warnedKey = "cambio.warned"

func onNotice(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		conn.CustomData()[warnedKey] = true
	}
}

func forgetWarnings(conn *pgx.Conn) { delete(conn.PgConn().CustomData(), warnedKey) }

func warned(conn *pgx.Conn) bool { return conn.PgConn().CustomData()[warnedKey] != nil }
