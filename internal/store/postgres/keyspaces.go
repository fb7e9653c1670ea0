package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

const keyspaceColumns = `s.name, s.prefix, s.key_lifetime, s.token_lifetime, s.publish_metadata, s.imported_keys, s.weak_keys, s.created_at`

// keyspaceRow is a keyspace as its columns hold it.
type keyspaceRow struct {
	keyLifetime, tokenLifetime int64
	created                    pgtype.Int8
}

func (r *keyspaceRow) dest(ks *verifier.Keyspace) []any {
	return []any{
		&ks.Name, &ks.Prefix, &r.keyLifetime, &r.tokenLifetime, &ks.PublishMetadata, &ks.ImportedKeys, &ks.WeakKeys, &r.created,
	}
}

func (r *keyspaceRow) decode(ks *verifier.Keyspace) {
	ks.KeyLifetime, ks.TokenLifetime = time.Duration(r.keyLifetime), time.Duration(r.tokenLifetime)
	ks.CreatedAt = stamped(r.created)
}

func scanKeyspaceRecord(row pgx.CollectableRow) (rec manage.KeyspaceRecord, err error) {
	var r keyspaceRow
	var changed pgtype.Int8
	err = row.Scan(append(r.dest(&rec.Keyspace), &rec.Version, &changed)...)
	r.decode(&rec.Keyspace)
	rec.ChangedAt = stamped(changed)
	return rec, err
}

const (
	selectKeyspace  = `SELECT ` + keyspaceColumns + `, s.version, s.changed_at FROM keyspaces s`
	keyspaceByName  = selectKeyspace + ` WHERE s.name = $1`
	keyspacesByName = selectKeyspace + ` ORDER BY s.name`

	// Who locks several takes the keyspace that always exists last.
	lockKeyspaces = `SELECT 1 FROM keyspaces k WHERE $1::text IN ('', k.name) ORDER BY k.name = 'default', k.name FOR NO KEY UPDATE`

	insertKeyspace = `INSERT INTO keyspaces (name, prefix, key_lifetime, token_lifetime, publish_metadata, imported_keys, weak_keys, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	updateKeyspace = `UPDATE keyspaces SET prefix = $2, key_lifetime = $3, token_lifetime = $4, publish_metadata = $5, imported_keys = $6,
		weak_keys = $7, changed_at = $8, version = version + 1 WHERE name = $1`

	// What a client says of ImportedKeys depends on a keyspace that may come, so the
	// two must not come at the same time: one that is being added would not see the
	// other. The keyspace that always exists is where they meet.
	meetClients   = `SELECT 1 FROM keyspaces WHERE name = 'default' FOR NO KEY UPDATE`
	meetKeyspaces = `SELECT 1 FROM keyspaces WHERE name = 'default' FOR SHARE`
	changeClients = `UPDATE clients c SET version = version + 1
		FROM (SELECT id FROM clients ORDER BY id FOR NO KEY UPDATE) l WHERE l.id = c.id`

	// The same where a keyspace that is locked becomes another.
	becomesOther    = `EXISTS (SELECT 1 FROM keyspaces s WHERE s.name = $1 AND s.imported_keys <> $2)`
	meetClientsIf   = `SELECT 1 FROM keyspaces WHERE name = 'default' AND ` + becomesOther + ` FOR NO KEY UPDATE`
	changeClientsIf = changeClients + ` AND ` + becomesOther
)

// Keyspace implements manage.Reader.
func (s *Store) Keyspace(ctx context.Context, name string) (manage.KeyspaceRecord, error) {
	rec, err := the(query(ctx, s, scanKeyspaceRecord, keyspaceByName, name))
	if err != nil {
		return manage.KeyspaceRecord{}, fmt.Errorf("keyspace %s: %w", name, err)
	}
	return rec, nil
}

// Keyspaces implements manage.Reader.
func (s *Store) Keyspaces(ctx context.Context) ([]manage.KeyspaceRecord, error) {
	all, err := query(ctx, s, scanKeyspaceRecord, keyspacesByName)
	if err != nil {
		return nil, fmt.Errorf("listing keyspaces: %w", err)
	}
	return all, nil
}

// AddKeyspace implements manage.KeyspaceTx.
func (c *change) AddKeyspace(ctx context.Context, ks verifier.Keyspace) error {
	insert, err := keyspaceStatement(insertKeyspace, ks, ks.CreatedAt)
	if err == nil {
		statements := []statement{insert}
		if ks.ImportedKeys {
			statements = append(statements, statement{meetClients, nil}, statement{changeClients, nil})
		}
		_, err = c.exec(ctx, statements...)
	}
	if err != nil {
		return fmt.Errorf("adding keyspace %s: %w", ks.Name, taken(err))
	}
	return nil
}

// LockKeyspace implements manage.KeyspaceTx.
func (c *change) LockKeyspace(ctx context.Context, name string) (manage.KeyspaceRecord, error) {
	rec, err := the(rowsOf(ctx, c.transaction, scanKeyspaceRecord, statement{keyspaceByName + ` FOR NO KEY UPDATE`, []any{name}}))
	if err != nil {
		return manage.KeyspaceRecord{}, fmt.Errorf("locking keyspace %s: %w", name, err)
	}
	return rec, nil
}

// SaveKeyspace implements manage.KeyspaceTx.
func (c *change) SaveKeyspace(ctx context.Context, ks verifier.Keyspace) error {
	update, err := keyspaceStatement(updateKeyspace, ks, c.now)
	if err == nil {
		imported := []any{ks.Name, ks.ImportedKeys}
		var affected []int64
		affected, err = c.exec(ctx, statement{meetClientsIf, imported}, statement{changeClientsIf, imported}, update)
		err = changed(affected[2], err)
	}
	if err != nil {
		return fmt.Errorf("saving keyspace %s: %w", ks.Name, err)
	}
	return nil
}

// keyspaceStatement is sql with what can be set of a keyspace, and a time.
func keyspaceStatement(sql string, ks verifier.Keyspace, at time.Time) (statement, error) {
	stamp, err := stamp(at)
	return statement{sql, []any{
		ks.Name, ks.Prefix, int64(ks.KeyLifetime), int64(ks.TokenLifetime), ks.PublishMetadata, ks.ImportedKeys, ks.WeakKeys, stamp,
	}}, err
}

// DeleteKeyspace implements manage.KeyspaceTx.
func (c *change) DeleteKeyspace(ctx context.Context, name string) error {
	affected, err := c.exec(ctx, statement{`DELETE FROM keyspaces WHERE name = $1`, []any{name}})
	if err = changed(affected[0], err); codeOf(err) == "23503" {
		err = manage.ErrInUse
	}
	if err != nil {
		return fmt.Errorf("deleting keyspace %s: %w", name, err)
	}
	return nil
}
