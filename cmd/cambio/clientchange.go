package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

// clientArg is the argument that names a client.
type clientArg struct {
	ID string `arg:"" name:"client-id" help:"The client."`
}

type clientUpdateCmd struct {
	clientArg   `embed:""`
	Audience    []string         `sep:"none" xor:"audiences" placeholder:"URL" help:"The backends it may ask tokens for from now on. Repeat for more."`
	NoAudiences bool             `xor:"audiences" help:"It may ask tokens for nobody."`
	Keyspace    []string         `placeholder:"NAME" help:"The keyspaces whose keys it may use from now on; '*' for all. Repeat for more."`
	Permission  []permissionFlag `sep:"none" xor:"permissions" placeholder:"RESOURCE:ACTION,…" help:"The most that its tokens may hold from now on. Repeat for more."`
	NoBound     bool             `xor:"permissions" help:"Its tokens may hold all that their keys do."`
	Right       []client.Right   `placeholder:"RIGHT" help:"All that it may do from now on. Repeat for more."`
	Algorithm   *string          `placeholder:"ALG" help:"What its tokens are signed with; '' for the server's first."`
	NoJWKS      bool             `name:"no-jwks" xor:"jwks" help:"It has no public keys."`
	NoCerts     bool             `name:"no-certificates" xor:"certificates" help:"It has no certificates of its own."`

	clientKeyFlags `embed:""`
	versionFlag    `embed:""`
	changeFlags    `embed:""`
}

func (*clientUpdateCmd) Help() string {
	return `What is not named stays; what is named replaces what was. It counts from the client's next call on. ` + tokensLiveOn + `

Examples:

    cambio client update orders --audience https://orders.example.com --audience https://billing.example.com
    cambio client update ops --right keys:read --right keys:write --if-version 2
    cambio client update orders --jwks orders.jwks.json
    cambio client update orders --tls-san-dns ''`
}

// tokensLiveOn says what no change of a client does.
const tokensLiveOn = `Tokens that it was given before live on until they expire, at most 15 minutes; cambio void --all ends every token at once, and keys can then be exchanged anew.`

func (c *clientUpdateCmd) Run(ctx context.Context, p process) error {
	patch, err := c.patch()
	if err != nil {
		return err
	}
	if patch == (manage.ClientPatch{}) {
		return &usageError{errors.New("nothing to change: name what is to be otherwise; see cambio client update --help")}
	}
	return c.changeAt(ctx, p, c.IfVersion, func(m *manage.Manager) error {
		changed, err := m.PatchClient(ctx, c.ID, patch)
		if err != nil {
			return flagsFor(err, clientFlags())
		}
		return c.printClient(p, changed)
	})
}

func (c *clientUpdateCmd) patch() (manage.ClientPatch, error) {
	patch := manage.ClientPatch{Algorithm: c.Algorithm}
	if c.Audience != nil || c.NoAudiences {
		patch.Audiences = &c.Audience
	}
	if c.Keyspace != nil {
		patch.Keyspaces = &c.Keyspace
	}
	if permissions := merge(c.Permission); permissions != nil || c.NoBound {
		patch.Permissions = &permissions
	}
	if c.Right != nil {
		patch.Rights = &c.Right
	}
	var err error
	patch.Registered, err = c.clientKeyFlags.patch()
	if c.NoJWKS {
		patch.Registered.JWKS = new(json.RawMessage)
	}
	if c.NoCerts {
		patch.Registered.Certificates = new([]string)
	}
	return patch, err
}

type clientDisableCmd struct {
	clientArg   `embed:""`
	changeFlags `embed:""`
}

func (*clientDisableCmd) Help() string {
	return `Every call of the client is refused from now on, until client enable. ` + tokensLiveOn + `

Example:

    cambio client disable orders --reason 'its secret was seen in a log'`
}

