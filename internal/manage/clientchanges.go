package manage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/verifier"
)

// Errors that refuse to change a client's secrets.
var (
	ErrTwoSecrets = fmt.Errorf("there are %d secrets already: revoke one first", client.MaxSecrets)
	ErrLastSecret = errors.New("it is the only secret: add another first, or disable the client")
)

// changeClient lets do change a client that is locked, as these keyspaces are, and
// logs what it did. Who changes a client must hold all that it holds before and
// after: its secrets would be theirs.
func (m *Manager) changeClient(ctx context.Context, id, action string, keyspaces []string, do func(c *client.Client, now time.Time) (changed bool, err error)) (client.Client, error) {
	target := id
	err := m.change(ctx, &target, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		if err := there(ctx, tx, keyspaces); err != nil {
			return nil, err
		}
		c, err := m.lockClient(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		before := c
		before.Secrets = slices.Clone(c.Secrets)
		changed, err := do(&c, tx.Now())
		if err == nil && changed {
			err = m.by.makes(c)
		}
		if err != nil || !changed {
			return nil, err
		}
		if err := tx.SaveClient(ctx, c); err != nil {
			return nil, err
		}
		c.Version, c.ChangedAt = c.Version+1, tx.Now()
		return clientEntry(action, &before, &c)
	})
	if err != nil {
		return client.Client{}, err
	}
	return told(m.Client(ctx, target))
}

func (m *Manager) lockClient(ctx context.Context, tx Tx, id string) (client.Client, error) {
	c, err := tx.LockClient(ctx, id)
	if err == nil {
		err = m.by.makes(c)
	}
	if err == nil {
		err = m.by.of(c.Version)
	}
	if err != nil {
		return client.Client{}, fmt.Errorf("client %.64q: %w", id, err)
	}
	return c, nil
}

// ClientPatch says what is to be otherwise about a client. Nil fields stay.
type ClientPatch struct {
	Rights      *[]client.Right
	Audiences   *[]string
	Keyspaces   *[]string
	Permissions *verifier.Permissions // of nil: no bound
	Algorithm   *string
	Registered  RegisteredPatch
}

// PatchClient changes what a client may do, from its next call on. Tokens that it
// was given before live on until they expire. It fails with InvalidErrors,
// ErrNotFound, ErrForbidden, ErrChanged or ErrNoCredential.
func (m *Manager) PatchClient(ctx context.Context, id string, p ClientPatch) (client.Client, error) {
	var keyspaces []string
	set(&keyspaces, p.Keyspaces)
	return m.changeClient(ctx, id, "client.change", keyspaces, func(c *client.Client, _ time.Time) (bool, error) {
		set(&c.Rights, p.Rights)
		set(&c.Audiences, p.Audiences)
		set(&c.Keyspaces, p.Keyspaces)
		set(&c.Permissions, p.Permissions)
		set(&c.Algorithm, p.Algorithm)
		c.Rights, c.Audiences, c.Keyspaces = distinct(c.Rights), distinct(c.Audiences), distinct(c.Keyspaces)
		if err := errors.Join(validClient(*c), p.Registered.apply(&c.Registered)); err != nil {
			return false, err
		}
		if p.Registered == (RegisteredPatch{}) {
			return true, nil
		}
		return true, authenticates(*c)
	})
}

// DisableClient refuses a client from now on, until EnableClient. Doing either
// twice is no error.
func (m *Manager) DisableClient(ctx context.Context, id string) (client.Client, error) {
	return m.setDisabled(ctx, id, "client.disable", true)
}

// EnableClient ends DisableClient.
func (m *Manager) EnableClient(ctx context.Context, id string) (client.Client, error) {
	return m.setDisabled(ctx, id, "client.enable", false)
}

func (m *Manager) setDisabled(ctx context.Context, id, action string, disabled bool) (client.Client, error) {
	return m.changeClient(ctx, id, action, nil, func(c *client.Client, _ time.Time) (bool, error) {
		if c.Disabled == disabled {
			return false, nil
		}
		c.Disabled = disabled
		return true, nil
	})
}

// AddSecret gives a client a second secret: both work, so that programs can be
// changed over one by one. It fails with ErrTwoSecrets, or as PatchClient does.
func (m *Manager) AddSecret(ctx context.Context, id string) (CreatedClient, error) {
	var secret verifier.Secret
	c, err := m.changeClient(ctx, id, "client.secret.add", nil, func(c *client.Client, now time.Time) (_ bool, err error) {
		if len(c.Secrets) >= client.MaxSecrets {
			return false, ErrTwoSecrets
		}
		if secret, err = verifier.GenerateKey(secretPrefix); err != nil {
			return false, err
		}
		c.Secrets = append(c.Secrets, client.Secret{Digest: secret.Digest(), CreatedAt: now})
		return true, nil
	})
	return CreatedClient{c, secret}, err
}

// RevokeSecret ends a secret of a client, which is refused from now on. The last one can
// go if the client has another way to authenticate. It fails
// with ErrLastSecret, ErrNotFound, or as PatchClient does.
func (m *Manager) RevokeSecret(ctx context.Context, id, secret string) (client.Client, error) {
	return m.changeClient(ctx, id, "client.secret.revoke", nil, func(c *client.Client, _ time.Time) (bool, error) {
		left := slices.DeleteFunc(slices.Clone(c.Secrets), func(s client.Secret) bool { return s.ID() == secret })
		switch {
		case len(left) == len(c.Secrets):
			return false, fmt.Errorf("secret %.40q: %w", secret, ErrNotFound)
		case len(left) == 0 && !c.Any():
			return false, ErrLastSecret
		}
		c.Secrets = left
		return true, nil
	})
}

// DeleteClient removes a client. What it used and did stays in usage and log.
func (m *Manager) DeleteClient(ctx context.Context, id string) error {
	target := id
	return m.change(ctx, &target, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		c, err := m.lockClient(ctx, tx, id)
		if err == nil {
			err = tx.DeleteClient(ctx, id)
		}
		if err != nil {
			return nil, err
		}
		return clientEntry("client.delete", &c, nil)
	})
}
