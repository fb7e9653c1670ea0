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
// which it then is to four fifths or so.
const statusTries = 32

const (
	// The first of some random entries of a keyspace's newest list that nobody has.
	// Without a row the list is full, or there is none, or somebody else took the
	// entry meanwhile.
	takeStatus = `INSERT INTO statuses (list, idx, value, revision)
		SELECT l.list, r.n % l.size, 0, 0
		FROM (SELECT list, size FROM status_lists WHERE keyspace = $1 ORDER BY list DESC LIMIT 1) l
			CROSS JOIN unnest($2::bigint[]) AS r (n)
		WHERE NOT EXISTS (SELECT 1 FROM statuses s WHERE s.list = l.list AND s.idx = r.n % l.size)
		LIMIT 1 ON CONFLICT (list, idx) DO NOTHING RETURNING list, idx`

	// From here to its commit a transaction is the only one that changes what
	// replicas are to see. It comes after the locks on keys, and before entries are
	// taken.
	nextRevision = `UPDATE status_revision SET value = value + 1`
	openList     = `INSERT INTO status_lists (list, keyspace, size) SELECT value, $1::text, $2::bigint FROM status_revision`
	setStatuses  = `UPDATE statuses s SET value = $3::smallint, revision = v.value
		FROM status_revision v, unnest($1::bigint[], $2::bigint[]) AS n (list, idx) WHERE s.list = n.list AND s.idx = n.idx`

	lockForVoid = `SELECT k.id, k.keyspace, k.status_list, k.status_index FROM keys k
		WHERE k.id = ANY ($1::text[]) AND k.state <> 'revoked' ORDER BY k.id FOR NO KEY UPDATE`
	moveKeys = `UPDATE keys k SET status_list = n.list, status_index = n.idx
		FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS n (id, list, idx) WHERE k.id = n.id`
)

func takeStatusIn(keyspace string) statement {
	var random [statusTries * 8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	candidates := make([]int64, statusTries)
	for i := range candidates {
		candidates[i] = int64(binary.NativeEndian.Uint64(random[i*8:]) >> 1)
	}
	return statement{takeStatus, []any{keyspace, candidates}}
}

// changeStatus gives entries another value, in the revision that was begun.
func changeStatus(value int, refs ...verifier.StatusRef) statement {
	lists, indexes := make([]int64, len(refs)), make([]int64, len(refs))
	for i, ref := range refs {
		lists[i], indexes[i] = ref.List, ref.Index
	}
	return statement{setStatuses, []any{lists, indexes, value}}
}

// scanTaken reads what takeStatus took, the zero reference if that is nothing.
func scanTaken(results pgx.BatchResults) (ref verifier.StatusRef, err error) {
	err = results.QueryRow().Scan(&ref.List, &ref.Index)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return ref, err
}

// newStatuses hands out entries at random, one for each of these keyspaces.
func (tx *transaction) newStatuses(ctx context.Context, listSize int64, keyspaces []string) ([]verifier.StatusRef, error) {
	statements := make([]statement, len(keyspaces))
	for i, keyspace := range keyspaces {
		statements[i] = takeStatusIn(keyspace)
	}
	refs := make([]verifier.StatusRef, len(keyspaces))
	err := tx.ask(ctx, statements, func(results pgx.BatchResults) (err error) {
		for i := range refs {
			if refs[i], err = scanTaken(results); err != nil {
				return err
			}
		}
		return nil
	})
	for i := 0; i < len(refs) && err == nil; i++ {
		if refs[i].List == 0 {
			refs[i], err = tx.newStatusOfNewList(ctx, listSize, keyspaces[i])
		}
	}
	return refs, err
}

// newStatusOfNewList opens a list, unless another transaction has just done so.
func (tx *transaction) newStatusOfNewList(ctx context.Context, listSize int64, keyspace string) (ref verifier.StatusRef, err error) {
	take := func(results pgx.BatchResults) error {
		if _, err := results.Exec(); err != nil {
			return err
		}
		ref, err = scanTaken(results)
		return err
	}
	if err := tx.ask(ctx, []statement{{nextRevision, nil}, takeStatusIn(keyspace)}, take); err != nil || ref.List != 0 {
		return ref, err
	}
	err = tx.ask(ctx, []statement{{openList, []any{keyspace, listSize}}, takeStatusIn(keyspace)}, take)
	if err == nil && ref.List == 0 {
		err = errors.New("a list that was just opened is full")
	}
	return ref, err
}

// VoidKeys implements manage.VoidStore.
func (s *Store) VoidKeys(ctx context.Context, ids []verifier.KeyID) (n int, err error) {
	wanted := make([]string, len(ids))
	for i, id := range ids {
		wanted[i] = string(id)
	}
	err = s.transact(ctx, func(tx *transaction) ([]statement, error) {
		keys, err := tx.lockForVoid(ctx, wanted)
		n = len(keys.ids)
		if err != nil || n == 0 {
			return nil, err
		}
		fresh, err := tx.newStatuses(ctx, s.listSize, keys.keyspaces)
		if err != nil {
			return nil, err
		}
		lists, indexes := make([]int64, n), make([]int64, n)
		for i, ref := range fresh {
			lists[i], indexes[i] = ref.List, ref.Index
		}
		return []statement{
			changeStatus(wire.StatusInvalid, keys.had...),
			{moveKeys, []any{keys.ids, lists, indexes}},
		}, nil
	})
	if err != nil {
		return 0, fmt.Errorf("voiding tokens: %w", err)
	}
	return n, nil
}

// voidedKeys are keys whose tokens are to be void, by columns.
type voidedKeys struct {
	ids, keyspaces []string
	had            []verifier.StatusRef
}

// lockForVoid begins a transaction with keys locked, and then with the revision.
func (tx *transaction) lockForVoid(ctx context.Context, ids []string) (keys voidedKeys, err error) {
	err = tx.begin(ctx, []statement{{lockForVoid, []any{ids}}, {nextRevision, nil}}, func(results pgx.BatchResults) error {
		rows, err := results.Query()
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, keyspace string
			var ref verifier.StatusRef
			if err := rows.Scan(&id, &keyspace, &ref.List, &ref.Index); err != nil {
				return err
			}
			keys.ids, keys.keyspaces, keys.had = append(keys.ids, id), append(keys.keyspaces, keyspace), append(keys.had, ref)
		}
		return rows.Err()
	})
	return keys, err
}

// VoidKeyspaces implements manage.VoidStore.
func (s *Store) VoidKeyspaces(ctx context.Context, name string) (n int, err error) {
	err = s.transact(ctx, func(tx *transaction) ([]statement, error) {
		affected, err := tx.write(ctx, statement{nextRevision, nil}, statement{
			`UPDATE keyspaces k SET status_generation = status_generation + 1, status_revision = v.value
				FROM status_revision v WHERE $1::text IN ('', k.name)`, []any{name},
		})
		if err == nil && affected[1] == 0 {
			err = manage.ErrNotFound
		}
		if err == nil {
			n = int(affected[1])
		}
		return nil, err
	})
	if err != nil {
		return 0, fmt.Errorf("voiding tokens of keyspace %q: %w", name, err)
	}
	return n, nil
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
