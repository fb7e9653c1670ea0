package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// statusTries is how many entries of a list are tried before it counts as full,
// which it then is to four fifths or so. Who wants several tries moreTries for each
// of the others.
const (
	statusTries = 32
	moreTries   = 4
)

const (
	// The first that nobody has, $3 of them, of some random entries of a keyspace's
	// newest list. With fewer rows the list is full, or there is none.
	takeStatuses = `INSERT INTO statuses (list, idx, value, revision)
		SELECT l.list, r.n % l.size, 0, 0
		FROM (SELECT list, size FROM status_lists WHERE keyspace = $1 ORDER BY list DESC LIMIT 1) l
			CROSS JOIN unnest($2::bigint[]) WITH ORDINALITY AS r (n, drawn)
		WHERE NOT EXISTS (SELECT 1 FROM statuses s WHERE s.list = l.list AND s.idx = r.n % l.size)
		GROUP BY 1, 2 ORDER BY min(r.drawn) LIMIT $3 ON CONFLICT (list, idx) DO NOTHING RETURNING list, idx`

	// From either to its commit a transaction is the only one that changes what
	// replicas are to see, and the only one that takes entries: two that had taken some
	// could each draw one of the other's, and wait for it. They come after the locks on
	// keys, and before entries are taken.
	lockRevision = `SELECT 1 FROM status_revision FOR UPDATE`
	nextRevision = `UPDATE status_revision SET value = value + 1`
	openList     = `INSERT INTO status_lists (list, keyspace, size) SELECT value, $1::text, $2::bigint FROM status_revision`
	setStatuses  = `UPDATE statuses s SET value = $3::smallint, revision = v.value
		FROM status_revision v, unnest($1::bigint[], $2::bigint[]) AS n (list, idx) WHERE s.list = n.list AND s.idx = n.idx`

	lockForVoid = `SELECT k.id, k.keyspace, k.status_list, k.status_index FROM keys k
		WHERE k.id = ANY ($1::text[]) AND k.state <> 'revoked' ORDER BY k.id FOR NO KEY UPDATE`
	moveKeys = `UPDATE keys k SET status_list = n.list, status_index = n.idx
		FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS n (id, list, idx) WHERE k.id = n.id`
)

// takeStatusesIn draws n entries.
func takeStatusesIn(keyspace string, n int) statement {
	candidates := make([]int64, statusTries+moreTries*(n-1))
	random := make([]byte, 8*len(candidates))
	_, _ = rand.Read(random) // never fails (crypto/rand)
	for i := range candidates {
		candidates[i] = int64(binary.NativeEndian.Uint64(random[i*8:]) >> 1)
	}
	return statement{takeStatuses, []any{keyspace, candidates, n}}
}

// changeStatus gives entries another value, in the revision that was begun.
func changeStatus(value int, refs ...verifier.StatusRef) statement {
	lists, indexes := make([]int64, len(refs)), make([]int64, len(refs))
	for i, ref := range refs {
		lists[i], indexes[i] = ref.List, ref.Index
	}
	return statement{setStatuses, []any{lists, indexes, value}}
}

func scanStatus(row pgx.CollectableRow) (ref verifier.StatusRef, err error) {
	err = row.Scan(&ref.List, &ref.Index)
	return ref, err
}

// newStatuses hands out entries at random, one for each of these keyspaces. It
// sends before along, which ends with the lock on the revision.
func (c *change) newStatuses(ctx context.Context, keyspaces []string, before ...statement) ([]verifier.StatusRef, error) {
	wanted := make(map[string]int)
	for _, keyspace := range keyspaces {
		wanted[keyspace]++
	}
	taken := make(map[string][]verifier.StatusRef, len(wanted))
	for keyspace, n := range wanted {
		refs, err := c.takeStatuses(ctx, keyspace, n, before...)
		if err != nil {
			return nil, err
		}
		taken[keyspace], before = refs, nil
	}
	refs := make([]verifier.StatusRef, len(keyspaces))
	for i, keyspace := range keyspaces {
		refs[i], taken[keyspace] = taken[keyspace][0], taken[keyspace][1:]
	}
	return refs, nil
}

