package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/restore"
	"github.com/cambio-auth/cambio/internal/store/signinglog"
	"github.com/cambio-auth/cambio/issuer"
)

// # How data says where it is at home
//
// By three numbers: that of the cluster, which initdb draws and all its standbys
// share, and those of the database and of the table lineage in it. What pg_dump wrote
// is restored into another database or into another table, at the least; a standby
// that was promoted is still the same. Where a server does not tell one of them, it
// is left out of the comparison.
const (
	selectLineage = `SELECT l.confirmed, l.home, r.value, h.seq, h.hash
		FROM lineage l, status_revision r, audit_head h`
	selectDatabase = `SELECT d.oid::text, 'lineage'::regclass::oid::text,
		coalesce(has_function_privilege(to_regproc('pg_control_system')::oid, 'EXECUTE'), false)
		FROM pg_database d WHERE d.datname = current_database()`
	selectCluster = `SELECT system_identifier::text FROM pg_control_system()`

	selectInventory = `SELECT ` + clock + `,
		coalesce((SELECT max(at) FROM audit), 0),
		coalesce((SELECT max(hour) FROM usage), 0),
		count(*), count(*) FILTER (WHERE b.counted OR b.rate_limit > 0),
		count(*) FILTER (WHERE k.changed_at >= (SELECT max(at) FROM audit) - 86400000000000),
		(SELECT count(*) FROM clients WHERE NOT disabled)
		FROM keys k JOIN budgets b ON b.id = k.budget_id WHERE k.state = 'active'`

	beginRevision = `UPDATE status_revision SET value = $1`
	beginAll      = `UPDATE keyspaces SET status_generation = $1, status_revision = $1`
	confirm       = `UPDATE lineage SET confirmed = $1, home = $2`
	settle        = `UPDATE lineage SET home = $1 WHERE home = ''`
)

// lineage is the row of that table with what goes with it.
type lineage struct {
	restore.Lineage
	home string
}

func scanLineage(row pgx.CollectableRow) (l lineage, err error) {
	var hash []byte
	if err := row.Scan(&l.Confirmed, &l.home, &l.Revision, &l.Head.Seq, &hash); err != nil {
		return l, err
	}
	l.Head.Hash, err = hashOf(hash)
	return l, err
}

// Lineage implements restore.Store.
func (s *Store) Lineage(ctx context.Context) (restore.Lineage, error) {
	l, err := the(query(ctx, s, scanLineage, selectLineage))
	if err != nil {
		return l.Lineage, fmt.Errorf("reading where the data is from: %w", err)
	}
	here, err := s.here(ctx)
	if err != nil {
		return l.Lineage, err
	}
	if !sameHome(l.home, here) {
		l.Why = "it was served from another database or cluster, and was restored or copied into this one"
	}
	return l.Lineage, nil
}

// here is where the data is: CLUSTER/DATABASE/TABLE, of which the first is empty if
// the server does not tell it.
func (s *Store) here(ctx context.Context) (string, error) {
	var cluster, database, table string
	err := s.read(ctx, func(conn *pgxpool.Conn) error {
		var tells bool
		if err := conn.QueryRow(ctx, selectDatabase).Scan(&database, &table, &tells); err != nil || !tells {
			return err
		}
		err := conn.QueryRow(ctx, selectCluster).Scan(&cluster)
		var refused *pgconn.PgError
		if errors.As(err, &refused) && (refused.Code == "42501" || refused.Code == "42883") { // not granted, not there
			return nil
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("asking PostgreSQL who it is: %w", err)
	}
	return cluster + "/" + database + "/" + table, nil
}

// sameHome reports whether what is known on both sides is equal. Data that is at home
// nowhere is so everywhere.
func sameHome(home, here string) bool {
	if home == "" {
		return true
	}
	there := strings.Split(here, "/")
	for i, part := range strings.Split(home, "/") {
		if i >= len(there) || part != "" && there[i] != "" && part != there[i] {
			return false
		}
	}
	return true
}

// Settle implements store.Store.
func (s *Store) Settle(ctx context.Context) error {
	l, err := the(query(ctx, s, scanLineage, selectLineage))
	if err != nil || l.home != "" {
		return err
	}
	here, err := s.here(ctx)
	if err != nil {
		return err
	}
	return s.transact(ctx, func(tx *transaction) ([]statement, error) {
		_, err := tx.write(ctx, statement{settle, []any{here}})
		return nil, err
	})
}

// Inventory implements restore.Store.
func (s *Store) Inventory(ctx context.Context) (restore.Inventory, error) {
	i, err := the(query(ctx, s, func(row pgx.CollectableRow) (i restore.Inventory, err error) {
		var now, change, hour int64
		err = row.Scan(&now, &change, &hour, &i.Keys, &i.Counted, &i.ChangedLate, &i.Clients)
		i.At = instant(now)
		if change != 0 {
			i.LastChange = time.Unix(0, change).UTC()
		}
		if hour != 0 {
			i.LastUse = time.Unix(hour*3600, 0).UTC()
		}
		return i, err
	}, selectInventory))
	if err != nil {
		return i, fmt.Errorf("counting what there is: %w", err)
	}
	return i, nil
}

// BeginAnew implements restore.Store. It locks keyspaces and the revision like all
// who make tokens void, then the signing keys, and the log last.
func (s *Store) BeginAnew(ctx context.Context, b restore.Beginning) (begun restore.Begun, err error) {
	here, err := s.here(ctx)
	if err != nil {
		return begun, err
	}
	err = s.changing(ctx, func(c *change) (err error) {
		if begun, err = c.beginAnew(ctx, b.After, here); err != nil {
			return err
		}
		if err := c.changeSigningKeys(ctx, b.Change); err != nil {
			return err
		}
		_, err = c.Log(ctx, b.Entry)
		return err
	})
	if err != nil {
		return restore.Begun{}, fmt.Errorf("beginning anew: %w", err)
	}
	return begun, nil
}

func (c *change) beginAnew(ctx context.Context, after int64, here string) (restore.Begun, error) {
	was, err := the(rowsOf(ctx, c.transaction, scanLineage,
		statement{lockKeyspaces, []any{""}}, statement{lockRevision, nil}, statement{selectLineage, nil}))
	switch {
	case err != nil:
		return restore.Begun{}, err
	case was.Confirmed != after:
		return restore.Begun{}, restore.ErrMeanwhile
	}
	revision := restore.Next(was.Revision, c.now)
	affected, err := c.exec(ctx, statement{beginRevision, []any{revision}}, statement{beginAll, []any{revision}},
		statement{confirm, []any{revision, here}})
	if err != nil {
		return restore.Begun{}, err
	}
	return restore.Begun{Revision: revision, Keyspaces: int(affected[1])}, nil
}

// changeSigningKeys is ChangeSigningKeys as a part of a transaction.
func (c *change) changeSigningKeys(ctx context.Context, change func(now time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error)) error {
	before, err := rowsOf(ctx, c.transaction, scanSigningKey, statement{lockSigningKeys, nil}, statement{selectSigningKeys, nil})
	if err != nil {
		return err
	}
	after, err := change(c.now, slices.Clone(before))
	if err != nil {
		return err
	}
	statements, err := signingKeyChanges(before, after)
	if err != nil {
		return err
	}
	if len(statements) > 0 {
		if _, err := c.exec(ctx, statements...); err != nil {
			return err
		}
	}
	entries, err := signinglog.Entries(audit.From(ctx), before, after)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := c.Log(ctx, e); err != nil {
			return err
		}
	}
	return nil
}
