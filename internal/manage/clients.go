package manage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// secretPrefix begins every client secret.
const secretPrefix = "cs"

const maxKeyspaces = 100

// NewClient describes a client to make.
type NewClient struct {
	ID          string
	Rights      []client.Right       // none: tokens:exchange
	Audiences   []string             // whom it may ask tokens for; "*": it may give any to clients that it makes
	Keyspaces   []string             // none: default; "*": every one
	Permissions verifier.Permissions // the most its tokens may hold; nil: no bound
	Algorithm   string               // the JWS alg that its backends can read; empty: the server's first
	Registered  NewRegistered
	NoSecret    bool // it has what is Registered, and no secret
}

// CreatedClient is a client with a secret, which is not to be had again. A repeat
// has none, nor has a client that was to have none.
type CreatedClient struct {
	client.Client
	Secret verifier.Secret
}

// CreateClient makes a client. It fails with InvalidErrors, with ErrExists, with
// ErrNotFound for a keyspace that the caller may not manage, or with ErrForbidden.
func (m *Manager) CreateClient(ctx context.Context, n NewClient) (CreatedClient, error) {
	if len(n.Rights) == 0 {
		n.Rights = []client.Right{client.TokensExchange}
	}
	if len(n.Keyspaces) == 0 {
		n.Keyspaces = []string{"default"}
	}
	c := client.Client{
		ID:          n.ID,
		Rights:      distinct(n.Rights),
		Audiences:   distinct(n.Audiences),
		Keyspaces:   distinct(n.Keyspaces),
		Permissions: n.Permissions,
		Algorithm:   n.Algorithm,
	}
	if err := errors.Join(validClientID(n.ID), validClient(c), n.Registered.patch().apply(&c.Registered)); err != nil {
		return CreatedClient{}, err
	}
	if n.NoSecret && !c.Any() {
		return CreatedClient{}, &InvalidError{"no_secret", errors.New("needs a key, a certificate or a name to authenticate with")}
	}
	if err := m.by.makes(c); err != nil {
		return CreatedClient{}, err
	}
	id := c.ID
	var secret verifier.Secret
	err := m.change(ctx, &id, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		if err := there(ctx, tx, c.Keyspaces); err != nil {
			return nil, err
		}
		c.CreatedAt = tx.Now()
		if !n.NoSecret {
			var err error
			if secret, err = verifier.GenerateKey(secretPrefix); err != nil {
				return nil, err
			}
			c.Secrets = []client.Secret{{Digest: secret.Digest(), CreatedAt: tx.Now()}}
		}
		if err := tx.AddClient(ctx, c); err != nil {
			return nil, err
		}
		return clientEntry("client.create", nil, &c)
	})
	if err != nil {
		return CreatedClient{}, err
	}
	made, err := told(m.Client(ctx, id))
	return CreatedClient{made, secret}, err
}

// clientEntry describes a change of a client; before or after may be nil.
func clientEntry(action string, before, after *client.Client) (*audit.Entry, error) {
	var id string
	parts := [2]any{}
	for i, c := range []*client.Client{before, after} {
		if c != nil {
			id, parts[i] = c.ID, ClientWire(*c)
		}
	}
	return entry(action, id, "", parts[0], parts[1])
}

func validClientID(id string) error {
	if !client.ValidID(id) {
		return &InvalidError{"client_id", errors.New("must be 1 to 64 of letters, digits and . _ -, neither . nor .. alone")}
	}
	return nil
}

func validClient(c client.Client) error {
	var bad fields
	for _, r := range c.Rights {
		if !slices.Contains(client.Rights(), r) {
			bad.check("rights", fmt.Errorf("%.40q is not one of %s", r, joinRights()))
		}
	}
	if c.Algorithm != "" && !slices.Contains(wire.SigningAlgs(), c.Algorithm) {
		bad.check("algorithm", fmt.Errorf("%.40q is not one of %s", c.Algorithm, strings.Join(wire.SigningAlgs(), ", ")))
	}
	bad.check("audiences", validAudiences(c.Audiences))
	bad.check("permissions", validPermissions(c.Permissions))
	if len(c.Keyspaces) > maxKeyspaces {
		bad.check("keyspaces", fmt.Errorf("at most %d", maxKeyspaces))
	}
	return bad.err()
}

// there makes sure that keyspaces exist, and go on existing until the transaction
// ends.
func there(ctx context.Context, tx Tx, keyspaces []string) error {
	var bad fields
	for _, name := range slices.Sorted(slices.Values(keyspaces)) {
		if name == client.AnyKeyspace {
			continue
		}
		if _, err := lockNamed(ctx, tx, name); errors.Is(err, ErrNotFound) {
			bad.check("keyspaces", err)
		} else if err != nil {
			return err
		}
	}
	return bad.err()
}

// Client fails with ErrNotFound, also for a client of keyspaces that may not be
// managed.
func (m *Manager) Client(ctx context.Context, id string) (client.Client, error) {
	c, err := m.store.Client(ctx, id)
	switch {
	case err != nil:
		return client.Client{}, err
	case c == nil, errors.Is(m.by.makes(*c), ErrNotFound):
		return client.Client{}, fmt.Errorf("client %.64q: %w", id, ErrNotFound)
	}
	return *c, nil
}

// Clients lists all of them by id.
func (m *Manager) Clients(ctx context.Context) ([]client.Client, error) {
	all, err := m.store.Clients(ctx)
	return slices.DeleteFunc(all, func(c client.Client) bool { return errors.Is(m.by.makes(c), ErrNotFound) }), err
}

func distinct[T ~string](list []T) []T {
	out := make([]T, 0, len(list))
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func joinRights() string {
	var names []string
	for _, r := range client.Rights() {
		names = append(names, string(r))
	}
	return strings.Join(names, " ")
}
