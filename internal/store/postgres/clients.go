package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/internal/client"
)

const selectClients = `SELECT c.id, c.rights, c.audiences, c.keyspaces, c.permissions, c.algorithm, c.disabled, c.created_at, c.version,
		EXISTS (SELECT 1 FROM keyspaces s
			WHERE s.imported_keys AND (s.name = ANY (c.keyspaces) OR '` + client.AnyKeyspace + `' = ANY (c.keyspaces))),
		ARRAY (SELECT x.digest FROM client_secrets x WHERE x.client_id = c.id ORDER BY x.position)
	FROM clients c`

// CreateClient implements manage.ClientStore.
func (s *Store) CreateClient(ctx context.Context, c client.Client) error {
	args, err := clientArgs(c)
	if err == nil {
		err = s.transact(ctx, func(tx *transaction) ([]statement, error) {
			_, err := tx.write(ctx,
				statement{beforeClient, nil},
				statement{`INSERT INTO clients (id, rights, audiences, keyspaces, permissions, algorithm, disabled, created_at)
					VALUES ($1, $2::text[], $3::text[], $4::text[], $5, $6, $7, $8)`, args},
				statement{`INSERT INTO client_secrets (client_id, position, digest)
					SELECT $1::text, x.position - 1, x.digest FROM unnest($2::bytea[]) WITH ORDINALITY AS x (digest, position)`,
					[]any{c.ID, bytesOf(c.Secrets)}})
			return nil, taken(err)
		})
	}
	if err != nil {
		return fmt.Errorf("creating client %s: %w", c.ID, err)
	}
	return nil
}

func clientArgs(c client.Client) ([]any, error) {
	permissions, err := permissionsText(c.Permissions)
	if err != nil {
		return nil, fmt.Errorf("permissions: %w", err)
	}
	created, err := stamp(c.CreatedAt)
	if err != nil {
		return nil, err
	}
	var rights []string
	if c.Rights != nil {
		rights = make([]string, len(c.Rights))
	}
	for i, r := range c.Rights {
		rights[i] = string(r)
	}
	return []any{c.ID, rights, c.Audiences, c.Keyspaces, permissions, c.Algorithm, c.Disabled, created}, nil
}

// Client implements manage.ClientStore.
func (s *Store) Client(ctx context.Context, id string) (*client.Client, error) {
	found, err := query(ctx, s, scanClient, selectClients+` WHERE c.id = $1`, id)
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
	all, err := query(ctx, s, scanClient, selectClients+` ORDER BY c.id`)
	if err != nil {
		return nil, fmt.Errorf("listing clients: %w", err)
	}
	return all, nil
}

func scanClient(row pgx.CollectableRow) (c client.Client, err error) {
	var rights []string
	var permissions []byte
	var created pgtype.Int8
	var secrets [][]byte
	err = row.Scan(&c.ID, &rights, &c.Audiences, &c.Keyspaces, &permissions, &c.Algorithm, &c.Disabled, &created, &c.Version,
		&c.ImportedKeys, &secrets)
	if err != nil {
		return c, err
	}
	if rights != nil {
		c.Rights = make([]client.Right, len(rights))
	}
	for i, r := range rights {
		c.Rights[i] = client.Right(r)
	}
	c.CreatedAt = stamped(created)
	if c.Permissions, err = parsePermissions(permissions); err != nil {
		return c, err
	}
	for _, secret := range secrets {
		digest, err := digestOf(secret)
		if err != nil {
			return c, err
		}
		c.Secrets = append(c.Secrets, digest)
	}
	return c, nil
}
