// Package verifier decides whether an API key may be exchanged, and charges
// its budget. It knows keys, budgets and the order of refusals; it knows nothing
// about tokens, HTTP or SQL.
//
// # Why the rules are pure
//
// Decide and the arithmetic of Budget take the time and the records and touch
// nothing else. Both stores call them inside their transaction, so there is one
// set of rules and it is tested without a database.
package verifier

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cambio-auth/cambio/internal/permission"
)

// Config makes a Verifier.
type Config struct {
	Store   Store         // required
	Timeout time.Duration // of one Update, which no caller can cut short; zero: 5 s
	Groups  int           // Updates in flight at a time; zero: 1
	Queue   int           // requests that wait at a time, at most; zero: 4096
	Group   int           // requests in one Update, at most; zero: no bound but 256 keys

	// Updated is called after each Update with the requests in it, the time that it
	// took, and its error. It must not block. Nil: nobody is told.
	Updated func(requests int, took time.Duration, err error)

	Tracer Tracer // nil: nothing is traced
}

// Verifier verifies keys and charges them.
type Verifier struct {
	ledger *ledger
}

// New fails without a store.
func New(cfg Config) (*Verifier, error) {
	if cfg.Store == nil {
		return nil, errors.New("verifier: Config.Store is required")
	}
	if cfg.Timeout < 0 || cfg.Groups < 0 || cfg.Queue < 0 || cfg.Group < 0 {
		return nil, errors.New("verifier: Config holds a negative number")
	}
	return &Verifier{&ledger{
		store:    cfg.Store,
		timeout:  cmp.Or(cfg.Timeout, 5*time.Second),
		inFlight: cmp.Or(cfg.Groups, 1),
		queueCap: cmp.Or(cfg.Queue, 4096),
		groupCap: cmp.Or(cfg.Group, math.MaxInt),
		updated:  cfg.Updated,
		tracer:   cfg.Tracer,
	}}, nil
}

// Request asks whether a key may be used, mostly to exchange it for a token.
type Request struct {
	Key         Secret
	Keyspace    string      // the key must be of this keyspace; empty: of any that the client may use
	Targets     []string    // the audience asked for; none: the client's only one; two are refused
	Permissions Permissions // what the token must hold; nil: all that key and client hold; empty: ErrPermission
	Unholdable  bool        // something is asked that no key can hold: ErrPermission, if the key is good
	Cost        int64       // uses to charge, ≥ 1; 0 with Peek only
	Client      Allowance
	Repeat      Repeat // zero: a request of its own

	// Peek answers what a charge of 1 would be answered, and changes nothing. Cost
	// must be 0.
	Peek bool

	// NoToken says that no token is to be made of the grant. A client without
	// audiences then needs no target, for keys that are not bound to audiences of
	// their own; and permissions may be asked by names that no scope can carry.
	NoToken bool
}

// Allowance is what the calling client may do with keys.
type Allowance struct {
	ID           string
	Version      int64 // of the client as it was read: ErrClientChanged, if it is another now
	Audiences    []string
	Keyspaces    []string
	AllKeyspaces bool        // Keyspaces means nothing
	Permissions  Permissions // nil: no bound
	ImportedKeys bool        // it may use keys of other forms than ours
}

// Grant is a key that was verified and charged.
type Grant struct {
	KeyID       KeyID
	Keyspace    string
	Owner       string
	Name        string
	ExternalID  string
	KeyMetadata json.RawMessage // the key's, whether published or not

	Audience      string // empty: none, and none was needed
	Permissions   Permissions
	Metadata      json.RawMessage // to be published in a token, if the keyspace does that, up to MaxTokenMetadata
	TokenLifetime time.Duration   // the keyspace's; zero: the server's default
	NotAfter      time.Time       // the key's expiry; zero: none
	GrantedAt     time.Time       // by the database's clock; of a repeat, when the first was granted
	DecidedAt     time.Time       // by the same clock, now
	Status        StatusRef
	Balance       Balance // after this
	TokenID       string  // Repeat.TokenID of the first; empty: this is no request that may be repeated
	Replayed      bool    // the first was charged, this was not
}

// Verify decides about req.Key and charges its budget if the answer is yes.
// The charge is durable when Verify returns nil.
//
// A refusal wraps ErrRefused and changed nothing. The Grant beside it has only
// KeyID and Keyspace, if the key is known; if the key is good, and the refusal is
// about its audiences, permissions or limits, it has all but Audience, Metadata and
// GrantedAt, and its Permissions are all that key and client hold.
//
// ErrUnavailable means that the store did not answer and nothing was charged;
// ErrOutcomeUnknown that it may have been. ErrClientChanged asks for the client to
// be read again. ErrBadRequest and ErrRepeat are the caller's mistake.
func (v *Verifier) Verify(ctx context.Context, req Request) (Grant, error) {
	if err := req.validate(); err != nil {
		return Grant{}, err
	}
	if err := ctx.Err(); err != nil {
		return Grant{}, err
	}
	return v.ledger.charge(ctx, req)
}

// validate refuses what needs no storage: requests that make no sense, and
// keys that cannot exist.
func (req *Request) validate() error {
	if err := req.sensible(); err != nil {
		return fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	key := req.Key.Reveal()
	if key == "" || len(key) > MaxKey {
		return ErrMalformed
	}
	if !req.Client.ImportedKeys && !WellFormed(req.Key) {
		return ErrMalformed
	}
	return nil
}

func (req *Request) sensible() error {
	switch {
	case req.Peek && req.Cost != 0:
		return errors.New("who peeks must not pay")
	case !req.Peek && req.Cost < 1:
		return errors.New("cost must be at least 1")
	case req.Repeat.named() && (req.Peek || req.Repeat.Until == nil):
		return errors.New("only a charge can be repeated, for a time")
	case req.NoToken:
		return anyNames(req.Permissions)
	}
	return permission.Validate(req.Permissions)
}

// maxAsked is how many actions can be asked for by any name: more than a scope
// could hold.
const maxAsked = 1000

// anyNames refuses a resource without actions, and too many of them.
func anyNames(asked Permissions) error {
	total := 0
	for _, actions := range asked {
		total += len(actions)
		if len(actions) == 0 || total > maxAsked {
			return fmt.Errorf("of each resource an action must be asked for, and of all at most %d", maxAsked)
		}
	}
	return nil
}
