package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/cambio-auth/cambio/internal/client"
)

// A client has one row for each of its secrets, oldest first, and one with a
// NULL if it has none.
const selectClients = `SELECT c.id, c.rights, c.audiences, c.keyspaces, c.permissions, c.algorithm, c.disabled, c.created_at, c.version,
		EXISTS (SELECT 1 FROM keyspaces s JOIN json_each(c.keyspaces) may
			ON may.value IN (s.name, '` + client.AnyKeyspace + `') WHERE s.imported_keys),
		x.digest
	FROM clients c LEFT JOIN client_secrets x ON x.client_id = c.id `

// CreateClient implements manage.ClientStore.
func (s *Store) CreateClient(ctx context.Context, c client.Client) error {
	err := s.write.do(ctx, func(tx *transaction) error {
		_, err := tx.exec(ctx, `INSERT INTO clients (id, rights, audiences, keyspaces, permissions, algorithm, disabled, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			c.ID, jsonOf{c.Rights}, jsonOf{c.Audiences}, jsonOf{c.Keyspaces}, jsonOf{c.Permissions},
			c.Algorithm, c.Disabled, stamp(c.CreatedAt))
		if err != nil {
			return err
		}
		for i, digest := range c.Secrets {
			_, err := tx.exec(ctx, `INSERT INTO client_secrets (client_id, position, digest) VALUES (?, ?, ?)`,
				c.ID, i, digest[:])
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("creating client %s: %w", c.ID, taken(err))
	}
	return nil
}

// Client implements manage.ClientStore.
func (s *Store) Client(ctx context.Context, id string) (*client.Client, error) {
	rows, err := s.read.QueryContext(ctx, selectClients+`WHERE c.id = ? ORDER BY x.position`, id)
	if err != nil {
		return nil, fmt.Errorf("client %s: %w", id, err)
	}
	found, err := collectClients(rows)
	if err != nil {
		return nil, fmt.Errorf("client %s: %w", id, err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

// Clients implements manage.ClientStore.
func (s *Store) Clients(ctx context.Context) ([]client.Client, error) {
	rows, err := s.read.QueryContext(ctx, selectClients+`ORDER BY c.id, x.position`)
	if err != nil {
		return nil, fmt.Errorf("listing clients: %w", err)
	}
	found, err := collectClients(rows)
	if err != nil {
		return nil, fmt.Errorf("listing clients: %w", err)
	}
	return found, nil
}

// collectClients joins the rows of each client.
func collectClients(rows *sql.Rows) ([]client.Client, error) {
	all, err := collect(rows, scanClient)
	if err != nil {
		return nil, err
	}
	var joined []client.Client
	for _, c := range all {
		if last := len(joined) - 1; last >= 0 && joined[last].ID == c.ID {
			joined[last].Secrets = append(joined[last].Secrets, c.Secrets...)
			continue
		}
		joined = append(joined, c)
	}
	return joined, nil
}

// scanClient reads a client with at most one of its secrets.
func scanClient(row scanner) (client.Client, error) {
	var c client.Client
	var digest sql.Null[[]byte]
	err := row.Scan(&c.ID, jsonTo{&c.Rights}, jsonTo{&c.Audiences}, jsonTo{&c.Keyspaces}, jsonTo{&c.Permissions},
		&c.Algorithm, &c.Disabled, stampTo{&c.CreatedAt}, &c.Version, &c.ImportedKeys, &digest)
	if err != nil || !digest.Valid {
		return c, err
	}
	c.Secrets = append(c.Secrets, [32]byte{})
	return c, digestTo{&c.Secrets[0]}.Scan(digest.V)
}
