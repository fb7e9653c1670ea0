package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
)

// A client has one row for each of its secrets, oldest first, and one with a
// NULL if it has none.
const selectClients = `SELECT c.id, c.rights, c.audiences, c.keyspaces, c.permissions, c.algorithm, c.registered, c.disabled, c.created_at,
		c.changed_at, c.version,
		EXISTS (SELECT 1 FROM keyspaces s JOIN json_each(c.keyspaces) may
			ON may.value IN (s.name, '` + client.AnyKeyspace + `') WHERE s.imported_keys),
		EXISTS (SELECT 1 FROM keyspaces s JOIN json_each(c.keyspaces) may
			ON may.value IN (s.name, '` + client.AnyKeyspace + `') WHERE s.weak_keys),
		x.digest, x.created_at
	FROM clients c LEFT JOIN client_secrets x ON x.client_id = c.id `

const selectClient = selectClients + `WHERE c.id = ? ORDER BY x.position`

// Client implements manage.Reader. Errors do not repeat the id: who is not
// authenticated yet may have given anything for one, also a secret.
func (s *Store) Client(ctx context.Context, id string) (*client.Client, error) {
	rows, err := s.read.QueryContext(ctx, selectClient, id)
	if err != nil {
		return nil, fmt.Errorf("reading a client: %w", err)
	}
	found, err := collectClients(rows)
	if err != nil {
		return nil, fmt.Errorf("reading a client: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

// Clients implements manage.Reader.
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
	var secret client.Secret
	var registered string
	err := row.Scan(&c.ID, jsonTo{&c.Rights}, jsonTo{&c.Audiences}, jsonTo{&c.Keyspaces}, jsonTo{&c.Permissions},
		&c.Algorithm, &registered, &c.Disabled, stampTo{&c.CreatedAt}, stampTo{&c.ChangedAt}, &c.Version, &c.ImportedKeys, &c.WeakKeys,
		&digest, stampTo{&secret.CreatedAt})
	if err == nil {
		c.Registered, err = client.ParseRegistered(registered)
	}
	if err != nil || !digest.Valid {
		return c, err
	}
	err = hashTo(secret.Digest[:]).Scan(digest.V)
	c.Secrets = append(c.Secrets, secret)
	return c, err
}

// versions is how many versions a new client may begin at. All are integers that
// JSON keeps.
const versions = 1 << 52

// Client implements manage.ClientTx.
func (c *change) Client(ctx context.Context, id string) (*client.Client, error) {
	rows, err := c.query(ctx, selectClient, id)
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

// LockClient implements manage.ClientTx.
func (c *change) LockClient(ctx context.Context, id string) (client.Client, error) {
	found, err := c.Client(ctx, id)
	if err != nil {
		return client.Client{}, err
	}
	if found == nil {
		return client.Client{}, fmt.Errorf("client %s: %w", id, manage.ErrNotFound)
	}
	return *found, nil
}

// AddClient implements manage.ClientTx. The version is random: no clock, which may
// step back, says which ones a client of that id had before.
func (c *change) AddClient(ctx context.Context, cl client.Client) error {
	registered, err := cl.Text()
	if err != nil {
		return fmt.Errorf("adding client %s: %w", cl.ID, err)
	}
	_, err = c.exec(ctx, `INSERT INTO clients (id, rights, audiences, keyspaces, permissions, algorithm, registered, disabled, created_at, version)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		cl.ID, jsonOf{cl.Rights}, jsonOf{cl.Audiences}, jsonOf{cl.Keyspaces}, jsonOf{cl.Permissions},
		cl.Algorithm, registered, cl.Disabled, stamp(cl.CreatedAt), 1+randomBelow(versions))
	if err == nil {
		err = c.addSecrets(ctx, cl)
	}
	if err != nil {
		return fmt.Errorf("adding client %s: %w", cl.ID, taken(err))
	}
	return nil
}

func (c *change) addSecrets(ctx context.Context, cl client.Client) error {
	for i, secret := range cl.Secrets {
		_, err := c.exec(ctx, `INSERT INTO client_secrets (client_id, position, digest, created_at) VALUES (?, ?, ?, ?)`,
			cl.ID, i, secret.Digest[:], stamp(secret.CreatedAt))
		if err != nil {
			return err
		}
	}
	return nil
}

// SaveClient implements manage.ClientTx.
func (c *change) SaveClient(ctx context.Context, cl client.Client) error {
	registered, err := cl.Text()
	if err != nil {
		return fmt.Errorf("changing client %s: %w", cl.ID, err)
	}
	n, err := c.exec(ctx, `UPDATE clients SET (rights, audiences, keyspaces, permissions, algorithm, registered, disabled, version, changed_at)
		= (?2, ?3, ?4, ?5, ?6, ?7, ?8, version + 1, ?9) WHERE id = ?1`,
		cl.ID, jsonOf{cl.Rights}, jsonOf{cl.Audiences}, jsonOf{cl.Keyspaces}, jsonOf{cl.Permissions},
		cl.Algorithm, registered, cl.Disabled, stamp(c.now))
	if err == nil && n == 0 {
		err = manage.ErrNotFound
	}
	if err == nil {
		err = c.deleteSecrets(ctx, cl.ID)
	}
	if err == nil {
		err = c.addSecrets(ctx, cl)
	}
	if err != nil {
		return fmt.Errorf("changing client %s: %w", cl.ID, err)
	}
	return nil
}

func (c *change) deleteSecrets(ctx context.Context, id string) error {
	_, err := c.exec(ctx, `DELETE FROM client_secrets WHERE client_id = ?`, id)
	return err
}

// DeleteClient implements manage.ClientTx.
func (c *change) DeleteClient(ctx context.Context, id string) error {
	err := c.deleteSecrets(ctx, id)
	var n int64
	if err == nil {
		n, err = c.exec(ctx, `DELETE FROM clients WHERE id = ?`, id)
	}
	if err == nil && n == 0 {
		err = manage.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("deleting client %s: %w", id, err)
	}
	return nil
}
