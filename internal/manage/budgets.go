package manage

import (
	"context"
	"errors"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// BudgetChange says what is to be otherwise about a budget. The zero BudgetChange
// changes nothing.
type BudgetChange struct {
	Unlimited bool             // no count of uses, and no refill, any more
	Remaining *int64           // set; nil: as it is
	Add       int64            // to what remains now; may be negative, down to nothing left
	Refill    *verifier.Refill // zero: none. It begins now, unless its interval is that of before
	Rate      *verifier.Rate   // zero: none
}

// ChangeBudget changes what limits a key, and every key that shares its budget. No
// charge is lost: what is added is added to what remains when it is done. It fails
// with InvalidErrors, ErrNotFound, ErrRevoked or ErrChanged.
func (m *Manager) ChangeBudget(ctx context.Context, id verifier.KeyID, c BudgetChange) (KeyView, error) {
	if err := c.Validate(); err != nil {
		return KeyView{}, err
	}
	return m.changeKey(ctx, id, "key.budget", func(ctx context.Context, tx Tx, rec *KeyRecord) (bool, error) {
		if rec.Key.State == verifier.Revoked {
			return false, ErrRevoked
		}
		if err := c.save(ctx, tx, rec); err != nil {
			return false, err
		}
		return true, tx.SaveKey(ctx, *rec) // for its version
	})
}

// Validate fails with InvalidErrors, all of them at once, as ChangeBudget does.
func (c BudgetChange) Validate() error {
	var bad fields
	if c.Remaining != nil {
		bad.check("remaining", validUses(*c.Remaining))
	}
	if c.Unlimited && (c.Remaining != nil || c.Add != 0) || c.Remaining != nil && c.Add != 0 {
		bad.check("remaining", errors.New("can be set, added to or taken away, one of these"))
	}
	if c.Unlimited && c.Refill != nil && *c.Refill != (verifier.Refill{}) {
		bad.check("refill", errors.New("there is nothing to refill without a limit"))
	}
	if c.Add < -maxUses || c.Add > maxUses {
		bad.check("add", errors.New("must be below 10^15"))
	}
	if c.Refill != nil && *c.Refill != (verifier.Refill{}) {
		bad.check("refill", validRefill(*c.Refill))
	}
	if c.Rate != nil && *c.Rate != (verifier.Rate{}) {
		bad.check("rate", c.Rate.Validate())
	}
	return bad.err()
}

// save locks the budget of rec and changes it, if there is something to change.
func (c BudgetChange) save(ctx context.Context, tx Tx, rec *KeyRecord) error {
	if c == (BudgetChange{}) {
		return nil
	}
	before, err := tx.LockBudget(ctx, rec.Budget.ID)
	if err != nil {
		return err
	}
	after, err := c.apply(before.At(tx.Now()), tx.Now())
	if err != nil {
		return err
	}
	*rec.Budget = after
	return tx.SaveBudget(ctx, after)
}

func (c BudgetChange) apply(b verifier.Budget, now time.Time) (verifier.Budget, error) {
	if c.Refill != nil {
		b = c.refill(b, now)
	}
	switch {
	case c.Unlimited:
		b.Counted, b.Remaining, b.Refill, b.Refilled = false, 0, verifier.Refill{}, time.Time{}
	case c.Remaining != nil:
		b.Counted, b.Remaining = true, *c.Remaining
	case c.Add != 0 && !b.Counted:
		return b, &InvalidError{"add", errors.New("there is no limit to add to")}
	case c.Add != 0:
		b.Remaining += c.Add
		if err := validUses(b.Remaining); err != nil {
			return b, &InvalidError{"add", errors.New("what remains " + err.Error())}
		}
	}
	if c.Rate != nil {
		b.Rate = *c.Rate
	}
	return b, nil
}

func (c BudgetChange) refill(b verifier.Budget, now time.Time) verifier.Budget {
	switch {
	case *c.Refill == verifier.Refill{}:
		b.Refill = verifier.Refill{}
	case b.Refill.Interval == c.Refill.Interval:
		b.Refill.Amount = c.Refill.Amount
	default:
		b = refilled(b, *c.Refill, now)
	}
	if !b.Counted && b.Refill != (verifier.Refill{}) {
		b.Counted, b.Remaining = true, b.Refill.Amount
	}
	return b
}
