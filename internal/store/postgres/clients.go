package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	clientOf = `SELECT c.id, c.rights, c.audiences, c.keyspaces, c.permissions, c.algorithm, c.registered, c.disabled, c.created_at, c.changed_at, c.version,
		EXISTS (SELECT 1 FROM keyspaces s
			WHERE s.imported_keys AND (s.name = ANY (c.keyspaces) OR '` + client.AnyKeyspace + `' = ANY (c.keyspaces))),
		EXISTS (SELECT 1 FROM keyspaces s
			WHERE s.weak_keys AND (s.name = ANY (c.keyspaces) OR '` + client.AnyKeyspace + `' = ANY (c.keyspaces))),
		ARRAY (SELECT x.digest FROM client_secrets x WHERE x.client_id = c.id ORDER BY x.position),
		ARRAY (SELECT x.created_at FROM client_secrets x WHERE x.client_id = c.id ORDER BY x.position) `
	selectClients = clientOf + `FROM clients c`
	clientByID    = selectClients + ` WHERE c.id = $1`

	// A client that does not exist is a row without an id, and costs what others do.
	clientOrNone = clientOf + `FROM (SELECT k.* FROM (SELECT $1::text AS id) asked LEFT JOIN clients k ON k.id = asked.id) c`
	lockClient   = `SELECT 1 FROM clients WHERE id = $1 FOR NO KEY UPDATE`

	// The first version is the time: a client of that id that was deleted never had it.
	insertClient = `INSERT INTO clients (id, rights, audiences, keyspaces, permissions, algorithm, registered, disabled, created_at, changed_at, version)
		VALUES ($1, $2::text[], $3::text[], $4::text[], $5, $6, $7, $8, $9, $10, ` + clock + `)`
	updateClient = `UPDATE clients SET rights = $2::text[], audiences = $3::text[], keyspaces = $4::text[], permissions = $5, algorithm = $6,
		registered = $7, disabled = $8, changed_at = $9, version = version + 1 WHERE id = $1`
	insertSecrets = `INSERT INTO client_secrets (client_id, position, digest, created_at)
		SELECT $1::text, x.position - 1, x.digest, x.created_at
		FROM unnest($2::bytea[], $3::bigint[]) WITH ORDINALITY AS x (digest, created_at, position)`
	deleteSecrets = `DELETE FROM client_secrets WHERE client_id = $1`
)

// Client implements manage.Reader. Errors do not repeat the id: who is not
// authenticated yet may have given anything for one, also a secret.
func (s *Store) Client(ctx context.Context, id string) (*client.Client, error) {
	found, err := query(ctx, s, scanClientOrNone, clientOrNone, id)
	if err != nil {
		return nil, fmt.Errorf("reading a client: %w", err)
	}
	return found[0], nil
}

// Clients implements manage.Reader.
func (s *Store) Clients(ctx context.Context) ([]client.Client, error) {
	all, err := query(ctx, s, scanClient, selectClients+` ORDER BY c.id`)
	if err != nil {
		return nil, fmt.Errorf("listing clients: %w", err)
	}
	return all, nil
}

// Client implements manage.ClientTx.
func (c *change) Client(ctx context.Context, id string) (*client.Client, error) {
	found, err := rowsOf(ctx, c.transaction, scanClient, statement{clientByID, []any{id}})
	if err != nil {
		return nil, fmt.Errorf("client %s: %w", id, err)
	}
	return first(found), nil
}

// first is nil if there is none.
func first[T any](found []T) *T {
	if len(found) == 0 {
		return nil
	}
	return &found[0]
}

// AddClient implements manage.ClientTx.
func (c *change) AddClient(ctx context.Context, add client.Client) error {
	args, err := clientArgs(&add, add.CreatedAt, add.ChangedAt)
	var secrets []any
	if err == nil {
		secrets, err = secretArgs(&add)
	}
	if err == nil {
		_, err = c.exec(ctx, statement{meetKeyspaces, nil}, statement{insertClient, args}, statement{insertSecrets, secrets})
	}
	if err != nil {
		return fmt.Errorf("adding client %s: %w", add.ID, taken(err))
	}
	return nil
}

