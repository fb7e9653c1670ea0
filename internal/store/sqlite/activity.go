package sqlite

import (
	"context"
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cambio-auth/cambio/internal/activity"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// Activity returns what was counted of transactions that write, since the store was
// opened.
func (s *Store) Activity() activity.Counts { return s.write.counted.Counts() }

// kindOf names the fault of an error that a caller is told.
func kindOf(err error) activity.Kind {
	if err == nil { // as nearly always: what follows allocates
		return activity.None
	}
	code := codeOf(err)
	switch {
	case errors.Is(err, verifier.ErrOutcomeUnknown):
		return activity.OutcomeUnknown
	case errors.Is(err, verifier.ErrBadRecord):
		return activity.BadRecord
	case code != 0:
		return kindOfCode(code & 0xff)
	case errors.Is(err, context.DeadlineExceeded):
		return activity.Timeout
	}
	return activity.None
}

// kindOfCode reads a primary result code.
func kindOfCode(code int) activity.Kind {
	switch code {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return activity.Conflict
	case sqlite3.SQLITE_INTERRUPT:
		return activity.Timeout
	case sqlite3.SQLITE_READONLY:
		return activity.ReadOnly
	case sqlite3.SQLITE_FULL:
		return activity.Full
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN:
		return activity.Disk
	case sqlite3.SQLITE_CONSTRAINT:
		return activity.None // the matter of who asked
	}
	return activity.Other
}

const countKeys = `SELECT keyspace, CASE WHEN state = 'active' AND expires_at <= ? THEN 'expired' ELSE state END AS standing, count(*)
	FROM keys WHERE deleted_at IS NULL GROUP BY keyspace, standing ORDER BY keyspace, standing`

// CountKeys implements manage.Counter. It reads every key, beside the writer.
func (s *Store) CountKeys(ctx context.Context) ([]manage.KeyCount, error) {
	rows, err := s.read.QueryContext(ctx, countKeys, stamp(s.now()))
	if err != nil {
		return nil, fmt.Errorf("counting keys: %w", err)
	}
	return collect(rows, func(row scanner) (n manage.KeyCount, err error) {
		return n, row.Scan(&n.Keyspace, &n.State, &n.Keys)
	})
}
