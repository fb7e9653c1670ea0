package main

import (
	"context"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

type keyspaceCmd struct {
	Create keyspaceCreateCmd `cmd:"" help:"Create a keyspace."`
	List   keyspaceListCmd   `cmd:"" help:"List keyspaces."`
	Show   keyspaceShowCmd   `cmd:"" help:"Show a keyspace."`
}

type keyspaceCreateCmd struct {
	Name            string        `arg:"" help:"1 to 64 of letters, digits and . _ -"`
	Prefix          string        `default:"ck" help:"What its keys begin with: 1 to 16 of a-z, 0-9 and _."`
	KeyLifetime     time.Duration `placeholder:"DURATION" help:"How long its keys live, such as 8760h, unless a key says otherwise. Default: for ever."`
	TokenLifetime   time.Duration `placeholder:"DURATION" help:"How long tokens of its keys live, at most 15m. Default: the server's."`
	PublishMetadata bool          `help:"Put the metadata of its keys into their tokens."`
	ImportedKeys    bool          `help:"It will hold keys that were made elsewhere, in other forms."`
	storeFlags      `embed:""`
}

func (*keyspaceCreateCmd) Help() string {
	return `The keyspace "default" always exists.

Examples:

    cambio keyspace create partners --prefix acme_live
    cambio keyspace create trial --key-lifetime 336h --token-lifetime 60s --json`
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
		})
		if err != nil {
			return flagsFor(err, map[string]string{
				"name": "NAME", "prefix": "--prefix", "key_lifetime": "--key-lifetime", "token_lifetime": "--token-lifetime",
			})
		}
		return c.printKeyspace(p, ks)
	})
}

type keyspaceListCmd struct {
	storeFlags `embed:""`
}

func (*keyspaceListCmd) Help() string {
	return `With --json it prints {"keyspaces":[…]}.

Example:

    cambio keyspace list`
}

func (c *keyspaceListCmd) Run(ctx context.Context, p process) error {
	return c.use(ctx, func(m *manage.Manager) error {
		all, err := m.Keyspaces(ctx)
		if err != nil {
			return err
		}
		views := make([]keyspaceJSON, len(all))
		rows := [][]string{{"NAME", "PREFIX", "KEYS LIVE", "TOKENS LIVE", "METADATA", "IMPORTED KEYS", "CREATED"}}
		for i, ks := range all {
			v := viewKeyspace(ks)
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

type keyspaceJSON struct {
	Name            string     `json:"name"`
	Prefix          string     `json:"prefix"`
	KeyLifetime     *int64     `json:"key_lifetime"`   // seconds; null: for ever
	TokenLifetime   *int64     `json:"token_lifetime"` // seconds; null: the server's
	PublishMetadata bool       `json:"publish_metadata"`
	ImportedKeys    bool       `json:"imported_keys"`
	CreatedAt       *time.Time `json:"created_at"`
}

func viewKeyspace(ks verifier.Keyspace) keyspaceJSON {
	return keyspaceJSON{
		Name:            ks.Name,
		Prefix:          ks.Prefix,
		KeyLifetime:     seconds(ks.KeyLifetime),
		TokenLifetime:   seconds(ks.TokenLifetime),
		PublishMetadata: ks.PublishMetadata,
		ImportedKeys:    ks.ImportedKeys,
		CreatedAt:       instant(ks.CreatedAt),
	}
}

func (o output) printKeyspace(p process, ks verifier.Keyspace) error {
	v := viewKeyspace(ks)
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
	out.line("created", showTime(v.CreatedAt, "-"))
	return table(p.stdout, out)
}

func yes(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}
