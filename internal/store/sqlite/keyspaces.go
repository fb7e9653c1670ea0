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

const keyspaceColumns = `s.name, s.prefix, s.key_lifetime, s.token_lifetime, s.publish_metadata, s.imported_keys, s.created_at`

func keyspaceDest(ks *verifier.Keyspace) []any {
	return []any{
		&ks.Name, &ks.Prefix, &ks.KeyLifetime, &ks.TokenLifetime, &ks.PublishMetadata, &ks.ImportedKeys,
		stampTo{&ks.CreatedAt},
	}
}

func scanKeyspace(row scanner) (ks verifier.Keyspace, err error) {
	return ks, row.Scan(keyspaceDest(&ks)...)
}

// CreateKeyspace implements manage.KeyspaceStore.
func (s *Store) CreateKeyspace(ctx context.Context, ks verifier.Keyspace) error {
	err := s.write.do(ctx, func(tx *transaction) error {
		_, err := tx.exec(ctx, `INSERT INTO keyspaces (name, prefix, key_lifetime, token_lifetime, publish_metadata, imported_keys, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?)`,
			ks.Name, ks.Prefix, ks.KeyLifetime, ks.TokenLifetime, ks.PublishMetadata, ks.ImportedKeys,
			stamp(ks.CreatedAt))
		if err != nil || !ks.ImportedKeys {
			return err
		}
		// What ImportedKeys of a client says may be another now.
		_, err = tx.exec(ctx, `UPDATE clients SET version = version + 1`)
		return err
	})
	if err != nil {
		return fmt.Errorf("creating keyspace %s: %w", ks.Name, taken(err))
	}
	return nil
}

// Keyspace implements manage.KeyspaceStore.
func (s *Store) Keyspace(ctx context.Context, name string) (verifier.Keyspace, error) {
	ks, err := scanKeyspace(s.read.QueryRowContext(ctx, `SELECT `+keyspaceColumns+` FROM keyspaces s WHERE s.name = ?`, name))
	if err != nil {
		return verifier.Keyspace{}, fmt.Errorf("keyspace %s: %w", name, missing(err))
	}
	return ks, nil
}

// Keyspaces implements manage.KeyspaceStore.
func (s *Store) Keyspaces(ctx context.Context) ([]verifier.Keyspace, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+keyspaceColumns+` FROM keyspaces s ORDER BY s.name`)
	if err != nil {
		return nil, fmt.Errorf("listing keyspaces: %w", err)
	}
	return collect(rows, scanKeyspace)
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
