package manage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// StatusOf is what the tokens of a key in this state are (Token Status List §7.1).
func StatusOf(state verifier.State) int {
	switch state {
	case verifier.Active:
		return wire.StatusValid
	case verifier.Disabled:
		return wire.StatusSuspended
	}
	return wire.StatusInvalid
}

// Everything below makes tokens void that were issued before, also those whose
// exchange is under way: an exchange that starts afterwards gives a token that is
// good. Keys stay as they are. Who checks tokens knows as soon as after a
// revocation.

// VoidKey makes the tokens of a key void. It fails with ErrNotFound. Tokens of a
// revoked key are void as it is.
func (m *Manager) VoidKey(ctx context.Context, id verifier.KeyID) (KeyView, error) {
	target := string(id)
	err := m.change(ctx, &target, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		rec, err := m.lockKey(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		if _, err := tx.VoidKeys(ctx, []verifier.KeyID{id}); err != nil {
			return nil, err
		}
		return entry("key.void", target, rec.Key.Keyspace, nil, nil)
	})
	if err != nil {
		return KeyView{}, err
	}
	return told(m.Key(ctx, verifier.KeyID(target)))
}

// VoidOwner makes the tokens of all keys of an owner void, and returns how many
// keys that were; revoked ones are not counted. It works through them in batches:
// one that was cut short has voided some, and may be repeated.
func (m *Manager) VoidOwner(ctx context.Context, owner string) (int, error) {
	if owner == "" {
		return 0, &InvalidError{"owner", errors.New("is required")}
	}
	if err := verifier.ValidateOwner(owner); err != nil {
		return 0, &InvalidError{"owner", err}
	}
	if err := m.by.validate(); err != nil {
		return 0, err
	}
	const batch = 100 // keys that wait for each other
	total := 0
	filter := KeyFilter{Owner: owner, Limit: batch}
	for {
		keys, err := m.Keys(ctx, filter)
		if err != nil || len(keys) == 0 {
			return total, partly(total > 0, err)
		}
		ids := make([]verifier.KeyID, len(keys))
		for i, key := range keys {
			ids[i] = key.Key.ID
		}
		n, err := m.after(filter.After).voidKeys(ctx, owner, ids)
		total += n
		if err != nil || len(keys) < batch {
			return total, partly(total > 0, err)
		}
		filter.After = ids[len(ids)-1]
	}
}

// after returns a Manager for the batch that follows a key: under an idempotency key,
// each batch is a change of its own that is safe to repeat.
func (m *Manager) after(last verifier.KeyID) *Manager {
	by := m.by
	if by.Repeat != nil && last != "" {
		repeat := *by.Repeat
		repeat.ID = sha256.Sum256(append(repeat.ID[:], last...))
		by.Repeat = &repeat
	}
	return m.As(by)
}

func (m *Manager) voidKeys(ctx context.Context, owner string, ids []verifier.KeyID) (int, error) {
	var voided string // a repeat knows how many, too
	err := m.change(ctx, &voided, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		n, err := tx.VoidKeys(ctx, ids)
		if voided = strconv.Itoa(n); err != nil || n == 0 {
			return nil, err
		}
		return entry("owner.void", owner, "", nil, map[string]any{"keys": ids})
	})
	return count(voided, err)
}

func count(n string, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(n)
}

// VoidKeyspace makes the tokens of all keys of a keyspace void, however many
// those are, at once. It fails with ErrNotFound.
func (m *Manager) VoidKeyspace(ctx context.Context, name string) error {
	if err := verifier.ValidateKeyspace(name); err != nil {
		return &InvalidError{"keyspace", err}
	}
	if !m.by.in(name) {
		return fmt.Errorf("keyspace %s: %w", name, ErrNotFound)
	}
	_, err := m.voidKeyspaces(ctx, name)
	return err
}

// VoidAll makes every token void, at once, and returns how many keyspaces there
// are. It fails with ErrForbidden for a client that is bound to some.
func (m *Manager) VoidAll(ctx context.Context) (int, error) {
	if !m.by.everywhere() {
		return 0, ErrForbidden
	}
	return m.voidKeyspaces(ctx, "")
}

func (m *Manager) voidKeyspaces(ctx context.Context, name string) (int, error) {
	var voided string
	err := m.change(ctx, &voided, func(ctx context.Context, tx Tx) (*audit.Entry, error) {
		n, err := tx.VoidKeyspaces(ctx, name)
		if err != nil {
			return nil, err
		}
		voided = strconv.Itoa(n)
		return entry("keyspace.void", name, name, nil, nil)
	})
	return count(voided, err)
}
