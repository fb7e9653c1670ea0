package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// ImportKey is a key that was made elsewhere, with what is left of its limits.
type ImportKey struct {
	Digest      verifier.Digest
	Start       string
	Keyspace    string
	Owner       string
	Name        string
	ExternalID  string // its id where it was made
	Permissions verifier.Permissions
	Audiences   []string
	Metadata    json.RawMessage
	State       verifier.State
	CreatedAt   time.Time       // zero: now
	ExpiresAt   time.Time       // whole seconds; zero: never
	Budget      verifier.Budget // without ID
	Weak        bool            // it can be guessed
}

// What comes of a key that is imported.
const (
	ImportNew       = "import"    // it is stored
	ImportUnchanged = "unchanged" // it was stored before, and stays as it is
	ImportConflict  = "conflict"  // another key has that digest
	ImportInvalid   = "invalid"
)

// ImportResult is what came of one key.
type ImportResult struct {
	Outcome string
	ID      verifier.KeyID // of the key that is there; empty: none is
	Err     error          // why it is a conflict or invalid
}

// Why a key is not imported.
var (
	errDeleted  = errors.New("key: was imported before, and deleted since")
	errAnother  = errors.New("key: is there already, with another keyspace, owner or external id")
	errRepeated = errors.New("key: comes twice")
	errUnready  = &InvalidError{"keyspace", errors.New("is not there, or takes no such imported keys")}
)

// PrepareImport has keyspaces take keys of other forms: those that are missing are
// made, and those that are there are marked. Until that is done no imported key may
// go into them, since exchanges could refuse it for its form. It returns what it did,
// or in a dry run what it would do: a line for each keyspace that was not ready.
func (m *Manager) PrepareImport(ctx context.Context, keyspaces []string, dryRun bool) (notes []string, err error) {
	for _, name := range slices.Compact(slices.Sorted(slices.Values(keyspaces))) {
		note, err := m.prepare(ctx, name, dryRun)
		if err != nil {
			return notes, fmt.Errorf("keyspace %.64q: %w", name, err)
		}
		if note != "" {
			notes = append(notes, "keyspace "+name+": "+note)
		}
	}
	return notes, nil
}

func (m *Manager) prepare(ctx context.Context, name string, dryRun bool) (note string, err error) {
	ks, err := m.Keyspace(ctx, name)
	switch {
	case errors.Is(err, ErrNotFound):
		note = "new, for imported keys"
	case err != nil || ks.ImportedKeys:
		return "", err
	default:
		note = "takes imported keys from now on"
	}
	if dryRun {
		return note, validName(name)
	}
	imported := true
	if err == nil {
		_, err = m.PatchKeyspace(ctx, name, KeyspacePatch{ImportedKeys: &imported})
		return note, err
	}
	_, err = m.CreateKeyspace(ctx, NewKeyspace{Name: name, ImportedKeys: true})
	if errors.Is(err, ErrExists) { // somebody else made it just now
		_, err = m.PatchKeyspace(ctx, name, KeyspacePatch{ImportedKeys: &imported})
	}
	return note, err
}

// PrepareWeak marks keyspaces as holding keys that can be guessed. Until that is done
// no such key may go into them: attempts at it would not be limited. Notes are those of
// PrepareImport, which comes first.
func (m *Manager) PrepareWeak(ctx context.Context, keyspaces []string, dryRun bool) (notes []string, err error) {
	for _, name := range slices.Compact(slices.Sorted(slices.Values(keyspaces))) {
		ks, err := m.Keyspace(ctx, name)
		missing := dryRun && errors.Is(err, ErrNotFound) // yet
		weak := true
		if err == nil && !ks.WeakKeys && !dryRun {
			_, err = m.PatchKeyspace(ctx, name, KeyspacePatch{WeakKeys: &weak})
		}
		if err != nil && !missing {
			return notes, fmt.Errorf("keyspace %.64q: %w", name, err)
		}
		if !ks.WeakKeys {
			notes = append(notes, "keyspace "+name+": holds keys that can be guessed, so failures are limited harder")
		}
	}
	return notes, nil
}

// ImportKeys stores keys in one transaction, at most a few thousand at a time, and
// returns what came of each, in order. A key that is not good, or in conflict, does
// not stop the others; one that is there with the same keyspace, owner and external
// id is left alone, so importing twice changes nothing. Keyspaces must have been
// prepared by PrepareImport, for weak keys by PrepareWeak too. A dry run tells what would come of it.
func (m *Manager) ImportKeys(ctx context.Context, keys []ImportKey, dryRun bool) (results []ImportResult, err error) {
	bad := make([]error, len(keys))
	for i := range keys {
		bad[i] = keys[i].validate()
	}
	const attempts = 3 // another import may add the same keys between our two steps
	for range attempts {
		err = m.store.Change(ctx, func(ctx context.Context, tx Tx) error {
			if err := m.confirm(ctx, tx); err != nil {
				return err
			}
			batch, err := m.judge(ctx, tx, keys, bad, dryRun)
			if err != nil {
				return err
			}
			results = batch.results
			if dryRun {
				return nil
			}
			return batch.store(ctx, m, tx)
		})
		if !errors.Is(err, ErrExists) {
			break
		}
	}
	return results, err
}

// importBatch is what a transaction does: results in the order of the keys, and those
// of them that are new.
type importBatch struct {
	results []ImportResult
	added   []KeyRecord
}

