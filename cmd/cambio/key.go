package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

type keyCmd struct {
	Create  keyCreateCmd  `cmd:"" help:"Create a key and print it, once."`
	List    keyListCmd    `cmd:"" help:"List keys."`
	Show    keyShowCmd    `cmd:"" help:"Show a key and what remains of it."`
	Disable keyDisableCmd `cmd:"" help:"Suspend a key."`
	Enable  keyEnableCmd  `cmd:"" help:"End the suspension of a key."`
	Revoke  keyRevokeCmd  `cmd:"" help:"End a key for good."`
	Void    keyVoidCmd    `cmd:"" help:"Make the tokens of a key void, and keep the key."`
}

type keyCreateCmd struct {
	Keyspace   string           `default:"default" placeholder:"NAME" help:"The keyspace it belongs to."`
	Owner      string           `placeholder:"ID" help:"Whom it belongs to: the sub of its tokens. Default: the key's own id."`
	Name       string           `placeholder:"TEXT" help:"What people call it."`
	Permission []permissionFlag `sep:"none" placeholder:"RESOURCE:ACTION,…" help:"What it may do. Repeat for more. Default: nothing."`
	Audience   []string         `sep:"none" placeholder:"URL" help:"A backend its tokens may be for. Repeat for more. Default: any that the client may use."`
	Remaining  *int64           `placeholder:"N" help:"How often it may be exchanged. Default: the refill's amount, or no limit."`
	Refill     refillFlag       `placeholder:"N/PERIOD" help:"Set remaining to N at the start of every day, month (UTC), or period such as 24h."`
	Rate       rateFlag         `placeholder:"N/WINDOW[,BURST]" help:"At most N exchanges in a window such as 1m."`
	ExpiresIn  *time.Duration   `placeholder:"DURATION" help:"How long it lives, such as 720h. Default: as its keyspace says."`
	Metadata   string           `placeholder:"JSON" help:"A JSON object kept with it."`
	storeFlags `embed:""`
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
			return flagsFor(err, map[string]string{
				"owner": "--owner", "name": "--name", "permissions": "--permission", "audiences": "--audience", "metadata": "--metadata",
				"expires_in": "--expires-in", "remaining": "--remaining", "refill": "--refill", "rate": "--rate",
			})
		}
		if c.JSON {
			v := viewKey(made.KeyView)
			v.Secret = made.Secret.Reveal()
			return printJSON(p.stdout, v)
		}
		p.note("key %s created; it follows and is not to be had again", made.Key.ID)
		_, err = fmt.Fprintln(p.stdout, made.Secret.Reveal())
		return err
	})
}

type keyListCmd struct {
	Keyspace   string         `placeholder:"NAME" help:"Only keys of this keyspace."`
	Owner      string         `placeholder:"ID" help:"Only keys of this owner."`
	Limit      int            `default:"100" help:"How many, at most 1000."`
	After      verifier.KeyID `placeholder:"KEY-ID" help:"Only keys made after this one: next of the page before."`
	storeFlags `embed:""`
}

func (*keyListCmd) Help() string {
	return `Oldest first. With --json it prints {"keys":[…],"next":…}: next goes into --after for the next page, and is null at the end.

Examples:

    cambio key list --owner user_42
    cambio key list --keyspace default --limit 1000 --json`
}

func (c *keyListCmd) Run(ctx context.Context, p process) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return &usageError{errors.New("--limit: must be 1 to 1000")}
	}
	return c.use(ctx, func(m *manage.Manager) error {
		filter := manage.KeyFilter{Keyspace: c.Keyspace, Owner: c.Owner, After: c.After, Limit: c.Limit}
		keys, err := m.Keys(ctx, filter)
		if err != nil {
			return err
		}
		next, err := nextPage(ctx, m, filter, keys)
		if err != nil {
			return err
		}
		if c.JSON {
			views := make([]keyJSON, len(keys))
			for i, key := range keys {
				views[i] = viewKey(key)
			}
			return printJSON(p.stdout, map[string]any{"keys": views, "next": next})
		}
		if next != nil {
			p.note("There are more: --after %s", *next)
		}
		return table(p.stdout, keyRows(keys))
	})
}