// LockClient implements manage.ClientTx.
func (c *change) LockClient(ctx context.Context, id string) (client.Client, error) {
	found, err := the(rowsOf(ctx, c.transaction, scanClient, statement{lockClient, []any{id}}, statement{clientByID, []any{id}}))
	if err != nil {
		return client.Client{}, fmt.Errorf("locking client %s: %w", id, err)
	}
	return found, nil
}

// SaveClient implements manage.ClientTx.
func (c *change) SaveClient(ctx context.Context, save client.Client) error {
	args, err := clientArgs(&save, c.now)
	var secrets []any
	if err == nil {
		secrets, err = secretArgs(&save)
	}
	if err == nil {
		var affected []int64
		affected, err = c.exec(ctx, statement{updateClient, args}, statement{deleteSecrets, args[:1]}, statement{insertSecrets, secrets})
		err = changed(affected[0], err)
	}
	if err != nil {
		return fmt.Errorf("saving client %s: %w", save.ID, err)
	}
	return nil
}

// DeleteClient implements manage.ClientTx.
func (c *change) DeleteClient(ctx context.Context, id string) error {
	affected, err := c.exec(ctx, statement{deleteSecrets, []any{id}}, statement{`DELETE FROM clients WHERE id = $1`, []any{id}})
	if err := changed(affected[1], err); err != nil {
		return fmt.Errorf("deleting client %s: %w", id, err)
	}
	return nil
}

// clientArgs are the parameters of insertClient and updateClient.
func clientArgs(c *client.Client, times ...time.Time) ([]any, error) {
	permissions, err := permissionsText(c.Permissions)
	if err != nil {
		return nil, fmt.Errorf("permissions: %w", err)
	}
	registered, err := c.Text()
	if err != nil {
		return nil, err
	}
	at, err := stamps(times...)
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
	args := []any{c.ID, rights, c.Audiences, c.Keyspaces, permissions, c.Algorithm, registered, c.Disabled}
	for _, t := range at {
		args = append(args, t)
	}
	return args, nil
}

// secretArgs are the parameters of insertSecrets.
func secretArgs(c *client.Client) ([]any, error) {
	digests, times := make([]verifier.Digest, len(c.Secrets)), make([]time.Time, len(c.Secrets))
	for i, secret := range c.Secrets {
		digests[i], times[i] = secret.Digest, secret.CreatedAt
	}
	at, err := stamps(times...)
	return []any{c.ID, bytesOf(digests), at}, err
}

// scanClientOrNone returns nil for a client that does not exist.
func scanClientOrNone(row pgx.CollectableRow) (*client.Client, error) {
	if row.RawValues()[0] == nil {
		return nil, nil //nolint:nilnil // it is what was asked
	}
	c, err := scanClient(row)
	return &c, err
}

func scanClient(row pgx.CollectableRow) (c client.Client, err error) {
	var rights []string
	var permissions []byte
	var created, changed pgtype.Int8
	var secrets [][]byte
	var since []pgtype.Int8
	var registered string
	err = row.Scan(&c.ID, &rights, &c.Audiences, &c.Keyspaces, &permissions, &c.Algorithm, &registered, &c.Disabled, &created, &changed, &c.Version,
		&c.ImportedKeys, &c.WeakKeys, &secrets, &since)
	if err != nil {
		return c, err
	}
	if rights != nil {
		c.Rights = make([]client.Right, len(rights))
	}
	for i, r := range rights {
		c.Rights[i] = client.Right(r)
	}
	c.CreatedAt, c.ChangedAt = stamped(created), stamped(changed)
	if c.Registered, err = client.ParseRegistered(registered); err != nil {
		return c, err
	}
	if c.Permissions, err = parsePermissions(permissions); err != nil {
		return c, err
	}
	for i, secret := range secrets {
		digest, err := digestOf(secret)
		if err != nil {
			return c, err
		}
		c.Secrets = append(c.Secrets, client.Secret{Digest: digest, CreatedAt: stamped(since[i])})
	}
	return c, nil
}
