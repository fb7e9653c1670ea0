package main

import (
	"context"
	"strconv"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

type keyspaceCmd struct {
	Create keyspaceCreateCmd `cmd:"" help:"Create a keyspace."`
	List   keyspaceListCmd   `cmd:"" help:"List keyspaces."`
	Show   keyspaceShowCmd   `cmd:"" help:"Show a keyspace."`
	Update keyspaceUpdateCmd `cmd:"" help:"Change a keyspace."`
	Delete keyspaceDeleteCmd `cmd:"" help:"Delete a keyspace that never had a key."`
	Void   keyspaceVoidCmd   `cmd:"" help:"Make the tokens of all keys of a keyspace void, and keep the keys."`
}

type keyspaceCreateCmd struct {
	Name            string        `arg:"" help:"1 to 64 of letters, digits and . _ -"`
	Prefix          string        `default:"ck" help:"What its keys begin with: 1 to 16 of a-z, 0-9 and _."`
	KeyLifetime     time.Duration `placeholder:"DURATION" help:"How long its keys live, such as 8760h, unless a key says otherwise. Default: for ever."`
	TokenLifetime   time.Duration `placeholder:"DURATION" help:"How long tokens of its keys live, at most 15m. Default: the server's."`
	PublishMetadata bool          `help:"Put the metadata of its keys into their tokens."`
	ImportedKeys    bool          `help:"It will hold keys that were made elsewhere, in other forms."`
	WeakKeys        bool          `help:"Some of them can be guessed: limit failures harder."`
	changeFlags     `embed:""`
}

func (*keyspaceCreateCmd) Help() string {
	return `The keyspace "default" always exists.

Examples:

    cambio keyspace create partners --prefix acme_live
    cambio keyspace create trial --key-lifetime 336h --token-lifetime 60s --json`
}

// keyspaceFlags names the flags of the fields of a keyspace.
func keyspaceFlags() map[string]string {
	return map[string]string{"name": "NAME", "prefix": "--prefix", "key_lifetime": "--key-lifetime", "token_lifetime": "--token-lifetime"}
}

func (c *keyspaceCreateCmd) Run(ctx context.Context, p process) error {
	return c.create(ctx, p, func(m *manage.Manager) error {
		ks, err := m.CreateKeyspace(ctx, manage.NewKeyspace{
			Name:            c.Name,
			Prefix:          c.Prefix,
			KeyLifetime:     c.KeyLifetime,
			TokenLifetime:   c.TokenLifetime,
			PublishMetadata: c.PublishMetadata,
			ImportedKeys:    c.ImportedKeys,
			WeakKeys:        c.WeakKeys,
		})
		if err != nil {
			return flagsFor(err, keyspaceFlags())
		}
		return c.printKeyspace(p, ks)
	})
}

type keyspaceListCmd struct {
	storeFlags `embed:""`
}

func (*keyspaceListCmd) Help() string {
	return `With --json it prints {"keyspaces":[…]}; lifetimes are in seconds, and 0 is no limit or the server's.

Example:

    cambio keyspace list`
}

func (c *keyspaceListCmd) Run(ctx context.Context, p process) error {
	return c.use(ctx, func(m *manage.Manager) error {
		all, err := m.Keyspaces(ctx)
		if err != nil {
			return err
		}
		views := make([]wire.Keyspace, len(all))
		rows := [][]string{{"NAME", "PREFIX", "KEYS LIVE", "TOKENS LIVE", "METADATA", "IMPORTED KEYS", "CREATED"}}
		for i, ks := range all {
			v := ks.Wire()
			views[i] = v
			rows = append(rows, []string{
				v.Name, v.Prefix, showDuration(ks.KeyLifetime, "for ever"), showDuration(ks.TokenLifetime, "default"),
				yes(v.PublishMetadata, "published", "private"), yes(v.ImportedKeys, "yes", "no"), showTime(v.CreatedAt, "-"),
			})
		}
		if c.JSON {
			return printJSON(p.stdout, map[string]any{"keyspaces": views})
		}
		return table(p.stdout, rows)
	})
}

type keyspaceShowCmd struct {
	Name       string `arg:"" help:"The keyspace."`
	storeFlags `embed:""`
}

func (*keyspaceShowCmd) Help() string {
	return `Example:

    cambio keyspace show default --json`
}

func (c *keyspaceShowCmd) Run(ctx context.Context, p process) error {
	return c.use(ctx, func(m *manage.Manager) error {
		ks, err := m.Keyspace(ctx, c.Name)
		if err != nil {
			return err
		}
		return c.printKeyspace(p, ks)
	})
}

func (o output) printKeyspace(p process, ks manage.KeyspaceRecord) error {
	v := ks.Wire()
	if o.JSON {
		return printJSON(p.stdout, v)
	}
	var out page
	out.line("name", v.Name)
	out.line("prefix", v.Prefix)
	out.line("keys live", showDuration(ks.KeyLifetime, "for ever"))
	out.line("tokens live", showDuration(ks.TokenLifetime, "as long as the server says"))
	out.line("metadata", yes(v.PublishMetadata, "published in tokens", "private"))
	out.line("imported keys", yes(v.ImportedKeys, "yes", "no"))
	out.some("weak keys", yes(v.WeakKeys, "yes, so failures are limited harder", ""))
	out.line("created", showTime(v.CreatedAt, "-"))
	out.some("changed", showTime(v.ChangedAt, ""))
	out.line("version", strconv.FormatInt(v.Version, 10))
	return table(p.stdout, out)
}

func yes(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}