// nextPage returns the last id of a page that others follow.
func nextPage(ctx context.Context, m *manage.Manager, filter manage.KeyFilter, keys []manage.KeyView) (*verifier.KeyID, error) {
	if len(keys) < filter.Limit {
		return nil, nil //nolint:nilnil // null in JSON
	}
	last := keys[len(keys)-1].Key.ID
	filter.After, filter.Limit = last, 1
	more, err := m.Keys(ctx, filter)
	if err != nil || len(more) == 0 {
		return nil, err
	}
	return &last, nil
}

// keyID is the argument that names a key.
type keyID struct {
	ID         verifier.KeyID `arg:"" name:"key-id" help:"The id of the key, key_…, as key list prints it."`
	storeFlags `embed:""`
}

var keyIDPattern = regexp.MustCompile(`^key_[0-9a-f]{32}$`)

// change prints a key after do. An argument that is no id may be the key itself,
// so no error repeats it.
func (c keyID) change(ctx context.Context, p process, do func(*manage.Manager) (manage.KeyView, error)) error {
	if !keyIDPattern.MatchString(string(c.ID)) {
		return &usageError{errors.New("KEY-ID: must be an id, key_ and 32 hexadecimal digits, and not the key itself; see cambio key list")}
	}
	return c.use(ctx, func(m *manage.Manager) error {
		key, err := do(m)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(p.stdout, viewKey(key))
		}
		return table(p.stdout, keyPage(key))
	})
}

type keyShowCmd struct {
	keyID `embed:""`
}

func (*keyShowCmd) Help() string {
	return `The key itself is not stored and cannot be shown; start is what it begins with. In JSON, remaining is null for a key without limit.

Example:

    cambio key show key_0198c0ffee… --json`
}

func (c *keyShowCmd) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, func(m *manage.Manager) (manage.KeyView, error) { return m.Key(ctx, c.ID) })
}

type keyDisableCmd struct {
	keyID `embed:""`
}

func (*keyDisableCmd) Help() string {
	return `Every exchange that starts afterwards is refused, until key enable. ` + knownSoon + ` What has not expired by then is good again.

Example:

    cambio key disable key_0198c0ffee…`
}

func (c *keyDisableCmd) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, func(m *manage.Manager) (manage.KeyView, error) { return m.DisableKey(ctx, c.ID) })
}

type keyEnableCmd struct {
	keyID `embed:""`
}

func (*keyEnableCmd) Help() string {
	return `A revoked key stays revoked.

Example:

    cambio key enable key_0198c0ffee…`
}

func (c *keyEnableCmd) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, func(m *manage.Manager) (manage.KeyView, error) { return m.EnableKey(ctx, c.ID) })
}

type keyRevokeCmd struct {
	keyID `embed:""`
}

func (*keyRevokeCmd) Help() string {
	return `This is final. Every exchange that starts afterwards is refused. ` + knownSoon + `

Example:

    cambio key revoke key_0198c0ffee…`
}

func (c *keyRevokeCmd) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, func(m *manage.Manager) (manage.KeyView, error) { return m.RevokeKey(ctx, c.ID) })
}

type keyVoidCmd struct {
	keyID `embed:""`
}

func (*keyVoidCmd) Help() string {
	return `The key stays as it is: an exchange that starts afterwards gives a token that is good. For all keys of an owner or a keyspace there is cambio void.

` + knownSoon + `

Example:

    cambio key void key_0198c0ffee…`
}

func (c *keyVoidCmd) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, func(m *manage.Manager) (manage.KeyView, error) {
		key, err := m.VoidKey(ctx, c.ID)
		if err == nil {
			p.note("every token of %s so far is void; known to checkers within %s", c.ID, issuer.StatusDelay)
		}
		return key, err
	})
}
