package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
)

const (
	selectHead = `SELECT seq, hash FROM audit_head`
	addRefusal = `INSERT INTO audit_refusals (hour, client, remote, attempts, last_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET attempts = attempts + excluded.attempts, last_at = max(last_at, excluded.last_at)`
)

func scanHead(row scanner) (h audit.Head, err error) { return h, row.Scan(&h.Seq, hashTo(h.Hash[:])) }

// Log implements manage.LogTx.
func (c *change) Log(ctx context.Context, e audit.Entry) (audit.Head, error) {
	head, err := c.log(ctx, e)
	if err != nil {
		return audit.Head{}, fmt.Errorf("logging %s: %w", e.Action, err)
	}
	return head, nil
}

func (c *change) log(ctx context.Context, e audit.Entry) (head audit.Head, err error) {
	last, err := one(ctx, c.transaction, scanHead, selectHead)
	if err != nil {
		return head, err
	}
	e.At = c.now
	row, head, err := last.Append(e)
	if err != nil {
		return head, err
	}
	_, err = c.exec(ctx, `INSERT INTO audit (seq, at, actor, action, target, keyspace, entry, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		row.Seq, stamp(row.At), row.Actor.ID, row.Action, row.Target, row.Keyspace, string(row.JSON), row.Hash[:])
	if err != nil {
		return head, err
	}
	_, err = c.exec(ctx, `UPDATE audit_head SET seq = ?, hash = ?`, head.Seq, head.Hash[:])
	return head, err
}

// AuditHead implements audit.Store.
func (s *Store) AuditHead(ctx context.Context) (audit.Head, error) {
	head, err := scanHead(s.read.QueryRowContext(ctx, selectHead))
	if err != nil {
		return audit.Head{}, fmt.Errorf("reading the head of the audit log: %w", err)
	}
	return head, nil
}

// Audit implements audit.Store.
func (s *Store) Audit(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	if q.Limit < 1 {
		return nil, errors.New("reading the audit log: Query.Limit is required")
	}
	order := ` ORDER BY seq LIMIT ?`
	if q.Newest {
		order = ` ORDER BY seq DESC LIMIT ?`
	}
	where := auditWhere(q)
	rows, err := s.read.QueryContext(ctx, `SELECT seq, at, actor, action, target, keyspace, entry, hash FROM audit WHERE `+ //nolint:gosec // of constants
		where.sql()+order, append(where.args, q.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	found, err := collect(rows, scanAudit)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return found, nil
}

func auditWhere(q audit.Query) (where conditions) {
	where.add(`seq > ?`, q.After)
	if q.Before != 0 {
		where.add(`seq < ?`, q.Before)
	}
	if q.Target != "" {
		where.add(`target = ?`, q.Target)
	}
	if q.Actor != "" {
		where.add(`actor = ?`, q.Actor)
	}
	if q.Action != "" {
		where.add(`? IN (action, substr(action, 1, instr(action, '.') - 1))`, q.Action)
	}
	if len(q.Keyspaces) > 0 {
		where.add(`keyspace IN (SELECT value FROM json_each(?))`, jsonOf{q.Keyspaces})
	}
	if !q.From.IsZero() {
		where.add(`at >= ?`, stamp(q.From))
	}
	if !q.To.IsZero() {
		where.add(`at < ?`, stamp(q.To))
	}
	return where
}

func scanAudit(row scanner) (audit.Row, error) {
	var columns audit.Entry
	var text string
	var hash audit.Hash
	if err := row.Scan(&columns.Seq, stampTo{&columns.At}, &columns.Actor.ID, &columns.Action, &columns.Target,
		&columns.Keyspace, &text, hashTo(hash[:])); err != nil {
		return audit.Row{}, err
	}
	return audit.Stored(columns, []byte(text), hash), nil
}

// AddRefusals implements audit.Store.
func (s *Store) AddRefusals(ctx context.Context, refusals []audit.Refusal) error {
	err := s.write.do(ctx, func(tx *transaction) error {
		for _, r := range refusals {
			if _, err := tx.exec(ctx, addRefusal, hourOf(r.Hour), r.Client, r.Remote, r.Attempts, stamp(r.LastAt)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("adding refusals: %w", err)
	}
	return nil
}

// Refusals implements audit.Store.
func (s *Store) Refusals(ctx context.Context, from, to time.Time, limit int) ([]audit.Refusal, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT hour, client, remote, attempts, last_at FROM audit_refusals
		WHERE hour >= ? AND hour < ? ORDER BY hour DESC, attempts DESC, client, remote LIMIT ?`,
		firstHour(from), firstHour(to), limit)
	if err != nil {
		return nil, fmt.Errorf("reading refusals: %w", err)
	}
	found, err := collect(rows, func(row scanner) (r audit.Refusal, err error) {
		var hour int64
		err = row.Scan(&hour, &r.Client, &r.Remote, &r.Attempts, stampTo{&r.LastAt})
		r.Hour = time.Unix(hour*3600, 0).UTC()
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading refusals: %w", err)
	}
	return found, nil
}

// ForgetRefusals implements manage.Forgetter.
func (s *Store) ForgetRefusals(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted int64
	err := s.write.do(ctx, func(tx *transaction) (err error) {
		deleted, err = tx.exec(ctx, `DELETE FROM audit_refusals WHERE (hour, client, remote) IN
			(SELECT hour, client, remote FROM audit_refusals WHERE hour < ? LIMIT ?)`, hourOf(before), limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forgetting refusals: %w", err)
	}
	return int(deleted), nil
}
