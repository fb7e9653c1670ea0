package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

const keyspaceColumns = `s.name, s.prefix, s.key_lifetime, s.token_lifetime, s.publish_metadata, s.imported_keys, s.weak_keys, s.created_at`

func keyspaceDest(ks *verifier.Keyspace) []any {
	return []any{
		&ks.Name, &ks.Prefix, &ks.KeyLifetime, &ks.TokenLifetime, &ks.PublishMetadata, &ks.ImportedKeys, &ks.WeakKeys,
		stampTo{&ks.CreatedAt},
	}
}

// What a manage.KeyspaceRecord is made of; scanKeyspace reads the columns in this
// order.
const selectKeyspaces = `SELECT ` + keyspaceColumns + `, s.version, s.changed_at FROM keyspaces s `

func scanKeyspace(row scanner) (ks manage.KeyspaceRecord, err error) {
	return ks, row.Scan(append(keyspaceDest(&ks.Keyspace), &ks.Version, stampTo{&ks.ChangedAt})...)
}

// Keyspace implements manage.Reader.
func (s *Store) Keyspace(ctx context.Context, name string) (manage.KeyspaceRecord, error) {
	ks, err := scanKeyspace(s.read.QueryRowContext(ctx, selectKeyspaces+`WHERE s.name = ?`, name))
	if err != nil {
		return manage.KeyspaceRecord{}, fmt.Errorf("keyspace %s: %w", name, missing(err))
	}
	return ks, nil
}

// Keyspaces implements manage.Reader.
func (s *Store) Keyspaces(ctx context.Context) ([]manage.KeyspaceRecord, error) {
	rows, err := s.read.QueryContext(ctx, selectKeyspaces+`ORDER BY s.name`)
	if err != nil {
		return nil, fmt.Errorf("listing keyspaces: %w", err)
	}
	return collect(rows, scanKeyspace)
}

// AddKeyspace implements manage.KeyspaceTx.
func (c *change) AddKeyspace(ctx context.Context, ks verifier.Keyspace) error {
	_, err := c.exec(ctx, `INSERT INTO keyspaces (name, prefix, key_lifetime, token_lifetime, publish_metadata, imported_keys, weak_keys, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		ks.Name, ks.Prefix, ks.KeyLifetime, ks.TokenLifetime, ks.PublishMetadata, ks.ImportedKeys, ks.WeakKeys,
		stamp(ks.CreatedAt))
	if err == nil && ks.ImportedKeys {
		err = c.touchClients(ctx)
	}
	if err != nil {
		return fmt.Errorf("adding keyspace %s: %w", ks.Name, taken(err))
	}
	return nil
}

// touchClients counts all their versions up: what ImportedKeys of a client says may
// be another now.
func (c *change) touchClients(ctx context.Context) error {
	_, err := c.exec(ctx, `UPDATE clients SET version = version + 1`)
	return err
}

// LockKeyspace implements manage.KeyspaceTx.
func (c *change) LockKeyspace(ctx context.Context, name string) (manage.KeyspaceRecord, error) {
	ks, err := one(ctx, c.transaction, scanKeyspace, selectKeyspaces+`WHERE s.name = ?`, name)
	if err != nil {
		return manage.KeyspaceRecord{}, fmt.Errorf("keyspace %s: %w", name, err)
	}
	return ks, nil
}

// SaveKeyspace implements manage.KeyspaceTx.
func (c *change) SaveKeyspace(ctx context.Context, ks verifier.Keyspace) error {
	before, err := c.LockKeyspace(ctx, ks.Name)
	if err != nil {
		return fmt.Errorf("changing a keyspace: %w", err)
	}
	_, err = c.exec(ctx, `UPDATE keyspaces SET (prefix, key_lifetime, token_lifetime, publish_metadata, imported_keys, weak_keys, version, changed_at)
		= (?2, ?3, ?4, ?5, ?6, ?7, version + 1, ?8) WHERE name = ?1`,
		ks.Name, ks.Prefix, ks.KeyLifetime, ks.TokenLifetime, ks.PublishMetadata, ks.ImportedKeys, ks.WeakKeys, stamp(c.now))
	if err == nil && ks.ImportedKeys != before.ImportedKeys {
		err = c.touchClients(ctx)
	}
	if err != nil {
		return fmt.Errorf("changing keyspace %s: %w", ks.Name, err)
	}
	return nil
}

// DeleteKeyspace implements manage.KeyspaceTx. Every key refers to its keyspace.
func (c *change) DeleteKeyspace(ctx context.Context, name string) error {
	n, err := c.exec(ctx, `DELETE FROM keyspaces WHERE name = ?`, name)
	switch {
	case codeOf(err) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		err = manage.ErrInUse
	case err == nil && n == 0:
		err = manage.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("deleting keyspace %s: %w", name, err)
	}
	return nil
}

// missing makes a row that is not there manage.ErrNotFound.
func missing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return manage.ErrNotFound
	}
	return err
}

// taken makes a violation of uniqueness manage.ErrExists, and one of a
// reference manage.ErrNotFound.
func taken(err error) error {
	switch codeOf(err) {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return manage.ErrExists
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return manage.ErrNotFound
	}
	return err
}
