package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cambio-auth/cambio/internal/activity"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// Activity returns what was counted since the store was opened.
func (s *Store) Activity() activity.Counts {
	n, pool := s.counted.Counts(), s.pool.Stat()
	n.Busy, n.Idle, n.Most = int(pool.AcquiredConns()), int(pool.IdleConns()), int(pool.MaxConns())
	return n
}

// kindOf names the fault of an error that a caller is told.
func kindOf(err error) activity.Kind {
	if err == nil { // as nearly always: what follows allocates
		return activity.None
	}
	var unreachable *pgconn.ConnectError
	code := codeOf(err)
	switch {
	case errors.Is(err, verifier.ErrOutcomeUnknown):
		return activity.OutcomeUnknown
	case errors.Is(err, verifier.ErrBadRecord):
		return activity.BadRecord
	case errors.Is(err, errReadOnly), code == "25006":
		return activity.ReadOnly
	case code != "":
		return kindOfCode(code)
	case errors.Is(err, errLost), errors.As(err, &unreachable):
		return activity.Connection
	case errors.Is(err, context.DeadlineExceeded):
		return activity.Timeout
	case errors.Is(err, errRolledBack):
		return activity.Other
	}
	return activity.None
}

// kindOfCode reads an SQLSTATE (PostgreSQL, appendix A).
func kindOfCode(code string) activity.Kind {
	switch {
	case code == "40001", code == "40P01":
		return activity.Conflict
	case code == "53300", strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"):
		return activity.Connection
	case code == "57014", code == "25P03":
		return activity.Timeout
	case code == "53100":
		return activity.Full
	case strings.HasPrefix(code, "58"), strings.HasPrefix(code, "XX"):
		return activity.Disk
	case strings.HasPrefix(code, "23"):
		return activity.None // the matter of who asked
	}
	return activity.Other
}

// CountKeys implements manage.Counter. It reads every key, which takes a second
// for a million.
func (s *Store) CountKeys(ctx context.Context) ([]manage.KeyCount, error) {
	return query(ctx, s, func(row pgx.CollectableRow) (n manage.KeyCount, err error) {
		return n, row.Scan(&n.Keyspace, &n.State, &n.Keys)
	}, `SELECT keyspace, CASE WHEN state = 'active' AND expires_at <= (SELECT `+clock+` * 1000)
		THEN 'expired' ELSE state END AS standing, count(*)
		FROM keys WHERE deleted_at IS NULL GROUP BY keyspace, standing ORDER BY keyspace, standing`)
}