// takeStatuses hands out n entries, and opens lists as they fill up.
func (c *change) takeStatuses(ctx context.Context, keyspace string, n int, before ...statement) ([]verifier.StatusRef, error) {
	c.wrote = true
	var all []verifier.StatusRef
	for opened := false; ; opened = true {
		refs, err := rowsOf(ctx, c.transaction, scanStatus, append(before, takeStatusesIn(keyspace, n-len(all)))...)
		switch {
		case codeOf(err) == "23503":
			return nil, fmt.Errorf("keyspace %s: %w", keyspace, manage.ErrNotFound)
		case err != nil:
			return nil, err
		case opened && len(refs) == 0:
			return nil, errors.New("a list that was just opened is full")
		}
		if all = append(all, refs...); len(all) == n {
			return all, nil
		}
		before = []statement{{nextRevision, nil}, {openList, []any{keyspace, c.listSize}}}
	}
}

// VoidKeys implements manage.KeyTx.
func (c *change) VoidKeys(ctx context.Context, ids []verifier.KeyID) (int, error) {
	n, err := c.voidKeys(ctx, ids)
	if err != nil {
		return 0, fmt.Errorf("voiding tokens: %w", err)
	}
	return n, nil
}

func (c *change) voidKeys(ctx context.Context, ids []verifier.KeyID) (int, error) {
	keys, err := c.lockForVoid(ctx, ids)
	n := len(keys.ids)
	if err != nil || n == 0 {
		return 0, err
	}
	fresh, err := c.newStatuses(ctx, keys.keyspaces, statement{nextRevision, nil})
	if err != nil {
		return 0, err
	}
	lists, indexes := make([]int64, n), make([]int64, n)
	for i, ref := range fresh {
		lists[i], indexes[i] = ref.List, ref.Index
	}
	_, err = c.exec(ctx, changeStatus(wire.StatusInvalid, keys.had...), statement{moveKeys, []any{keys.ids, lists, indexes}})
	return n, err
}

// voidedKeys are keys whose tokens are to be void, by columns.
type voidedKeys struct {
	ids, keyspaces []string
	had            []verifier.StatusRef
}

func (c *change) lockForVoid(ctx context.Context, ids []verifier.KeyID) (keys voidedKeys, err error) {
	_, err = rowsOf(ctx, c.transaction, func(row pgx.CollectableRow) (ref verifier.StatusRef, err error) {
		var id, keyspace string
		if err := row.Scan(&id, &keyspace, &ref.List, &ref.Index); err != nil {
			return ref, err
		}
		keys.ids, keys.keyspaces, keys.had = append(keys.ids, id), append(keys.keyspaces, keyspace), append(keys.had, ref)
		return ref, nil
	}, statement{lockForVoid, []any{textsOf(ids)}})
	return keys, err
}

// VoidKeyspaces implements manage.KeyspaceTx.
func (c *change) VoidKeyspaces(ctx context.Context, name string) (int, error) {
	affected, err := c.exec(ctx, statement{lockKeyspaces, []any{name}}, statement{nextRevision, nil}, statement{
		`UPDATE keyspaces k SET status_generation = status_generation + 1, status_revision = v.value
			FROM status_revision v WHERE $1::text IN ('', k.name)`, []any{name},
	})
	if err := changed(affected[2], err); err != nil {
		return 0, fmt.Errorf("voiding tokens of keyspace %q: %w", name, err)
	}
	return int(affected[2]), nil
}

// One statement, so that all of it is of one moment. Its rows are the revision with
// the clock, the lists that are new or of a new generation, and the statuses that
// were changed.
const selectStatusChanges = `SELECT 0, value, 0::bigint, ` + clock + `, 0::bigint FROM status_revision
	UNION ALL SELECT 1, k.status_revision, l.list, l.size, k.status_generation
		FROM status_lists l JOIN keyspaces k ON k.name = l.keyspace WHERE l.list > $1 OR k.status_revision > $1
	UNION ALL SELECT 2, revision, list, idx, value FROM statuses WHERE revision > 0 AND revision > $1`

// StatusChanges implements issuer.StatusStore.
func (s *Store) StatusChanges(ctx context.Context, after int64, change func(issuer.StatusChange) error) (head int64, now time.Time, err error) {
	err = s.read(ctx, func(conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, selectStatusChanges, after)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kind, revision, list, a, b int64
			if err := rows.Scan(&kind, &revision, &list, &a, &b); err != nil {
				return err
			}
			switch kind {
			case 0:
				head, now = revision, instant(a)
			case 1:
				err = change(issuer.StatusChange{List: list, Revision: revision, Size: a, Generation: b})
			case 2:
				err = change(issuer.StatusChange{List: list, Revision: revision, Index: a, Value: uint8(b)})
			}
			if err != nil {
				return err
			}
		}
		return rows.Err()
	})
	if err != nil {
		return 0, now, fmt.Errorf("reading statuses: %w", err)
	}
	return head, now, nil
}
