// Package postgres keeps everything in PostgreSQL 13 or newer, for any number of
// servers at a time. It decides how the promises of verifier.Store,
// issuer.KeyStore, issuer.StatusStore, manage.Store, audit.Store and usage.Store are
// kept by PostgreSQL; the rules about keys it leaves to verifier and manage.
//
// # Why rows are locked like this
//
// An Update is one transaction of two round trips: lock and read, then write and
// commit; in between verifier decides in Go. What is decided on is read from the
// locked rows of budgets, by the statement that locks them, at READ COMMITTED: when
// it has to wait for another server, PostgreSQL reads the row again as that one
// left it. The same statement orders the rows by id before it locks them, since
// the order in which a join happens to find them would let two groups wait for each
// other. Whatever else locks several budgets must do it in the same order.
//
// A key that is revoked or disabled is refused whatever its budget says, so that is not
// locked, nor may decide change it. A lock makes PostgreSQL write (a transaction id, the
// row's header, a record of the rollback), and by that third more time such a key was
// told from one that does not exist.
//
// The lock is FOR NO KEY UPDATE, which lets a new key refer to a budget meanwhile.
// Keys, keyspaces and clients are not locked by an Update: they are read as they
// were when the statement began, and a change that had returned by then is seen.
//
// The clock is read by a statement of its own, sent along and executed when the
// locks are held. So it never runs backwards for a budget, however long the wait
// was. (An older now would be safe too: a rate limit then admits less, and a refill
// comes late but not twice, since the last one is read from the locked row.)
//
// # Why a revision is one row
//
// Servers ask for the statuses that changed after a revision, so no change may
// appear later with a lower one than they have seen. A sequence does not promise
// that. A row does, which a transaction locks when it changes a status and lets go
// of when that is visible. Exchanges have nothing to do with it. New keys lock it,
// and leave it as it is while their list has room.
//
// # Why changes lock in this order
//
// A Change locks keyspaces, then clients, keys, budgets, the revision, entries of
// status lists, and the head of the audit log last; whoever has locked one of these
// waits for none of those before it. So no two changes wait for each other, nor does
// one of them and an Update, which locks budgets and then nothing of the kind.
//
//   - Of several keyspaces, the one that always exists comes last, because all meet
//     there who change what clients know of imported keys. Clients, keys and budgets
//     are locked in the order of their ids, by the statement that locks them.
//   - Entries are taken under the lock of the revision, also by new keys, which
//     change nothing that was published: of two transactions that had each taken
//     some, each might draw one of the other's. The digests of new keys, too, can then
//     meet only such as are committed.
//   - The head of the log is one row for all, so it is locked when nothing else is
//     to be waited for, and what is written under it is sent along with COMMIT. What
//     is remembered for repeats comes at the end as well, on one side of the log or
//     the other, but always the same.
//
// What is locked is read by a statement of its own where it is made of more than the
// locked row. One that had to wait finds that row as it is, and those that it is
// joined to as they were.
//
// # Why a commit can be unknown
//
// From the moment when COMMIT may have left until its answer is read, a broken
// connection, an ended context or a dying server leaves open what became of it, and
// the error says so by wrapping verifier.ErrOutcomeUnknown. The same goes for a
// COMMIT that PostgreSQL answers with a warning: it has stopped waiting for its
// synchronous standby. An error that PostgreSQL itself reports for a statement or
// for COMMIT means that nothing was committed, and so does a COMMIT answered by
// "ROLLBACK".
//
// # Why ids are text
//
// Ids come from the application and have a readable prefix. As text they cost 20
// bytes a row more than uuid, and every kind of id that was ever imported fits.
//
// # Behind PgBouncer
//
// In transaction mode a server connection changes hands after each transaction, so
// nothing may be left on it: say default_query_exec_mode=exec in the URL. Then no
// statement is prepared, and the settings that are otherwise made for each
// connection are left to the operator, for the role of the server: plan_cache_mode
// = force_generic_plan, jit = off, synchronous_commit = on (or more) and
// idle_in_transaction_session_timeout = 10s. Migrations need a direct connection:
// let one command with such a URL run before the servers of a new version start.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cambio-auth/cambio/internal/activity"
)

// Store is an open database. It is safe for concurrent use.
type Store struct {
	pool     *pgxpool.Pool
	listSize int64
	grown    atomic.Int64 // keys that were added
	counted  activity.Counter
}

// The database's clock, in microseconds since 1970.
const clock = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// Ping reports whether the database answers and takes writes.
func (s *Store) Ping(ctx context.Context) error {
	err := s.read(ctx, func(conn *pgxpool.Conn) error {
		var readOnly bool
		err := conn.QueryRow(ctx, `SELECT current_setting('transaction_read_only')::boolean FROM keyspaces LIMIT 1`).Scan(&readOnly)
		if err == nil && readOnly {
			return errReadOnly
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("asking PostgreSQL: %w", err)
	}
	return nil
}

// Close waits for what is running and closes every connection. Every method fails
// afterwards; Close itself may be called again.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// read runs ask, which changes nothing, and again on another connection if the
// first turned out to be dead.
func (s *Store) read(ctx context.Context, ask func(*pgxpool.Conn) error) error {
	for try := 1; ; try++ {
		err := s.broken(s.readOnce(ctx, ask))
		if try == maxTries || !errors.Is(err, errLost) {
			s.counted.Failed(kindOf(err))
			return err
		}
		s.counted.Retried()
	}
}

func (s *Store) readOnce(ctx context.Context, ask func(*pgxpool.Conn) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Release()
	return lost(ctx, conn, ask(conn))
}

// query reads every row of a query.
func query[T any](ctx context.Context, s *Store, scan func(pgx.CollectableRow) (T, error), sql string, args ...any) (all []T, err error) {
	err = s.read(ctx, func(conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		all, err = collect(rows, scan)
		return err
	})
	return all, err
}

// collect reads every row and closes rows. Without rows it returns nil.
func collect[T any](rows pgx.Rows, scan func(pgx.CollectableRow) (T, error)) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// queryAt is query with the database's clock, in one round trip.
func queryAt[T any](ctx context.Context, s *Store, scan func(pgx.CollectableRow) (T, error), sql string, args ...any) (all []T, now time.Time, err error) {
	err = s.read(ctx, func(conn *pgxpool.Conn) error {
		var batch pgx.Batch
		batch.Queue(sql, args...)
		batch.Queue(`SELECT ` + clock)
		results := conn.SendBatch(ctx, &batch)
		defer results.Close()
		rows, err := results.Query()
		if err != nil {
			return err
		}
		if all, err = collect(rows, scan); err != nil {
			return err
		}
		now, err = scanClock(results.QueryRow())
		return err
	})
	return all, now, err
}

// scanClock reads what the database's clock said.
func scanClock(row pgx.Row) (time.Time, error) {
	var micros int64
	err := row.Scan(&micros)
	return instant(micros), err
}

func instant(micros int64) time.Time { return time.UnixMicro(micros).UTC() }
