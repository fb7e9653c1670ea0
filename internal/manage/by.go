package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/verifier"
)

// By says on whose behalf a Manager acts, why, and on which conditions. The zero By
// is an operator, who may do everything.
type By struct {
	Client   *client.Client // whose holdings bound what is done; nil: an operator
	Operator string         // the user at the command line, where there is no Client
	From     string         // an address, or a host
	Reason   string         // kept in the log, and with a key that is disabled or revoked; at most 255 bytes of printable text
	Version  int64          // what is changed must be of this version, or ErrChanged; zero: of any
	Repeat   *Repeat        // nil: each call is a change of its own
	Did      *Did           // is filled in, unless it is nil
}

// Repeat makes a change safe to repeat: who says the same once more within
// RepeatWindow changes nothing.
type Repeat struct {
	ID      [32]byte // SHA-256 of who says it and the idempotency key
	Request [32]byte // SHA-256 of what is asked; ErrRepeat if it differs from the first
}

// RepeatWindow is how long a change is known by its idempotency key.
const RepeatWindow = 24 * time.Hour

// Did is what became of a change.
type Did struct {
	Replayed bool       // it had been done before, and was not done again
	Log      audit.Head // where the log ended with it; zero: nothing was changed
}

// Errors that refuse a change.
var (
	ErrForbidden = errors.New("it exceeds what the client itself holds")
	ErrChanged   = errors.New("it was changed meanwhile")
	ErrRepeat    = errors.New("the idempotency key was used for another request")
)

// As returns a Manager that acts on behalf of another.
func (m *Manager) As(by By) *Manager {
	acting := *m
	acting.by = by
	return &acting
}

func (b By) actor() audit.Actor {
	if b.Client != nil {
		return audit.Actor{Kind: audit.KindClient, ID: b.Client.ID, From: b.From}
	}
	return audit.Actor{Kind: audit.KindOperator, ID: b.Operator, From: b.From}
}

// change runs do in a transaction, together with its entry in the log: the one that
// do returns, or none if it changed nothing. target names what was changed; do sets
// it, unless the change had been done before.
func (m *Manager) change(ctx context.Context, target *string, do func(ctx context.Context, tx Tx) (*audit.Entry, error)) error {
	if err := m.by.validate(); err != nil {
		return err
	}
	err := m.changeOnce(ctx, target, do)
	if err == nil || m.by.Repeat == nil || errors.Is(err, verifier.ErrOutcomeUnknown) {
		return err
	}
	// Its twin may have been first, and be why it failed: what it makes exists already,
	// what it changes has another version. By now the twin is found.
	return m.changeOnce(ctx, target, func(context.Context, Tx) (*audit.Entry, error) { return nil, err })
}

// partly is the error of what is done in several changes: nothing may have been done
// only before the first of them.
func partly(done bool, err error) error {
	if err != nil && done && !errors.Is(err, verifier.ErrOutcomeUnknown) {
		err = fmt.Errorf("%w: some of it was done: %w", verifier.ErrOutcomeUnknown, err)
	}
	return err
}

// told answers with what is there after a change, which is committed: that it cannot be
// read does not undo it.
func told[T any](there T, err error) (T, error) {
	if err != nil && !errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: reading what was changed: %w", verifier.ErrOutcomeUnknown, err)
	}
	return there, err
}

// validate refuses a reason that does not print.
func (b By) validate() error {
	if verifier.ValidateName(b.Reason) != nil {
		return &InvalidError{"reason", errors.New("must be at most 255 bytes of printable text")}
	}
	return nil
}

var errRaced = errors.New("the same change is made at the same time")

func (m *Manager) changeOnce(ctx context.Context, target *string, do func(ctx context.Context, tx Tx) (*audit.Entry, error)) error {
	var did Did
	err := m.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		did = Did{}
		if err := m.confirm(ctx, tx); err != nil {
			return err
		}
		var err error
		if did.Replayed, err = m.replay(ctx, tx, target); did.Replayed || err != nil {
			return err
		}
		entry, err := do(ctx, tx)
		if err == nil && entry != nil {
			entry.Actor, entry.Reason = m.by.actor(), m.by.Reason
			did.Log, err = tx.Log(ctx, *entry)
		}
		if err != nil {
			return err
		}
		return m.remember(ctx, tx, *target)
	})
	if err == nil && m.by.Did != nil {
		*m.by.Did = did
	}
	return err
}

// confirm makes sure that the client is what it was when it was authenticated.
func (m *Manager) confirm(ctx context.Context, tx Tx) error {
	if m.by.Client == nil {
		return nil
	}
	now, err := tx.Client(ctx, m.by.Client.ID)
	if err == nil && (now == nil || now.Version != m.by.Client.Version) {
		err = verifier.ErrClientChanged
	}
	return err
}

