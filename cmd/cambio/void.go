package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/issuer"
)

type voidCmd struct {
	Owner       string `xor:"whose" placeholder:"ID" help:"Tokens of all keys of this owner."`
	Keyspace    string `xor:"whose" placeholder:"NAME" help:"Tokens of all keys of this keyspace."`
	All         bool   `xor:"whose" help:"Every token."`
	changeFlags `embed:""`
}

func (*voidCmd) Help() string {
	return `Keys stay as they are, and so does what remains of them: an exchange that starts afterwards gives a token that is good. Use it when tokens have leaked. For the tokens of one key there is key void.

` + knownSoon + `

Cut short, --owner may have voided the tokens of some keys; run it again. The others do all or nothing.

Examples:

    cambio void --owner user_42
    cambio void --keyspace partners --json
    cambio void --all`
}

// knownSoon ends the help of what makes tokens void.
const knownSoon = `Backends that follow status lists, as the sdk does, refuse tokens that were issued before within 5 seconds; others until they expire.`

func (c *voidCmd) Run(ctx context.Context, p process) error {
	if c.Owner == "" && c.Keyspace == "" && !c.All {
		return &usageError{errors.New("one of --owner, --keyspace and --all is required")}
	}
	return c.change(ctx, p, func(m *manage.Manager) error {
		done, err := c.void(ctx, m)
		if errors.Is(err, manage.ErrNotFound) {
			return fmt.Errorf("--keyspace: %w; see cambio keyspace list", err)
		}
		if err != nil {
			return flagsFor(err, map[string]string{"owner": "--owner", "keyspace": "--keyspace"})
		}
		return c.printVoided(p, done)
	})
}

func (o output) printVoided(p process, done voided) error {
	if o.JSON {
		return printJSON(p.stdout, done)
	}
	_, err := fmt.Fprintf(p.stdout, "void: every token so far %s; known to checkers within %s\n", done, issuer.StatusDelay)
	return err
}

// voided says whose tokens are void.
type voided struct {
	Owner     *string `json:"owner,omitempty"`
	Keys      *int    `json:"keys,omitempty"` // of the owner, those not revoked
	Keyspace  *string `json:"keyspace,omitempty"`
	Keyspaces *int    `json:"keyspaces,omitempty"` // if all are void
	Within    int64   `json:"known_within"`        // seconds
}

func newVoided() voided { return voided{Within: int64(issuer.StatusDelay / time.Second)} }

func (v voided) String() string {
	switch {
	case v.Owner != nil:
		return fmt.Sprintf("of the %s of %s", count(*v.Keys, "key"), *v.Owner)
	case v.Keyspace != nil:
		return "of keyspace " + *v.Keyspace
	}
	return "of " + count(*v.Keyspaces, "keyspace")
}

func count(n int, of string) string {
	if n != 1 {
		of += "s"
	}
	return fmt.Sprintf("%d %s", n, of)
}

func (c *voidCmd) void(ctx context.Context, m *manage.Manager) (voided, error) {
	done := newVoided()
	switch {
	case c.Owner != "":
		keys, err := m.VoidOwner(ctx, c.Owner)
		done.Owner, done.Keys = &c.Owner, &keys
		return done, err
	case c.Keyspace != "":
		done.Keyspace = &c.Keyspace
		return done, m.VoidKeyspace(ctx, c.Keyspace)
	}
	keyspaces, err := m.VoidAll(ctx)
	done.Keyspaces = &keyspaces
	return done, err
}
