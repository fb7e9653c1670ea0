package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
)

type keyspaceUpdateCmd struct {
	Name            string         `arg:"" help:"The keyspace."`
	Prefix          *string        `placeholder:"PREFIX" help:"What its keys begin with from now on."`
	KeyLifetime     *time.Duration `placeholder:"DURATION" help:"How long keys live that are made from now on; 0s: for ever."`
	TokenLifetime   *time.Duration `placeholder:"DURATION" help:"How long tokens of its keys live; 0s: as long as the server says."`
	PublishMetadata *bool          `negatable:"" help:"Put the metadata of its keys into their tokens."`
	ImportedKeys    *bool          `negatable:"" help:"It holds keys that were made elsewhere, in other forms."`
	WeakKeys        *bool          `negatable:"" help:"Some of them can be guessed: limit failures harder."`
	versionFlag     `embed:""`
	changeFlags     `embed:""`
}

func (*keyspaceUpdateCmd) Help() string {
	return `What is not named stays. Keys keep their form and expiry; the rest is of consequence at their next exchange.

Where a keyspace holds imported keys, a wrong checksum proves nothing, and every key that a client presents is looked up. So end it with --no-imported-keys when the last of them has been rotated.

Where some keys can be guessed, a client and address that presented too many bad keys is refused every key of another form than ours for a while, good ones too. An import with --allow-weak turns it on where it meets such a key; of a digest nobody can tell.

Examples:

    cambio keyspace update trial --token-lifetime 30s
    cambio keyspace update legacy --no-imported-keys --json`
}

func (c *keyspaceUpdateCmd) Run(ctx context.Context, p process) error {
	patch := manage.KeyspacePatch{
		Prefix: c.Prefix, KeyLifetime: c.KeyLifetime, TokenLifetime: c.TokenLifetime,
		PublishMetadata: c.PublishMetadata, ImportedKeys: c.ImportedKeys, WeakKeys: c.WeakKeys,
	}
	if patch == (manage.KeyspacePatch{}) {
		return &usageError{errors.New("nothing to change: name what is to be otherwise; see cambio keyspace update --help")}
	}
	return c.changeAt(ctx, p, c.IfVersion, func(m *manage.Manager) error {
		ks, err := m.PatchKeyspace(ctx, c.Name, patch)
		if err != nil {
			return flagsFor(err, keyspaceFlags())
		}
		return c.printKeyspace(p, ks)
	})
}

type keyspaceDeleteCmd struct {
	Name        string `arg:"" help:"The keyspace."`
	versionFlag `embed:""`
	changeFlags `embed:""`
}

func (*keyspaceDeleteCmd) Help() string {
	return `A keyspace that had keys stays, deleted ones included: usage and log speak of it.

Example:

    cambio keyspace delete trail --reason 'a typing error'`
}

func (c *keyspaceDeleteCmd) Run(ctx context.Context, p process) error {
	return c.changeAt(ctx, p, c.IfVersion, func(m *manage.Manager) error {
		if err := m.DeleteKeyspace(ctx, c.Name); err != nil {
			return err
		}
		return c.printDeleted(p, "keyspace", c.Name)
	})
}

// printDeleted says that something is gone.
func (o output) printDeleted(p process, what, name string) error {
	if o.JSON {
		return printJSON(p.stdout, map[string]string{"deleted": name})
	}
	_, err := fmt.Fprintf(p.stdout, "%s %s deleted\n", what, name)
	return err
}

type keyspaceVoidCmd struct {
	Name        string `arg:"" help:"The keyspace."`
	changeFlags `embed:""`
}

func (*keyspaceVoidCmd) Help() string {
	return `The same as cambio void --keyspace NAME. The keys stay as they are: an exchange that starts afterwards gives a token that is good.

` + knownSoon + `

Example:

    cambio keyspace void partners`
}

func (c *keyspaceVoidCmd) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, func(m *manage.Manager) error {
		done := newVoided()
		done.Keyspace = &c.Name
		if err := m.VoidKeyspace(ctx, c.Name); err != nil {
			return flagsFor(err, map[string]string{"keyspace": "NAME"})
		}
		return c.printVoided(p, done)
	})
}
