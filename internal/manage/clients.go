package manage

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// secretPrefix begins every client secret.
const secretPrefix = "cs"

const maxKeyspaces = 100

// clientIDPattern leaves out what form-encoding would change, for the OAuth
// clients that do not encode their id (RFC 6749 §2.3.1).
var clientIDPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// NewClient describes a client to make.
type NewClient struct {
	ID          string
	Rights      []client.Right       // none: tokens:exchange
	Audiences   []string             // whom it may ask tokens for
	Keyspaces   []string             // none: default; "*": every one
	Permissions verifier.Permissions // the most its tokens may hold; nil: no bound
	Algorithm   string               // the JWS alg that its backends can read; empty: the server's first
}

// CreateClient returns the client and its secret, which is not to be had
// again. It fails with InvalidErrors, or with ErrExists.
func (m *Manager) CreateClient(ctx context.Context, n NewClient) (client.Client, verifier.Secret, error) {
	if len(n.Rights) == 0 {
		n.Rights = []client.Right{client.TokensExchange}
	}
	if len(n.Keyspaces) == 0 {
		n.Keyspaces = []string{"default"}
	}
	if err := m.validateClient(ctx, n); err != nil {
		return client.Client{}, verifier.Secret{}, err
	}
	secret, err := verifier.GenerateKey(secretPrefix)
	if err != nil {
		return client.Client{}, verifier.Secret{}, err
	}
	c := client.Client{
		ID:          n.ID,
		Rights:      distinct(n.Rights),
		Audiences:   distinct(n.Audiences),
		Keyspaces:   distinct(n.Keyspaces),
		Permissions: n.Permissions,
		Algorithm:   n.Algorithm,
		Secrets:     []client.Secret{{Digest: secret.Digest(), CreatedAt: m.now().UTC()}},
		CreatedAt:   m.now().UTC(),
	}
	if err := m.store.Change(ctx, func(ctx context.Context, tx Tx) error { return tx.AddClient(ctx, c) }); err != nil {
		return client.Client{}, verifier.Secret{}, err
	}
	return c, secret, nil
}

func (m *Manager) validateClient(ctx context.Context, n NewClient) error {
	var bad fields
	if !clientIDPattern.MatchString(n.ID) {
		bad.check("client_id", errors.New("must be 1 to 64 of letters, digits and . _ -"))
	}
	for _, r := range n.Rights {
		if !slices.Contains(client.Rights(), r) {
			bad.check("rights", fmt.Errorf("%.40q is not one of %s", r, joinRights()))
		}
	}
	if n.Algorithm != "" && !slices.Contains(wire.SigningAlgs(), n.Algorithm) {
		bad.check("algorithm", fmt.Errorf("%.40q is not one of %s", n.Algorithm, strings.Join(wire.SigningAlgs(), ", ")))
	}
	bad.check("audiences", validAudiences(n.Audiences))
	bad.check("permissions", validPermissions(n.Permissions))
	if len(n.Keyspaces) > maxKeyspaces {
		bad.check("keyspaces", fmt.Errorf("at most %d", maxKeyspaces))
		return bad.err()
	}
	for _, name := range n.Keyspaces {
		if name == client.AnyKeyspace {
			continue
		}
		if _, err := m.store.Keyspace(ctx, name); errors.Is(err, ErrNotFound) {
			bad.check("keyspaces", err)
		} else if err != nil {
			return err
		}
	}
	return bad.err()
}

// Client fails with ErrNotFound.
func (m *Manager) Client(ctx context.Context, id string) (client.Client, error) {
	c, err := m.store.Client(ctx, id)
	switch {
	case err != nil:
		return client.Client{}, err
	case c == nil:
		return client.Client{}, fmt.Errorf("client %.64s: %w", id, ErrNotFound)
	}
	return *c, nil
}

// Clients lists all of them by id.
func (m *Manager) Clients(ctx context.Context) ([]client.Client, error) {
	return m.store.Clients(ctx)
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
