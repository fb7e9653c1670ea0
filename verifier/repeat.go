package verifier

import (
	"encoding/json"
	"errors"
	"time"
)

// ErrRepeat refuses a request under an idempotency key that stands for another.
// Nothing was charged.
var ErrRepeat = errors.New("idempotency key was used for another request")

// Repeat makes a request one that may be sent again: whoever sends it twice is
// charged once. A refusal is not remembered: it was free, and is decided anew.
type Repeat struct {
	ID      [32]byte // of who asks, and the idempotency key; zero: a request of its own
	Request [32]byte // of all that is asked; two that differ are different requests
	TokenID string   // of the token that is to be signed, if this is the first

	// Until says how long repeats are answered as the first, whose Grant it gets;
	// afterwards the same request is charged as a new one. It must be quick, and is
	// required with an ID.
	Until func(first Grant) time.Time
}

func (r *Repeat) named() bool { return r.ID != [32]byte{} }

// Charged is what was charged under an idempotency key. It holds no secret.
type Charged struct {
	Request   [32]byte  `json:"-"`
	Until     time.Time `json:"-"` // a repeat before this instant is answered as the first
	KeyID     KeyID     `json:"key_id"`
	Audience  string    `json:"audience,omitempty"`
	TokenID   string    `json:"token_id,omitempty"`
	GrantedAt time.Time `json:"granted_at"`
	Cost      int64     `json:"cost"`
	Balance   Balance   `json:"balance"` // after the charge
}

// Answer is c as a store keeps it, beside Request and Until.
func (c *Charged) Answer() ([]byte, error) { return json.Marshal(c) }

// ReadCharged reads what Answer wrote. Of an answer to something that was no
// charge, since idempotency keys are for other things too, it makes one that no
// request repeats.
func ReadCharged(request [32]byte, until time.Time, answer []byte) *Charged {
	var c Charged
	if json.Unmarshal(answer, &c) != nil {
		c = Charged{}
	}
	c.Request, c.Until = request, until
	return &c
}

// chargedFor is what is to be remembered of a first grant.
func chargedFor(req Request, g Grant) *Charged {
	return &Charged{
		Request: req.Repeat.Request, Until: req.Repeat.Until(g),
		KeyID: g.KeyID, Audience: g.Audience, TokenID: g.TokenID, GrantedAt: g.GrantedAt, Cost: req.Cost, Balance: g.Balance,
	}
}

// grantAgain makes g, which passed every check but the limits, a repeat of c. It
// is another request if it has come to mean another key or audience since.
func (c *Charged) grantAgain(g Grant) (Grant, error) {
	if g.KeyID != c.KeyID || g.Audience != c.Audience {
		return Grant{}, ErrRepeat
	}
	g.GrantedAt, g.TokenID, g.Balance, g.Replayed = c.GrantedAt, c.TokenID, c.Balance, true
	return g, nil
}
