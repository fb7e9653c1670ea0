package main

import (
	"context"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// keyChange is a change of one key.
type keyChange struct {
	keyArg      `embed:""`
	changeFlags `embed:""`
}

// run makes the change and prints the key as it is then.
func (c keyChange) run(ctx context.Context, p process, do func(*manage.Manager, context.Context, verifier.KeyID) (manage.KeyView, error)) error {
	if err := c.check(); err != nil {
		return err
	}
	return c.change(ctx, p, func(m *manage.Manager) error {
		key, err := do(m, ctx, c.ID)
		if err != nil {
			return err
		}
		return c.printKey(p, key)
	})
}

type keyDisableCmd struct {
	keyChange `embed:""`
}

func (*keyDisableCmd) Help() string {
	return `Every exchange that starts afterwards is refused, until key enable. ` + knownSoon + ` What has not expired by then is good again.

Example:

    cambio key disable key_0198c0ffee… --reason 'unpaid since May'`
}

func (c *keyDisableCmd) Run(ctx context.Context, p process) error {
	return c.run(ctx, p, (*manage.Manager).DisableKey)
}

type keyEnableCmd struct {
	keyChange `embed:""`
}

func (*keyEnableCmd) Help() string {
	return `A revoked key stays revoked.

Example:

    cambio key enable key_0198c0ffee…`
}

func (c *keyEnableCmd) Run(ctx context.Context, p process) error {
	return c.run(ctx, p, (*manage.Manager).EnableKey)
}

type keyRevokeCmd struct {
	keyChange `embed:""`
}

func (*keyRevokeCmd) Help() string {
	return `This is final. Every exchange that starts afterwards is refused. ` + knownSoon + `

Example:

    cambio key revoke key_0198c0ffee… --reason 'seen in a public repository'`
}

func (c *keyRevokeCmd) Run(ctx context.Context, p process) error {
	return c.run(ctx, p, (*manage.Manager).RevokeKey)
}

type keyDeleteCmd struct {
	keyChange `embed:""`
}

func (*keyDeleteCmd) Help() string {
	return `Revokes the key, and forgets its name, permissions, audiences and metadata. Its id, digest, owner and times stay, so that usage and log keep their meaning and the same key is not imported again. key list does not show it any more; key show does. The log still has what it was.

Example:

    cambio key delete key_0198c0ffee…`
}

func (c *keyDeleteCmd) Run(ctx context.Context, p process) error {
	return c.run(ctx, p, (*manage.Manager).DeleteKey)
}

type keyVoidCmd struct {
	keyChange `embed:""`
}

func (*keyVoidCmd) Help() string {
	return `The key stays as it is: an exchange that starts afterwards gives a token that is good. For all keys of an owner or a keyspace there is cambio void.

` + knownSoon + `

Example:

    cambio key void key_0198c0ffee…`
}

func (c *keyVoidCmd) Run(ctx context.Context, p process) error {
	return c.run(ctx, p, func(m *manage.Manager, ctx context.Context, id verifier.KeyID) (manage.KeyView, error) {
		key, err := m.VoidKey(ctx, id)
		if err == nil {
			p.note("every token of %s so far is void; known to checkers within %s", id, issuer.StatusDelay)
		}
		return key, err
	})
}
