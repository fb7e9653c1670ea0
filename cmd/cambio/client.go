package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

type clientCmd struct {
	Create  clientCreateCmd  `cmd:"" help:"Create a client and print its secret, once."`
	List    clientListCmd    `cmd:"" help:"List clients."`
	Show    clientShowCmd    `cmd:"" help:"Show a client."`
	Update  clientUpdateCmd  `cmd:"" help:"Change what a client may do."`
	Disable clientDisableCmd `cmd:"" help:"Refuse a client until it is enabled again."`
	Enable  clientEnableCmd  `cmd:"" help:"End client disable."`
	Delete  clientDeleteCmd  `cmd:"" help:"Delete a client."`
	Secret  clientSecretCmd  `cmd:"" help:"Change the secret of a client."`
}

type clientCreateCmd struct {
	ID         string           `arg:"" name:"client-id" help:"1 to 64 of letters, digits and . _ -"`
	Audience   []string         `sep:"none" placeholder:"URL" help:"A backend it may ask tokens for, byte for byte as in their aud. Repeat for more. '*' asks for none, but lets it give any to clients that it makes."`
	Keyspace   []string         `placeholder:"NAME" help:"A keyspace whose keys it may exchange; '*' for all, later ones included. Repeat for more. Default: default."`
	Permission []permissionFlag `sep:"none" placeholder:"RESOURCE:ACTION,…" help:"The most that its tokens may hold. Repeat for more. Default: no bound."`
	Right      []client.Right   `placeholder:"RIGHT" help:"What it may do. Repeat for more. Default: tokens:exchange."`
	Algorithm  string           `placeholder:"ALG" help:"What its tokens are signed with, if its backends cannot read the server's first: EdDSA, ES256 or RS256. The server must have it in CAMBIO_SIGNING_ALGS."`
	NoSecret   bool             `help:"It gets no secret, and authenticates with what the next four name."`

	clientKeyFlags `embed:""`
	changeFlags    `embed:""`
}

func (*clientCreateCmd) Help() string {
	rights := ""
	for _, r := range client.Rights() {
		rights += "    " + string(r) + "\n"
	}
	return `Prints the secret alone on stdout, so that it can go into a file or a variable; with --json {"client_id":…,"client_secret":…,…}. It is not to be had again. With --no-secret nothing is printed.

Rights:

` + rights + `
Examples:

    cambio client create orders --audience https://orders.example.com
    cambio client create orders --audience https://orders.example.com --keyspace default --json
    cambio client create ops --right keys:read --right keys:write --keyspace '*'
    cambio client create orders --audience https://orders.example.com --jwks orders.jwks.json --no-secret`
}

func (c *clientCreateCmd) Run(ctx context.Context, p process) error {
	registered, err := c.patch()
	if err != nil {
		return err
	}
	return c.create(ctx, p, func(m *manage.Manager) error {
		made, err := m.CreateClient(ctx, manage.NewClient{
			ID:          c.ID,
			Rights:      c.Right,
			Audiences:   c.Audience,
			Keyspaces:   c.Keyspace,
			Permissions: merge(c.Permission),
			Algorithm:   c.Algorithm,
			Registered:  newRegistered(registered),
			NoSecret:    c.NoSecret,
		})
		if err != nil {
			return flagsFor(err, clientFlags())
		}
		if len(made.Audiences) == 0 && made.Holds(client.TokensExchange) {
			p.note("client %s has no --audience, so it may exchange keys for nobody", made.ID)
		}
		if c.JSON {
			return printJSON(p.stdout, createdClient(made))
		}
		if c.NoSecret {
			p.note("client %s created, without a secret", made.ID)
			return nil
		}
		p.note("client %s created; its secret follows and is not to be had again", made.ID)
		_, err = fmt.Fprintln(p.stdout, made.Secret.Reveal())
		return err
	})
}

// createdClient shows the secret, to the one who has just made it, unless there is none.
func createdClient(made manage.CreatedClient) wire.CreatedClient {
	created := wire.CreatedClient{Client: manage.ClientWire(made.Client)}
	if secret := made.Secret.Reveal(); secret != "" {
		created.Secret, created.SecretID = &secret, made.Secrets[len(made.Secrets)-1].ID()
	}
	return created
}

// clientFlags names the flags of the fields of a client.
func clientFlags() map[string]string {
	return map[string]string{
		"client_id": "CLIENT-ID", "rights": "--right", "audiences": "--audience", "keyspaces": "--keyspace", "permissions": "--permission", "algorithm": "--algorithm",
		"jwks": "--jwks", "certificates": "--certificate", "tls_client_auth_san_dns": "--tls-san-dns", "tls_client_auth_san_uri": "--tls-san-uri", "no_secret": "--no-secret",
	}
}

type clientListCmd struct {
	storeFlags `embed:""`
}

func (*clientListCmd) Help() string {
	return `With --json it prints {"clients":[…]}.

Example:

    cambio client list`
}

func (c *clientListCmd) Run(ctx context.Context, p process) error {
	return c.use(ctx, func(m *manage.Manager) error {
		all, err := m.Clients(ctx)
		if err != nil {
			return err
		}
		views := make([]wire.Client, len(all))
		rows := [][]string{{"CLIENT", "RIGHTS", "AUDIENCES", "KEYSPACES", "STATE", "CREATED"}}
		for i, cl := range all {
			v := manage.ClientWire(cl)
			views[i] = v
			rows = append(rows, []string{
				v.ID, showList(v.Rights, "-"), showList(v.Audiences, "-"), showList(v.Keyspaces, "-"),
				yes(v.Disabled, "disabled", "active"), showTime(v.CreatedAt, "-"),
			})
		}
		if c.JSON {
			return printJSON(p.stdout, map[string]any{"clients": views})
		}
		return table(p.stdout, rows)
	})
}

type clientShowCmd struct {
	ID         string `arg:"" name:"client-id" help:"The client."`
	storeFlags `embed:""`
}

func (*clientShowCmd) Help() string {
	return `Its secrets are not stored and cannot be shown; their ids are.

Example:

    cambio client show orders --json`
}

func (c *clientShowCmd) Run(ctx context.Context, p process) error {
	return c.use(ctx, func(m *manage.Manager) error {
		found, err := m.Client(ctx, c.ID)
		if err != nil {
			return err
		}
		return c.printClient(p, found)
	})
}

func (o output) printClient(p process, c client.Client) error {
	v := manage.ClientWire(c)
	if o.JSON {
		return printJSON(p.stdout, v)
	}
	var out page
	out.line("client", v.ID)
	out.line("rights", showList(v.Rights, "none"))
	out.line("audiences", showList(v.Audiences, "none"))
	out.line("keyspaces", showList(v.Keyspaces, "none"))
	out.line("permissions", showPermissions(v.Permissions, "no bound"))
	out.line("algorithm", cmp.Or(v.Algorithm, "the server's first"))
	out.line("state", yes(v.Disabled, "disabled", "active"))
	for _, secret := range v.Secrets {
		out.line("secret", secret.ID+" of "+showTime(secret.CreatedAt, "before that was kept"))
	}
	for _, key := range c.Keys {
		out.line("key", key.ID+" "+key.Algorithm)
	}
	for _, certificate := range v.Certificates {
		out.line("certificate", certificate)
	}
	out.some("tls san dns", v.SANDNS)
	out.some("tls san uri", v.SANURI)
	out.line("created", showTime(v.CreatedAt, "-"))
	out.some("changed", showTime(v.ChangedAt, ""))
	out.line("version", strconv.FormatInt(v.Version, 10))
	return table(p.stdout, out)
}
