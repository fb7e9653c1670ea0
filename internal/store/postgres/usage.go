package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

// An hour is summed up when it has been over for this many seconds. No transaction
// lasts until then: one that is left open is ended by
// idle_in_transaction_session_timeout.
const settled = `600`

var most = strconv.Itoa(usage.MaxCost)

var (
	thisHour     = `(` + clock + ` / 3600000000)`
	settledUntil = `((` + clock + ` / 1000000 - ` + settled + `) / 3600)`

	// The order is that of every statement that adds to several rows.
	orderAndAdd = ` ORDER BY n.key_id COLLATE "C", n.client COLLATE "C", n.audience COLLATE "C", n.outcome COLLATE "C"
		ON CONFLICT (key_id, hour, client, audience, outcome) DO UPDATE
		SET requests = usage.requests + excluded.requests, cost = least(usage.cost + excluded.cost, ` + most + `)`
	unnestUses = `unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
		AS n (key_id, client, audience, outcome, requests, cost)`
	insertUsage = `INSERT INTO usage (key_id, hour, client, audience, outcome, requests, cost) `

	insertUses = insertUsage + `SELECT n.key_id, $7::bigint, n.client, n.audience, n.outcome, n.requests, least(n.cost, ` + most + `)
		FROM ` + unnestUses + orderAndAdd
	insertCounts = insertUsage + `SELECT n.key_id, t.hour, n.client, n.audience, n.outcome, n.requests, least(n.cost, ` + most + `)
		FROM ` + unnestUses + ` JOIN keys k ON k.id = n.key_id CROSS JOIN (SELECT ` + thisHour + ` AS hour) t` + orderAndAdd
)

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// firstHour is the first hour that does not begin before t.
func firstHour(t time.Time) int64 { return hourOf(t.Add(time.Hour - 1)) }

// usageArrays are several counts, by columns.
type usageArrays struct {
	key, client, audience, outcome []string
	requests, cost                 []int64
}

// arraysOf adds up counts of the same thing: no row may be written twice by one
// statement.
func arraysOf(counts []usage.Count) *usageArrays {
	var a usageArrays
	slices.SortStableFunc(counts, byKey)
	for i, c := range counts {
		if i > 0 && byKey(counts[i-1], c) == 0 {
			a.requests[len(a.requests)-1] += c.Requests
			a.cost[len(a.cost)-1] += c.Cost
			continue
		}
		a.key = append(a.key, string(c.Key))
		a.client = append(a.client, c.Client)
		a.audience = append(a.audience, c.Audience)
		a.outcome = append(a.outcome, c.Outcome)
		a.requests = append(a.requests, c.Requests)
		a.cost = append(a.cost, c.Cost)
	}
	return &a
}

func (a *usageArrays) args() []any {
	return []any{a.key, a.client, a.audience, a.outcome, a.requests, a.cost}
}

// AddUsage implements usage.Store.
func (s *Store) AddUsage(ctx context.Context, counts []usage.Count) error {
	if len(counts) == 0 {
		return nil
	}
	uses := arraysOf(slices.Clone(counts))
	err := s.transact(ctx, func(tx *transaction) ([]statement, error) {
		_, err := tx.write(ctx, statement{insertCounts, uses.args()})
		return nil, err
	})
	if err != nil {
		return fmt.Errorf("adding usage: %w", err)
	}
	return nil
}

// RollUp implements usage.Store. The row of usage_sums is locked, so that of
// several replicas one sums up, and the others find it done.
func (s *Store) RollUp(ctx context.Context) error {
	err := s.transact(ctx, func(tx *transaction) ([]statement, error) {
		var from, until int64
		err := tx.begin(ctx, []statement{{`SELECT until FROM usage_sums FOR UPDATE`, nil}, {`SELECT ` + settledUntil, nil}},
			func(results pgx.BatchResults) error {
				if err := results.QueryRow().Scan(&from); err != nil {
					return err
				}
				return results.QueryRow().Scan(&until)
			})
		if err != nil || until <= from {
			return nil, err
		}
		return []statement{
			{`INSERT INTO usage_hourly (hour, keyspace, client, audience, outcome, requests, cost)
				SELECT u.hour, k.keyspace, u.client, u.audience, u.outcome, sum(u.requests)::bigint, least(sum(u.cost), ` + most + `)::bigint
				FROM usage u JOIN keys k ON k.id = u.key_id WHERE u.hour >= $1 AND u.hour < $2
				GROUP BY u.hour, k.keyspace, u.client, u.audience, u.outcome`, []any{from, until}},
			{`UPDATE usage_sums SET until = $1`, []any{until}},
		}, nil
	})
	if err != nil {
		return fmt.Errorf("summing up usage: %w", err)
	}
	return nil
}

