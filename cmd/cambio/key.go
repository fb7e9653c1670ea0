package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

type keyCmd struct {
	Create  keyCreateCmd  `cmd:"" help:"Create a key and print it, once."`
	List    keyListCmd    `cmd:"" help:"List keys."`
	Show    keyShowCmd    `cmd:"" help:"Show a key and what remains of it."`
	Update  keyUpdateCmd  `cmd:"" help:"Change what a key is."`
	Budget  keyBudgetCmd  `cmd:"" help:"Change how many uses of a key remain."`
	Rotate  keyRotateCmd  `cmd:"" help:"Replace a key by another that shares its budget, and print that, once."`
	Disable keyDisableCmd `cmd:"" help:"Suspend a key."`
	Enable  keyEnableCmd  `cmd:"" help:"End the suspension of a key."`
	Revoke  keyRevokeCmd  `cmd:"" help:"End a key for good."`
	Delete  keyDeleteCmd  `cmd:"" help:"Revoke a key and forget what it was for."`
	Void    keyVoidCmd    `cmd:"" help:"Make the tokens of a key void, and keep the key."`
}

type keyCreateCmd struct {
	Keyspace    string           `default:"default" placeholder:"NAME" help:"The keyspace it belongs to."`
	Owner       string           `placeholder:"ID" help:"Whom it belongs to: the sub of its tokens. Default: the key's own id."`
	Name        string           `placeholder:"TEXT" help:"What people call it."`
	ExternalID  string           `placeholder:"ID" help:"Its id in a system of yours."`
	Permission  []permissionFlag `sep:"none" placeholder:"RESOURCE:ACTION,…" help:"What it may do. Repeat for more. Default: nothing."`
	Audience    []string         `sep:"none" placeholder:"URL" help:"A backend its tokens may be for. Repeat for more. Default: any that the client may use."`
	Remaining   *int64           `placeholder:"N" help:"How often it may be exchanged. Default: the refill's amount, or no limit."`
	Refill      refillFlag       `placeholder:"N/PERIOD" help:"Set remaining to N at the start of every day, month (UTC), or period such as 24h."`
	Rate        rateFlag         `placeholder:"N/WINDOW[,BURST]" help:"At most N exchanges in a window such as 1m."`
	ExpiresIn   *time.Duration   `placeholder:"DURATION" help:"How long it lives, such as 720h. Default: as its keyspace says."`
	Metadata    string           `placeholder:"JSON" help:"A JSON object kept with it."`
	changeFlags `embed:""`
}

func (*keyCreateCmd) Help() string {
	return `Prints the key alone on stdout, so that it can go into a file or a variable; with --json {"id":…,"key":…,…}. It is not to be had again.

One exchange is one use. A token that is checked a thousand times was one exchange.

Examples:

    cambio key create --owner user_42 --permission projects:read,write
    cambio key create --keyspace default --owner user_42 --permission projects:read,write --remaining 1000 --refill 1000/month --rate 100/1m --expires-in 720h --name laptop --metadata '{"plan":"pro"}' --json`
}

func (c *keyCreateCmd) Run(ctx context.Context, p process) error {
	var expiresIn time.Duration // zero: as the keyspace says
	if c.ExpiresIn != nil {
		if expiresIn = *c.ExpiresIn; expiresIn == 0 {
			return &usageError{errors.New("--expires-in: must be more than nothing")}
		}
	}
	return c.create(ctx, p, func(m *manage.Manager) error {
		made, err := m.CreateKey(ctx, manage.NewKey{
			Keyspace:    c.Keyspace,
			Owner:       c.Owner,
			Name:        c.Name,
			ExternalID:  c.ExternalID,
			Permissions: merge(c.Permission),
			Audiences:   c.Audience,
			Metadata:    json.RawMessage(c.Metadata),
			ExpiresIn:   expiresIn,
			Remaining:   c.Remaining,
			Refill:      c.Refill.Refill,
			Rate:        c.Rate.Rate,
		})
		if errors.Is(err, manage.ErrNotFound) {
			return fmt.Errorf("--keyspace: %w; see cambio keyspace list", err)
		}
		if err != nil {
			return flagsFor(err, keyFlags())
		}
		if c.JSON {
			return printJSON(p.stdout, createdKey(made))
		}
		p.note("key %s created; it follows and is not to be had again", made.Key.ID)
		_, err = fmt.Fprintln(p.stdout, made.Secret.Reveal())
		return err
	})
}