func (c *clientDisableCmd) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, func(m *manage.Manager) error {
		changed, err := m.DisableClient(ctx, c.ID)
		if err != nil {
			return err
		}
		noteTokensLiveOn(p, c.ID)
		return c.printClient(p, changed)
	})
}

func noteTokensLiveOn(p process, id string) {
	p.note("tokens that %s was given live on until they expire, within %s; cambio void --all ends every token now", id, showDuration(wire.MaxTokenLifetime, ""))
}

type clientEnableCmd struct {
	clientArg   `embed:""`
	changeFlags `embed:""`
}

func (*clientEnableCmd) Help() string {
	return `Example:

    cambio client enable orders`
}

func (c *clientEnableCmd) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, func(m *manage.Manager) error {
		changed, err := m.EnableClient(ctx, c.ID)
		if err != nil {
			return err
		}
		return c.printClient(p, changed)
	})
}

type clientDeleteCmd struct {
	clientArg   `embed:""`
	versionFlag `embed:""`
	changeFlags `embed:""`
}

func (*clientDeleteCmd) Help() string {
	return `Every call of the client is refused from now on. What it used and did stays in usage and log. ` + tokensLiveOn + `

Example:

    cambio client delete orders`
}

func (c *clientDeleteCmd) Run(ctx context.Context, p process) error {
	return c.changeAt(ctx, p, c.IfVersion, func(m *manage.Manager) error {
		if err := m.DeleteClient(ctx, c.ID); err != nil {
			return err
		}
		noteTokensLiveOn(p, c.ID)
		return c.printDeleted(p, "client", c.ID)
	})
}

type clientSecretCmd struct {
	Add    secretAddCmd    `cmd:"" help:"Give a client a second secret and print it, once."`
	Revoke secretRevokeCmd `cmd:"" help:"End one of two secrets of a client."`
}

type secretAddCmd struct {
	clientArg   `embed:""`
	changeFlags `embed:""`
}

func (*secretAddCmd) Help() string {
	return `Both secrets work, so that programs can be changed over one by one; then revoke the old one. Prints the secret alone on stdout; with --json {"client_secret":…,"secret_id":…,…}. It is not to be had again.

Example:

    cambio client secret add orders > client-secret.txt`
}

func (c *secretAddCmd) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, func(m *manage.Manager) error {
		made, err := m.AddSecret(ctx, c.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(p.stdout, createdClient(made))
		}
		if len(made.Secrets) > 1 {
			p.note("a secret of %s follows and is not to be had again; when all programs use it: cambio client secret revoke %s %s", c.ID, c.ID, made.Secrets[0].ID())
		} else {
			p.note("a secret of %s follows and is not to be had again", c.ID)
		}
		_, err = fmt.Fprintln(p.stdout, made.Secret.Reveal())
		return err
	})
}

type secretRevokeCmd struct {
	clientArg   `embed:""`
	Secret      string `arg:"" name:"secret-id" help:"The id of the secret, sec_…, as client show prints it."`
	changeFlags `embed:""`
}

func (*secretRevokeCmd) Help() string {
	return `It is refused from now on. The last secret of a client can be revoked if it has a key, a certificate or a name beside it; else disable the client, or add another first.

Example:

    cambio client secret revoke orders sec_0123456789ab`
}

var secretIDPattern = regexp.MustCompile(`^sec_[0-9a-f]{12}$`)

// Run refuses what is no id: it may be the secret itself, so no error repeats it.
func (c *secretRevokeCmd) Run(ctx context.Context, p process) error {
	if !secretIDPattern.MatchString(c.Secret) {
		return &usageError{errors.New("SECRET-ID: must be an id, sec_ and 12 hexadecimal digits, and not the secret itself; see cambio client show")}
	}
	return c.change(ctx, p, func(m *manage.Manager) error {
		changed, err := m.RevokeSecret(ctx, c.ID, c.Secret)
		if err != nil {
			return err
		}
		return c.printClient(p, changed)
	})
}
