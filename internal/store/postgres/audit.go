package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/internal/audit"
)

const (
	selectHead  = `SELECT seq, hash FROM audit_head`
	lockHead    = selectHead + ` FOR UPDATE`
	insertEntry = `INSERT INTO audit (seq, at, actor, action, target, keyspace, entry, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	moveHead    = `UPDATE audit_head SET seq = $1, hash = $2`

	insertRefusals = `INSERT INTO audit_refusals (hour, client, remote, attempts, last_at)
		SELECT n.hour, n.client, n.remote, sum(n.attempts)::bigint, max(n.last_at)
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS n (hour, client, remote, attempts, last_at)
		GROUP BY 1, 2, 3 ORDER BY n.hour, n.client COLLATE "C", n.remote COLLATE "C"
		ON CONFLICT (hour, client, remote) DO UPDATE
		SET attempts = audit_refusals.attempts + excluded.attempts, last_at = greatest(audit_refusals.last_at, excluded.last_at)`
	selectRefusals = `SELECT hour, client, remote, attempts, last_at FROM audit_refusals WHERE hour >= $1 AND hour < $2
		ORDER BY hour DESC, attempts DESC, client, remote LIMIT $3`
)

// auditLog is what a transaction adds to the log.
type auditLog struct {
	head    *audit.Head // locked; nil: not yet
	entries []statement // to be sent along with COMMIT: who holds the head holds up everybody
}

// add appends an entry.
func (l *auditLog) add(ctx context.Context, tx *transaction, now time.Time, e audit.Entry) (audit.Head, error) {
	if l.head == nil {
		head, err := the(rowsOf(ctx, tx, scanHead, statement{lockHead, nil}))
		if err != nil {
			return audit.Head{}, err
		}
		l.head = &head
	}
	e.At = now
	row, head, err := l.head.Append(e)
	if err != nil {
		return audit.Head{}, err
	}
	at, err := stamp(row.At)
	if err != nil {
		return audit.Head{}, err
	}
	l.head = &head
	l.entries = append(l.entries,
		statement{insertEntry, []any{row.Seq, at, row.Actor.ID, row.Action, row.Target, row.Keyspace, string(row.JSON), row.Hash[:]}},
		statement{moveHead, []any{head.Seq, head.Hash[:]}})
	return head, nil
}

// Log implements manage.LogTx.
func (c *change) Log(ctx context.Context, e audit.Entry) (audit.Head, error) {
	head, err := c.add(ctx, c.transaction, c.now, e)
	if err != nil {
		return audit.Head{}, fmt.Errorf("logging %s: %w", e.Action, err)
	}
	return head, nil
}

// AuditHead implements audit.Store.
func (s *Store) AuditHead(ctx context.Context) (audit.Head, error) {
	head, err := the(query(ctx, s, scanHead, selectHead))
	if err != nil {
		return audit.Head{}, fmt.Errorf("the head of the log: %w", err)
	}
	return head, nil
}

func scanHead(row pgx.CollectableRow) (h audit.Head, err error) {
	var hash []byte
	if err := row.Scan(&h.Seq, &hash); err != nil {
		return h, err
	}
	h.Hash, err = hashOf(hash)
	return h, err
}

func hashOf(b []byte) (h audit.Hash, err error) {
	if len(b) != len(h) {
		return h, fmt.Errorf("hash of %d bytes", len(b))
	}
	return audit.Hash(b), nil
}

// Audit implements audit.Store.
func (s *Store) Audit(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	if q.Limit < 1 {
		return nil, errors.New("reading the log: Query.Limit is required")
	}
	sql, args := auditQuery(q)
	rows, err := query(ctx, s, scanEntry, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	return rows, nil
}

func auditQuery(q audit.Query) (string, []any) {
	where, args := ` WHERE seq > $1`, []any{q.After, q.Limit}
	narrow := func(condition string, value any) {
		args = append(args, value)
		where += fmt.Sprintf(" AND "+condition, len(args))
	}
	if q.Before != 0 {
		narrow(`seq < $%d`, q.Before)
	}
	if q.Target != "" {
		narrow(`target = $%d`, q.Target)
	}
	if q.Actor != "" {
		narrow(`actor = $%d`, q.Actor)
	}
	if q.Action != "" {
		narrow(`$%d IN (action, split_part(action, '.', 1))`, q.Action)
	}
	if len(q.Keyspaces) > 0 {
		narrow(`keyspace = ANY ($%d::text[])`, q.Keyspaces)
	}
	if !q.From.IsZero() {
		narrow(`at >= $%d`, q.From.UnixNano())
	}
	if !q.To.IsZero() {
		narrow(`at < $%d`, q.To.UnixNano())
	}
	order := ` ORDER BY seq`
	if q.Newest {
		order += ` DESC`
	}
	return `SELECT seq, at, actor, action, target, keyspace, entry, hash FROM audit` + where + order + ` LIMIT $2`, args
}

func scanEntry(row pgx.CollectableRow) (audit.Row, error) {
	var columns audit.Entry
	var at pgtype.Int8
	var entry, hash []byte
	err := row.Scan(&columns.Seq, &at, &columns.Actor.ID, &columns.Action, &columns.Target, &columns.Keyspace, &entry, &hash)
	if err != nil {
		return audit.Row{}, err
	}
	columns.At = stamped(at)
	sum, err := hashOf(hash)
	return audit.Stored(columns, entry, sum), err
}

// AddRefusals implements audit.Store.
func (s *Store) AddRefusals(ctx context.Context, refusals []audit.Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	var hours, attempts, last []int64
	var clients, remotes []string
	for _, r := range refusals {
		hours, attempts, last = append(hours, hourOf(r.Hour)), append(attempts, r.Attempts), append(last, r.LastAt.UnixNano())
		clients, remotes = append(clients, r.Client), append(remotes, r.Remote)
	}
	err := s.transact(ctx, func(tx *transaction) ([]statement, error) {
		_, err := tx.write(ctx, statement{insertRefusals, []any{hours, clients, remotes, attempts, last}})
		return nil, err
	})
	if err != nil {
		return fmt.Errorf("adding refusals: %w", err)
	}
	return nil
}

// Refusals implements audit.Store.
func (s *Store) Refusals(ctx context.Context, from, to time.Time, limit int) ([]audit.Refusal, error) {
	all, err := query(ctx, s, func(row pgx.CollectableRow) (r audit.Refusal, err error) {
		var hour, last int64
		err = row.Scan(&hour, &r.Client, &r.Remote, &r.Attempts, &last)
		r.Hour, r.LastAt = time.Unix(hour*3600, 0).UTC(), time.Unix(0, last).UTC()
		return r, err
	}, selectRefusals, firstHour(from), firstHour(to), limit)
	if err != nil {
		return nil, fmt.Errorf("reading refusals: %w", err)
	}
	return all, nil
}

// ForgetRefusals implements manage.Forgetter.
func (s *Store) ForgetRefusals(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted []int64
	err := s.transact(ctx, func(tx *transaction) (_ []statement, err error) {
		deleted, err = tx.write(ctx, statement{`DELETE FROM audit_refusals WHERE (hour, client, remote) IN
			(SELECT hour, client, remote FROM audit_refusals WHERE hour < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`,
			[]any{hourOf(before), limit}})
		return nil, err
	})
	if err != nil {
		return 0, fmt.Errorf("forgetting refusals: %w", err)
	}
	return int(deleted[0]), nil
}
