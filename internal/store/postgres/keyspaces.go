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

const keyspaceColumns = `s.name, s.prefix, s.key_lifetime, s.token_lifetime, s.publish_metadata, s.imported_keys, s.created_at`

// keyspaceRow is a keyspace as its columns hold it.
type keyspaceRow struct {
	keyLifetime, tokenLifetime int64
	created                    pgtype.Int8
}

func (r *keyspaceRow) dest(ks *verifier.Keyspace) []any {
	return []any{
		&ks.Name, &ks.Prefix, &r.keyLifetime, &r.tokenLifetime, &ks.PublishMetadata, &ks.ImportedKeys, &r.created,
	}
}

func (r *keyspaceRow) decode(ks *verifier.Keyspace) {
	ks.KeyLifetime, ks.TokenLifetime = time.Duration(r.keyLifetime), time.Duration(r.tokenLifetime)
	ks.CreatedAt = stamped(r.created)
}

func scanKeyspace(row pgx.CollectableRow) (ks verifier.Keyspace, err error) {
	var r keyspaceRow
	err = row.Scan(r.dest(&ks)...)
	r.decode(&ks)
	return ks, err
}

// What a client says of ImportedKeys depends on a keyspace that may come, so the
// two must not be created at the same time: one that is being created would not
// see the other. The keyspace that always exists is where they meet.
const (
	beforeImportedKeys = `SELECT 1 FROM keyspaces WHERE name = 'default' FOR NO KEY UPDATE`
	beforeClient       = `SELECT 1 FROM keyspaces WHERE name = 'default' FOR SHARE`
	changeClients      = `UPDATE clients c SET version = version + 1
		FROM (SELECT id FROM clients ORDER BY id FOR NO KEY UPDATE) l WHERE l.id = c.id`
)

// CreateKeyspace implements manage.KeyspaceStore.
func (s *Store) CreateKeyspace(ctx context.Context, ks verifier.Keyspace) error {
	created, err := stamp(ks.CreatedAt)
	if err != nil {
		return fmt.Errorf("creating keyspace %s: %w", ks.Name, err)
	}
	insert := statement{
		`INSERT INTO keyspaces (name, prefix, key_lifetime, token_lifetime, publish_metadata, imported_keys, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		[]any{
			ks.Name, ks.Prefix, int64(ks.KeyLifetime), int64(ks.TokenLifetime), ks.PublishMetadata, ks.ImportedKeys, created,
		},
	}
	statements := []statement{insert}
	if ks.ImportedKeys {
		statements = []statement{{beforeImportedKeys, nil}, insert, {changeClients, nil}}
	}
	err = s.transact(ctx, func(tx *transaction) ([]statement, error) {
		_, err := tx.write(ctx, statements...)
		return nil, taken(err)
	})
	if err != nil {
		return fmt.Errorf("creating keyspace %s: %w", ks.Name, err)
	}
	return nil
}

// Keyspace implements manage.KeyspaceStore.
func (s *Store) Keyspace(ctx context.Context, name string) (verifier.Keyspace, error) {
	found, err := query(ctx, s, scanKeyspace, `SELECT `+keyspaceColumns+` FROM keyspaces s WHERE s.name = $1`, name)
	if err == nil && len(found) == 0 {
		err = manage.ErrNotFound
	}
	if err != nil {
		return verifier.Keyspace{}, fmt.Errorf("keyspace %s: %w", name, err)
	}
	return found[0], nil
}

// Keyspaces implements manage.KeyspaceStore.
func (s *Store) Keyspaces(ctx context.Context) ([]verifier.Keyspace, error) {
	all, err := query(ctx, s, scanKeyspace, `SELECT `+keyspaceColumns+` FROM keyspaces s ORDER BY s.name`)
	if err != nil {
		return nil, fmt.Errorf("listing keyspaces: %w", err)
	}
	return all, nil
}