// Forget implements usage.Store. Replicas that forget at the same time leave each
// other's rows alone.
func (s *Store) Forget(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted []int64
	err := s.transact(ctx, func(tx *transaction) (_ []statement, err error) {
		deleted, err = tx.write(ctx,
			statement{`DELETE FROM usage WHERE (key_id, hour, client, audience, outcome) IN
				(SELECT key_id, hour, client, audience, outcome FROM usage WHERE hour < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`,
				[]any{hourOf(before), limit}},
			statement{`DELETE FROM usage_hourly WHERE hour < $1 AND NOT EXISTS (SELECT 1 FROM usage WHERE hour < $1)`,
				[]any{hourOf(before)}})
		return nil, err
	})
	if err != nil {
		return 0, fmt.Errorf("forgetting usage: %w", err)
	}
	return int(deleted[0]), nil
}

// Usage implements usage.Store. A query for a key or an owner reads their rows;
// any other reads the sums of hours that are over, and the rows of the rest.
func (s *Store) Usage(ctx context.Context, q usage.Query) ([]usage.Point, error) {
	sql, args := usageQuery(q)
	points, err := query(ctx, s, func(row pgx.CollectableRow) (p usage.Point, err error) {
		var start int64
		var key string
		err = row.Scan(&start, &key, &p.Owner, &p.Keyspace, &p.Client, &p.Audience, &p.Outcome, &p.Requests, &p.Cost)
		p.Key = verifier.KeyID(key)
		if q.By != usage.Total {
			p.Start = time.Unix(start*3600, 0).UTC()
		}
		return p, err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading usage: %w", err)
	}
	return points, nil
}

const (
	usageRows = `(SELECT u.hour, k.id AS key, k.owner, k.keyspace, u.client, u.audience, u.outcome, u.requests, u.cost
		FROM keys k JOIN usage u ON u.key_id = k.id) x`
	usageSums = `(SELECT hour, keyspace, client, audience, outcome, requests, cost FROM usage_hourly
		UNION ALL
		SELECT u.hour, k.keyspace, u.client, u.audience, u.outcome, u.requests, u.cost
		FROM usage u JOIN keys k ON k.id = u.key_id WHERE u.hour >= (SELECT until FROM usage_sums)) x`
)

func usageQuery(q usage.Query) (string, []any) {
	var where []string
	var args []any
	param := func(value any) string {
		args = append(args, value)
		return "$" + strconv.Itoa(len(args))
	}
	for _, field := range [][2]string{{"key", string(q.Key)}, {"owner", q.Owner}, {"client", q.Client}, {"audience", q.Audience}} {
		if column, value := field[0], field[1]; value != "" {
			where = append(where, column+" = "+param(value))
		}
	}
	if len(q.Keyspaces) > 0 {
		where = append(where, "keyspace = ANY ("+param(q.Keyspaces)+"::text[])")
	}
	if !q.From.IsZero() {
		where = append(where, "hour >= "+param(firstHour(q.From)))
	}
	if !q.To.IsZero() {
		where = append(where, "hour < "+param(firstHour(q.To)))
	}
	columns := []string{map[usage.Step]string{usage.Total: "0::bigint", usage.Hour: "hour", usage.Day: "hour / 24 * 24"}[q.By]}
	for _, d := range usage.Dimensions() {
		if q.Tells(d) {
			columns = append(columns, string(d))
		} else {
			columns = append(columns, `''::text`)
		}
	}
	from := usageSums
	if q.OfKeys() {
		from = usageRows
	}
	sql := `SELECT ` + strings.Join(columns, ", ") + `, sum(requests)::bigint, least(sum(cost), ` + most + `)::bigint FROM ` + from
	if len(where) > 0 {
		sql += ` WHERE ` + strings.Join(where, " AND ")
	}
	sql += ` GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7`
	if q.Limit > 0 {
		sql += ` LIMIT ` + param(q.Limit)
	}
	return sql, args
}
