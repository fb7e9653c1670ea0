package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

type clientCmd struct {
	Create clientCreateCmd `cmd:"" help:"Create a client and print its secret, once."`
	List   clientListCmd   `cmd:"" help:"List clients."`
	Show   clientShowCmd   `cmd:"" help:"Show a client."`
}

type clientCreateCmd struct {
	ID         string           `arg:"" name:"client-id" help:"1 to 64 of letters, digits and . _ -"`
	Audience   []string         `sep:"none" placeholder:"URL" help:"A backend it may ask tokens for, byte for byte as in their aud. Repeat for more."`
	Keyspace   []string         `placeholder:"NAME" help:"A keyspace whose keys it may exchange; '*' for all, later ones included. Repeat for more. Default: default."`
	Permission []permissionFlag `sep:"none" placeholder:"RESOURCE:ACTION,…" help:"The most that its tokens may hold. Repeat for more. Default: no bound."`
	Right      []client.Right   `placeholder:"RIGHT" help:"What it may do. Repeat for more. Default: tokens:exchange."`
	Algorithm  string           `placeholder:"ALG" help:"What its tokens are signed with, if its backends cannot read the server's first: EdDSA, ES256 or RS256. The server must have it in CAMBIO_SIGNING_ALGS."`
	storeFlags `embed:""`
}

func (*clientCreateCmd) Help() string {
	rights := ""
	for _, r := range client.Rights() {
		rights += "    " + string(r) + "\n"
	}
	return `Prints the secret alone on stdout, so that it can go into a file or a variable; with --json {"client_id":…,"client_secret":…,…}. It is not to be had again.

Rights:

` + rights + `
Examples:

    cambio client create orders --audience https://orders.example.com
    cambio client create orders --audience https://orders.example.com --keyspace default --json
    cambio client create ops --right keys:read --right keys:write --keyspace '*'`
}

func (c *clientCreateCmd) Run(ctx context.Context, p process) error {
	return c.create(ctx, p, func(m *manage.Manager) error {
		made, secret, err := m.CreateClient(ctx, manage.NewClient{
			ID:          c.ID,
			Rights:      c.Right,
			Audiences:   c.Audience,
			Keyspaces:   c.Keyspace,
			Permissions: merge(c.Permission),
			Algorithm:   c.Algorithm,
		})
		if err != nil {
			return flagsFor(err, map[string]string{
				"client_id": "CLIENT-ID", "rights": "--right", "audiences": "--audience", "keyspaces": "--keyspace", "permissions": "--permission", "algorithm": "--algorithm",
			})
		}
		if len(made.Audiences) == 0 && made.Holds(client.TokensExchange) {
			p.note("client %s has no --audience, so it may exchange keys for nobody", made.ID)
		}
		if c.JSON {
			v := viewClient(made)
			v.Secret = secret.Reveal()
			return printJSON(p.stdout, v)
		}
		p.note("client %s created; its secret follows and is not to be had again", made.ID)
		_, err = fmt.Fprintln(p.stdout, secret.Reveal())
		return err
	})
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
		views := make([]clientJSON, len(all))
		rows := [][]string{{"CLIENT", "RIGHTS", "AUDIENCES", "KEYSPACES", "STATE", "CREATED"}}
		for i, cl := range all {
			v := viewClient(cl)
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
	return `Its secret is not stored and cannot be shown.

Example:

    cambio client show orders --json`
}

func (c *clientShowCmd) Run(ctx context.Context, p process) error {
	return c.use(ctx, func(m *manage.Manager) error {
		found, err := m.Client(ctx, c.ID)
		if err != nil {
			return err
		}
		v := viewClient(found)
		if c.JSON {
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
		out.line("created", showTime(v.CreatedAt, "-"))
		return table(p.stdout, out)
	})
}

type clientJSON struct {
	ID          string               `json:"client_id"`
	Secret      string               `json:"client_secret,omitempty"` // only ever of a new client
	Rights      []client.Right       `json:"rights"`
	Audiences   []string             `json:"audiences"`
	Keyspaces   []string             `json:"keyspaces"`
	Permissions verifier.Permissions `json:"permissions"` // null: no bound
	Algorithm   string               `json:"algorithm,omitempty"`
	Disabled    bool                 `json:"disabled"`
	CreatedAt   *time.Time           `json:"created_at"`
}

func viewClient(c client.Client) clientJSON {
	return clientJSON{
		ID:          c.ID,
		Rights:      orEmpty(c.Rights),
		Audiences:   orEmpty(c.Audiences),
		Keyspaces:   orEmpty(c.Keyspaces),
		Permissions: c.Permissions,
		Algorithm:   c.Algorithm,
		Disabled:    c.Disabled,
		CreatedAt:   instant(c.CreatedAt),
	}
}
