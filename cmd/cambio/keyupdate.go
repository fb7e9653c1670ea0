package main

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

type keyUpdateCmd struct {
	keyArg        `embed:""`
	Name          *string          `placeholder:"TEXT" help:"What people call it."`
	Permission    []permissionFlag `sep:"none" xor:"permissions" placeholder:"RESOURCE:ACTION,…" help:"All that it may do from now on. Repeat for more."`
	NoPermissions bool             `xor:"permissions" help:"It may do nothing any more."`
	Audience      []string         `sep:"none" xor:"audiences" placeholder:"URL" help:"The backends its tokens may be for from now on. Repeat for more."`
	AnyAudience   bool             `xor:"audiences" help:"Its tokens may be for any backend that the client may use."`
	Metadata      *string          `placeholder:"JSON" help:"A JSON object in place of the one kept with it; '' for none."`
	ExpiresIn     *time.Duration   `xor:"expiry" placeholder:"DURATION" help:"It expires after this time from now, such as 720h."`
	ExpiresAt     *time.Time       `xor:"expiry" placeholder:"TIME" help:"It expires at this time, such as 2027-01-31T00:00:00Z."`
	NeverExpires  bool             `xor:"expiry" help:"It never expires."`
	Refill        *refillFlag      `xor:"refill" placeholder:"N/PERIOD" help:"Set remaining to N at the start of every day, month (UTC), or period such as 24h."`
	NoRefill      bool             `xor:"refill" help:"What remains is not refilled any more."`
	Rate          *rateFlag        `xor:"rate" placeholder:"N/WINDOW[,BURST]" help:"At most N exchanges in a window such as 1m."`
	NoRate        bool             `xor:"rate" help:"As many exchanges at a time as you like."`
	versionFlag   `embed:""`
	changeFlags   `embed:""`
}

func (*keyUpdateCmd) Help() string {
	return `What is not named stays. Fewer permissions or audiences make the tokens void that the key was exchanged for before; so does an end that would come before theirs. ` + knownSoon + `

Refill and rate are of the budget, which keys share that were rotated.

Examples:

    cambio key update key_0198c0ffee… --name laptop --expires-in 720h
    cambio key update key_0198c0ffee… --permission projects:read --if-version 3
    cambio key update key_0198c0ffee… --refill 1000/month --no-rate`
}

func (c *keyUpdateCmd) Run(ctx context.Context, p process) error {
	if err := c.check(); err != nil {
		return err
	}
	patch := c.patch()
	if reflect.ValueOf(patch).IsZero() && c.ExpiresIn == nil {
		return &usageError{errors.New("nothing to change: name what is to be otherwise; see cambio key update --help")}
	}
	return c.changeAt(ctx, p, c.IfVersion, func(m *manage.Manager) error {
		if c.ExpiresIn != nil {
			end, err := c.expiry(ctx, m)
			if err != nil {
				return err
			}
			patch.ExpiresAt = &end
		}
		key, err := m.PatchKey(ctx, c.ID, patch)
		if err != nil {
			return flagsFor(err, keyFlags())
		}
		return c.printKey(p, key)
	})
}

// expiry counts from now by the database's clock, as the expiry itself does.
func (c *keyUpdateCmd) expiry(ctx context.Context, m *manage.Manager) (time.Time, error) {
	if *c.ExpiresIn <= 0 || *c.ExpiresIn%time.Second != 0 {
		return time.Time{}, &usageError{errors.New("--expires-in: must be whole seconds, and more than nothing")}
	}
	key, err := m.Key(ctx, c.ID)
	return key.At.Truncate(time.Second).Add(*c.ExpiresIn), err
}

// patch has nothing of ExpiresIn yet.
func (c *keyUpdateCmd) patch() manage.KeyPatch {
	patch := manage.KeyPatch{Name: c.Name, ExpiresAt: c.ExpiresAt}
	if permissions := merge(c.Permission); permissions != nil || c.NoPermissions {
		patch.Permissions = &permissions
	}
	if c.Audience != nil || c.AnyAudience {
		patch.Audiences = &c.Audience
	}
	if c.Metadata != nil {
		metadata := json.RawMessage(*c.Metadata)
		patch.Metadata = &metadata
	}
	if c.NeverExpires {
		patch.ExpiresAt = &time.Time{}
	}
	if c.Refill != nil {
		patch.Budget.Refill = &c.Refill.Refill
	}
	if c.NoRefill {
		patch.Budget.Refill = &verifier.Refill{}
	}
	if c.Rate != nil {
		patch.Budget.Rate = &c.Rate.Rate
	}
	if c.NoRate {
		patch.Budget.Rate = &verifier.Rate{}
	}
	return patch
}

type keyBudgetCmd struct {
	keyArg      `embed:""`
	Set         *int64 `required:"" xor:"what" placeholder:"N" help:"N uses remain."`
	Add         *int64 `required:"" xor:"what" placeholder:"N" help:"N more remain than do now; fewer if it is negative, as in --add=-5."`
	Unlimited   bool   `required:"" xor:"what" help:"Uses are not counted any more, and not refilled."`
	versionFlag `embed:""`
	changeFlags `embed:""`
}

func (*keyBudgetCmd) Help() string {
	return `No use is lost: what is added is added to what remains at that moment, while exchanges go on. Keys that were rotated share one budget, so it is changed for all of them.

Examples:

    cambio key budget key_0198c0ffee… --add 1000 --reason 'invoice 2217'
    cambio key budget key_0198c0ffee… --set 0`
}

func (c *keyBudgetCmd) Run(ctx context.Context, p process) error {
	if err := c.check(); err != nil {
		return err
	}
	change := manage.BudgetChange{Unlimited: c.Unlimited, Remaining: c.Set}
	if c.Add != nil {
		if change.Add = *c.Add; change.Add == 0 {
			return &usageError{errors.New("--add: must be another number than 0")}
		}
	}
	return c.changeAt(ctx, p, c.IfVersion, func(m *manage.Manager) error {
		key, err := m.ChangeBudget(ctx, c.ID, change)
		if err != nil {
			return flagsFor(err, map[string]string{"remaining": "--set", "add": "--add"})
		}
		return c.printKey(p, key)
	})
}
