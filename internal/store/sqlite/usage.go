package sqlite

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/usage"
)

// An hour is summed up when it has been over for this long. No transaction
// lasts until then.
const settled = 10 * time.Minute

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// firstHour is the first hour that does not begin before t.
func firstHour(t time.Time) int64 { return hourOf(t.Add(time.Hour - 1)) }

var (
	most = strconv.Itoa(usage.MaxCost)

	insertUsage = `INSERT INTO usage (key_id, hour, client, audience, outcome, requests, cost)
		SELECT id, ?2, ?3, ?4, ?5, ?6, min(?7, ` + most + `) FROM keys WHERE id = ?1
		ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, cost = min(cost + excluded.cost, ` + most + `)`

	// Sums of floating point do not overflow, and are exact up to MaxCost.
	sumCost = `CAST(min(total(cost), ` + most + `) AS INTEGER)`
)

// addUsage adds c to the hour; the key must exist.
func addUsage(ctx context.Context, tx *transaction, hour int64, c usage.Count) error {
	_, err := tx.exec(context.WithoutCancel(ctx), insertUsage, c.Key, hour, c.Client, c.Audience, c.Outcome, c.Requests, c.Cost)
	return err
}

// AddUsage implements usage.Store.
func (s *Store) AddUsage(ctx context.Context, counts []usage.Count) error {
	err := s.write.do(ctx, func(tx *transaction) error {
		hour := hourOf(s.now())
		for _, c := range counts {
			if err := addUsage(ctx, tx, hour, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("adding usage: %w", err)
	}
	return nil
}

// RollUp implements usage.Store.
func (s *Store) RollUp(ctx context.Context) error {
	err := s.write.do(ctx, func(tx *transaction) error {
		until := hourOf(s.now().Add(-settled)) // this hour is not over, or not for long
		if _, err := tx.exec(ctx, `INSERT INTO usage_hourly (hour, keyspace, client, audience, outcome, requests, cost)
			SELECT u.hour, k.keyspace, u.client, u.audience, u.outcome, sum(u.requests), `+sumCost+`
			FROM usage u JOIN keys k ON k.id = u.key_id
			WHERE u.hour >= (SELECT until FROM usage_sums) AND u.hour < ?
			GROUP BY u.hour, k.keyspace, u.client, u.audience, u.outcome`, until); err != nil {
			return err
		}
		_, err := tx.exec(ctx, `UPDATE usage_sums SET until = ?1 WHERE until < ?1`, until)
		return err
	})
	if err != nil {
		return fmt.Errorf("summing up usage: %w", err)
	}
	return nil
}

// Forget implements usage.Store.
func (s *Store) Forget(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted int64
	err := s.write.do(ctx, func(tx *transaction) error {
		hour := hourOf(before)
		var err error
		deleted, err = tx.exec(ctx, `DELETE FROM usage WHERE (key_id, hour, client, audience, outcome) IN
			(SELECT key_id, hour, client, audience, outcome FROM usage WHERE hour < ? LIMIT ?)`, hour, limit)
		if err != nil || deleted > 0 {
			return err
		}
		_, err = tx.exec(ctx, `DELETE FROM usage_hourly WHERE hour < ?`, hour)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forgetting usage: %w", err)
	}
	return int(deleted), nil
}

// Usage implements usage.Store. A query for a key or an owner reads their rows;
// any other reads the sums of hours that are over, and the rows of the rest.
func (s *Store) Usage(ctx context.Context, q usage.Query) ([]usage.Point, error) {
	query, args := usageQuery(q)
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading usage: %w", err)
	}
	points, err := collect(rows, func(row scanner) (usage.Point, error) {
		var p usage.Point
		var start int64
		err := row.Scan(&start, &p.Key, &p.Owner, &p.Keyspace, &p.Client, &p.Audience, &p.Outcome, &p.Requests, &p.Cost)
		if q.By != usage.Total {
			p.Start = time.Unix(start*3600, 0).UTC()
		}
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading usage: %w", err)
	}
	return points, nil
}

const (
	usageRows = `(SELECT u.hour, k.id AS key, k.owner, k.keyspace, u.client, u.audience, u.outcome, u.requests, u.cost
		FROM keys k JOIN usage u ON u.key_id = k.id)`
	usageSums = `(SELECT hour, keyspace, client, audience, outcome, requests, cost FROM usage_hourly
		UNION ALL
		SELECT u.hour, k.keyspace, u.client, u.audience, u.outcome, u.requests, u.cost
		FROM usage u JOIN keys k ON k.id = u.key_id WHERE u.hour >= (SELECT until FROM usage_sums))`
)

func usageQuery(q usage.Query) (string, []any) {
	var where []string
	var args []any
	narrow := func(used bool, condition string, value any) {
		if used {
			where, args = append(where, condition), append(args, value)
		}
	}
	narrow(q.Key != "", "key = ?", q.Key)
	narrow(q.Owner != "", "owner = ?", q.Owner)
	narrow(len(q.Keyspaces) > 0, "keyspace IN (SELECT value FROM json_each(?))", jsonOf{q.Keyspaces})
	narrow(q.Client != "", "client = ?", q.Client)
	narrow(q.Audience != "", "audience = ?", q.Audience)
	narrow(!q.From.IsZero(), "hour >= ?", firstHour(q.From))
	narrow(!q.To.IsZero(), "hour < ?", firstHour(q.To))
	columns := []string{map[usage.Step]string{usage.Total: "0", usage.Hour: "hour", usage.Day: "hour / 24 * 24"}[q.By]}
	for _, d := range usage.Dimensions() {
		if q.Tells(d) {
			columns = append(columns, string(d))
		} else {
			columns = append(columns, `''`)
		}
	}
	from := usageSums
	if q.OfKeys() {
		from = usageRows
	}
	query := `SELECT ` + strings.Join(columns, ", ") + `, sum(requests), ` + sumCost + ` FROM ` + from
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, " AND ")
	}
	query += ` GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7`
	if q.Limit > 0 {
		query, args = query+` LIMIT ?`, append(args, q.Limit)
	}
	return query, args
}