// createdKey shows the secret, to the one who has just made it.
func createdKey(made manage.CreatedKey) wire.CreatedKey {
	secret := made.Secret.Reveal()
	return wire.CreatedKey{Secret: &secret, Key: made.Wire()}
}

// keyFlags names the flags of the fields of a key.
func keyFlags() map[string]string {
	return map[string]string{
		"owner": "--owner", "name": "--name", "external_id": "--external-id", "permissions": "--permission", "audiences": "--audience",
		"metadata": "--metadata", "expires_in": "--expires-in", "expires_at": "--expires-at", "overlap": "--overlap",
		"remaining": "--remaining", "refill": "--refill", "rate": "--rate", "state": "--state",
	}
}

type keyListCmd struct {
	Keyspace   []string       `placeholder:"NAME" help:"Only keys of this keyspace. Repeat for more."`
	Owner      string         `placeholder:"ID" help:"Only keys of this owner."`
	Name       string         `placeholder:"TEXT" help:"Only keys of this name."`
	ExternalID string         `placeholder:"ID" help:"Only keys of this id in a system of yours."`
	State      string         `placeholder:"STATE" help:"Only keys that are active, disabled, revoked or expired."`
	Limit      int            `default:"100" help:"How many, at most 1000."`
	After      verifier.KeyID `placeholder:"KEY-ID" help:"Only keys made after this one: next of the page before."`
	storeFlags `embed:""`
}

func (*keyListCmd) Help() string {
	return `Oldest first. With --json it prints {"keys":[…],"next":…}: next goes into --after for the next page, and is null at the end.

Examples:

    cambio key list --owner user_42 --state active
    cambio key list --keyspace default --limit 1000 --json`
}

func (c *keyListCmd) Run(ctx context.Context, p process) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return &usageError{errors.New("--limit: must be 1 to 1000")}
	}
	return c.use(ctx, func(m *manage.Manager) error {
		keys, next, err := m.PageOfKeys(ctx, manage.KeyFilter{
			Keyspaces: c.Keyspace, Owner: c.Owner, Name: c.Name, ExternalID: c.ExternalID, State: c.State, After: c.After, Limit: c.Limit,
		})
		if err != nil {
			return flagsFor(err, keyFlags())
		}
		views := make([]wire.Key, len(keys))
		for i, key := range keys {
			views[i] = key.Wire()
		}
		if c.JSON {
			return printJSON(p.stdout, map[string]any{"keys": views, "next": orNull(next)})
		}
		if next != "" {
			p.note("There are more: --after %s", next)
		}
		return table(p.stdout, keyRows(views))
	})
}

// keyArg is the argument that names a key.
type keyArg struct {
	ID verifier.KeyID `arg:"" name:"key-id" help:"The id of the key, key_…, as key list prints it."`
}

var keyIDPattern = regexp.MustCompile(`^key_[0-9a-f]{32}$`)

// check refuses what is no id: it may be the key itself, so no error repeats it.
func (k keyArg) check() error {
	if !keyIDPattern.MatchString(string(k.ID)) {
		return &usageError{errors.New("KEY-ID: must be an id, key_ and 32 hexadecimal digits, and not the key itself; see cambio key list")}
	}
	return nil
}

type keyShowCmd struct {
	keyArg     `embed:""`
	storeFlags `embed:""`
}

func (*keyShowCmd) Help() string {
	return `The key itself is not stored and cannot be shown; start is what it begins with. In JSON, remaining is null for a key without limit.

Example:

    cambio key show key_0198c0ffee… --json`
}

func (c *keyShowCmd) Run(ctx context.Context, p process) error {
	if err := c.check(); err != nil {
		return err
	}
	return c.use(ctx, func(m *manage.Manager) error {
		key, err := m.Key(ctx, c.ID)
		if err != nil {
			return err
		}
		return c.printKey(p, key)
	})
}