func (m *Manager) replay(ctx context.Context, tx Tx, target *string) (bool, error) {
	if m.by.Repeat == nil {
		return false, nil
	}
	done, err := tx.Done(ctx, m.by.Repeat.ID)
	if err != nil || done == nil {
		return false, err
	}
	if done.Request != m.by.Repeat.Request {
		return false, ErrRepeat
	}
	return true, json.Unmarshal(done.Answer, target)
}

func (m *Manager) remember(ctx context.Context, tx Tx, target string) error {
	if m.by.Repeat == nil {
		return nil
	}
	answer, err := json.Marshal(target)
	if err != nil {
		return err
	}
	err = tx.Remember(ctx, Done{ID: m.by.Repeat.ID, Request: m.by.Repeat.Request, Answer: answer, Until: tx.Now().Add(RepeatWindow)})
	if errors.Is(err, ErrExists) {
		return errRaced
	}
	return err
}

// of checks the condition on the version of what is to be changed.
func (b By) of(version int64) error {
	if b.Version != 0 && b.Version != version {
		return ErrChanged
	}
	return nil
}

// entry makes one of what was changed.
func entry(action, target, keyspace string, before, after any) (*audit.Entry, error) {
	e := &audit.Entry{Action: action, Target: target, Keyspace: keyspace}
	for _, part := range []struct {
		to   *json.RawMessage
		from any
	}{{&e.Before, before}, {&e.After, after}} {
		if part.from == nil {
			continue
		}
		text, err := json.Marshal(part.from)
		if err != nil {
			return nil, fmt.Errorf("describing %s: %w", action, err)
		}
		*part.to = text
	}
	return e, nil
}

// What follows says what a client may manage: nothing outside of its keyspaces, and
// nobody else may be given more than it holds itself.

// in reports whether things of a keyspace may be managed. For who may not, they do
// not exist.
func (b By) in(keyspace string) bool {
	return b.everywhere() || slices.Contains(b.Client.Keyspaces, keyspace)
}

func (b By) everywhere() bool {
	return b.Client == nil || slices.Contains(b.Client.Keyspaces, client.AnyKeyspace)
}

// within narrows a list of keyspaces to those that may be managed. None means all
// of them; false, that nothing is left.
func (b By) within(keyspaces []string) ([]string, bool) {
	if b.everywhere() {
		return keyspaces, true
	}
	if len(keyspaces) == 0 {
		keyspaces = b.Client.Keyspaces
	}
	left := slices.DeleteFunc(slices.Clone(keyspaces), func(name string) bool { return !b.in(name) })
	return left, len(left) > 0
}

// gives reports whether these permissions may be given to a key.
func (b By) gives(p verifier.Permissions) bool {
	return b.Client == nil || b.Client.Permissions == nil || permission.Covers(b.Client.Permissions, p)
}

// names reports whether a key may be bound to these audiences. A client without any
// audience, who manages keys and exchanges none, may name all of them: they bind.
func (b By) names(audiences []string) bool {
	return b.Client == nil || len(b.Client.Audiences) == 0 || subset(audiences, b.Client.Audiences, client.AnyAudience)
}

// hands reports whether a key may be put into somebody's hands.
func (b By) hands(k verifier.Key) bool { return b.gives(k.Permissions) && b.names(k.Audiences) }

// lets reports whether a key may become another. What is good again, or for longer, is
// as if it were given anew; what was for some audiences, and is for all of them, was
// given all of them.
func (b By) lets(was, is verifier.Key) bool {
	enabled := was.State != verifier.Active && is.State == verifier.Active
	longer := !was.ExpiresAt.IsZero() && (is.ExpiresAt.IsZero() || is.ExpiresAt.After(was.ExpiresAt))
	freed := len(was.Audiences) > 0 && len(is.Audiences) == 0
	return (!enabled && !longer || b.hands(is)) && (!freed || b.names([]string{client.AnyAudience}))
}

// makes reports whether another client may be given, or may keep, all that c holds.
func (b By) makes(c client.Client) error {
	switch {
	case b.Client == nil:
		return nil
	case !b.everywhere() && !subset(c.Keyspaces, b.Client.Keyspaces, client.AnyKeyspace):
		return ErrNotFound
	case !subset(c.Rights, b.Client.Rights, ""),
		!subset(c.Audiences, b.Client.Audiences, client.AnyAudience),
		b.Client.Permissions != nil && c.Permissions == nil,
		!b.gives(c.Permissions):
		return ErrForbidden
	}
	return nil
}

// subset reports whether all of part is in whole, or whole holds any.
func subset[T ~string](part, whole []T, any T) bool {
	if any != "" && slices.Contains(whole, any) {
		return true
	}
	return !slices.ContainsFunc(part, func(v T) bool { return !slices.Contains(whole, v) })
}