// judge decides about every key, with the keyspaces locked and before anything is
// written. bad says which keys are not good as they are.
func (m *Manager) judge(ctx context.Context, tx Tx, keys []ImportKey, bad []error, dryRun bool) (importBatch, error) {
	ready, err := m.lockReady(ctx, tx, keys, bad, dryRun)
	if err != nil {
		return importBatch{}, err
	}
	there, err := taken(ctx, tx, keys)
	if err != nil {
		return importBatch{}, err
	}
	batch := importBatch{results: make([]ImportResult, len(keys))}
	seen := make(map[verifier.Digest]bool, len(keys))
	for i := range keys {
		key, result := &keys[i], &batch.results[i]
		other, exists := there[key.Digest]
		switch {
		case bad[i] != nil:
			*result = ImportResult{Outcome: ImportInvalid, Err: bad[i]}
			continue
		case !dryRun && !key.fits(ready[key.Keyspace]):
			*result = ImportResult{Outcome: ImportInvalid, Err: errUnready}
			continue
		case !m.by.gives(key.Permissions) || !m.by.names(key.Audiences):
			*result = ImportResult{Outcome: ImportInvalid, Err: ErrForbidden}
			continue
		case seen[key.Digest]:
			*result = ImportResult{Outcome: ImportConflict, Err: errRepeated}
		case exists:
			*result = key.compare(other, m.by.in(other.Key.Keyspace))
		default:
			rec, err := key.record(tx.Now())
			if err != nil {
				return importBatch{}, err
			}
			batch.added = append(batch.added, rec)
			*result = ImportResult{Outcome: ImportNew, ID: rec.Key.ID}
		}
		if seen[key.Digest] = true; dryRun && result.Outcome == ImportNew {
			result.ID = ""
		}
	}
	return batch, nil
}

// lockReady locks the keyspaces of good keys and returns those that are there. A dry
// run locks none: they may be missing yet.
func (m *Manager) lockReady(ctx context.Context, tx Tx, keys []ImportKey, bad []error, dryRun bool) (map[string]verifier.Keyspace, error) {
	ready := map[string]verifier.Keyspace{}
	if dryRun {
		return ready, nil
	}
	for i, key := range keys {
		if bad[i] == nil {
			ready[key.Keyspace] = verifier.Keyspace{}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ready)) {
		ks, err := m.lockKeyspace(ctx, tx, name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		ready[name] = ks.Keyspace
	}
	return ready, nil
}

// fits reports whether a keyspace takes such a key.
func (k *ImportKey) fits(ks verifier.Keyspace) bool {
	return ks.ImportedKeys && (ks.WeakKeys || !k.Weak)
}

func taken(ctx context.Context, tx Tx, keys []ImportKey) (map[verifier.Digest]KeyRecord, error) {
	digests := make([]verifier.Digest, len(keys))
	for i, key := range keys {
		digests[i] = key.Digest
	}
	found, err := tx.DigestsTaken(ctx, digests)
	there := make(map[verifier.Digest]KeyRecord, len(found))
	for _, rec := range found {
		there[rec.Key.Digest] = rec
	}
	return there, err
}

// compare says what becomes of a key whose digest is there. Which key that is, is told
// to who may see it.
func (k *ImportKey) compare(there KeyRecord, visible bool) ImportResult {
	result := ImportResult{Outcome: ImportConflict, ID: there.Key.ID}
	if !visible {
		result.ID = ""
	}
	switch {
	case !there.DeletedAt.IsZero():
		result.Err = errDeleted
	case k.Keyspace != there.Key.Keyspace || k.Owner != there.Key.Owner || k.ExternalID != there.Key.ExternalID:
		result.Err = errAnother
	default:
		result.Outcome = ImportUnchanged
	}
	return result
}

// store adds the keys, and an entry to the log for each keyspace that got some.
func (b importBatch) store(ctx context.Context, m *Manager, tx Tx) error {
	if len(b.added) == 0 {
		return nil
	}
	if err := tx.AddKeys(ctx, b.added); err != nil {
		return err
	}
	ids := map[string][]verifier.KeyID{}
	for _, rec := range b.added {
		ids[rec.Key.Keyspace] = append(ids[rec.Key.Keyspace], rec.Key.ID)
	}
	for _, keyspace := range slices.Sorted(maps.Keys(ids)) {
		after := map[string]any{"keys": ids[keyspace], "count": len(ids[keyspace])}
		e, err := entry("key.import", "", keyspace, nil, after)
		if err != nil {
			return err
		}
		e.Actor, e.Reason = m.by.actor(), m.by.Reason
		if _, err := tx.Log(ctx, *e); err != nil {
			return err
		}
	}
	return nil
}

// record makes a key of its own: the id is new, and so is the budget.
func (k *ImportKey) record(now time.Time) (KeyRecord, error) {
	id, err := newID()
	if err != nil {
		return KeyRecord{}, err
	}
	budget := k.Budget
	budget.ID = verifier.BudgetID("bud_" + id)
	key := verifier.Key{
		ID:          verifier.KeyID("key_" + id),
		Digest:      k.Digest,
		Start:       k.Start,
		Keyspace:    k.Keyspace,
		Owner:       k.Owner,
		Name:        k.Name,
		ExternalID:  k.ExternalID,
		Permissions: k.Permissions,
		Audiences:   distinct(k.Audiences),
		Metadata:    k.Metadata,
		State:       k.State,
		CreatedAt:   k.CreatedAt,
		ExpiresAt:   k.ExpiresAt,
	}
	if key.CreatedAt.IsZero() {
		key.CreatedAt = now
	}
	return KeyRecord{Record: verifier.Record{Key: key, Budget: &budget}}, nil
}
