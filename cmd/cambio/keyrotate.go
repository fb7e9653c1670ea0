package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

type keyRotateCmd struct {
	keyArg      `embed:""`
	Overlap     time.Duration  `placeholder:"DURATION" help:"How long the old key still works, such as 72h. Default: not at all."`
	ExpiresIn   *time.Duration `placeholder:"DURATION" help:"How long the new key lives. Default: as its keyspace says, or else as long as the old one would have."`
	versionFlag `embed:""`
	changeFlags `embed:""`
}

func (*keyRotateCmd) Help() string {
	return `Makes a key that is alike in all but its secret and its id, and prints it alone on stdout, so that it can go into a file or a variable; with --json {"id":…,"key":…,…,"predecessor":{…}}. It is not to be had again.

Both keys use one budget: what one uses, the other has no more, and nothing is doubled or lost. The old key ends by itself when the overlap does, and its tokens with it; without --overlap it ends at once.

Examples:

    cambio key rotate key_0198c0ffee… --overlap 72h > key.txt
    cambio key rotate key_0198c0ffee… --reason 'the laptop was stolen' --json`
}

func (c *keyRotateCmd) Run(ctx context.Context, p process) error {
	if err := c.check(); err != nil {
		return err
	}
	how := manage.Rotation{Overlap: c.Overlap}
	if c.ExpiresIn != nil {
		if how.ExpiresIn = *c.ExpiresIn; how.ExpiresIn == 0 {
			return &usageError{errors.New("--expires-in: must be more than nothing")}
		}
	}
	return c.changeAt(ctx, p, c.IfVersion, func(m *manage.Manager) error {
		made, err := m.RotateKey(ctx, c.ID, how)
		if err != nil {
			return flagsFor(err, keyFlags())
		}
		if c.JSON {
			return printJSON(p.stdout, wire.RotatedKey{CreatedKey: createdKey(made.CreatedKey), Predecessor: made.Predecessor.Wire()})
		}
		old := made.Predecessor.Wire()
		if c.Overlap > 0 {
			p.note("key %s works until %s, on the budget of the new one", old.ID, showTime(old.ExpiresAt, "its end"))
		} else {
			p.note("key %s is revoked", old.ID)
		}
		p.note("key %s created; it follows and is not to be had again", made.Key.ID)
		_, err = fmt.Fprintln(p.stdout, made.Secret.Reveal())
		return err
	})
}
