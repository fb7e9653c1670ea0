package manage

import (
	"context"
	"errors"
	"fmt"

	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// MaxLeaks is how many suspected leaks one report holds.
const MaxLeaks = 100

// ReportLeaks looks at strings that were found where no key should be, and revokes
// those that are keys. It answers in their order. What cannot be a key, by its form
// and checksum, is not looked up, unless a keyspace holds keys of other forms.
//
// Each key is a change of its own: a report that was cut short has revoked some, and
// may be sent again.
func (m *Manager) ReportLeaks(ctx context.Context, found []verifier.Secret) ([]wire.Leak, error) {
	if len(found) == 0 || len(found) > MaxLeaks {
		return nil, &InvalidError{"keys", fmt.Errorf("must be 1 to %d", MaxLeaks)}
	}
	if err := m.by.validate(); err != nil {
		return nil, err
	}
	imported, err := m.imported(ctx)
	if err != nil {
		return nil, err
	}
	m = m.As(m.by)
	if m.by.Reason == "" {
		m.by.Reason = "leaked"
	}
	leaks, revoked := make([]wire.Leak, len(found)), false
	for i, secret := range found {
		key := secret.Reveal()
		if key == "" || len(key) > verifier.MaxKey || !imported && !verifier.WellFormed(secret) {
			continue
		}
		if leaks[i], err = m.reportLeak(ctx, secret.Digest()); err != nil {
			return nil, partly(revoked, err)
		}
		revoked = revoked || leaks[i].Revoked
	}
	return leaks, nil
}

// imported reports whether a keyspace that may be managed holds keys of other forms.
func (m *Manager) imported(ctx context.Context) (bool, error) {
	all, err := m.Keyspaces(ctx)
	for _, ks := range all {
		if ks.ImportedKeys {
			return true, nil
		}
	}
	return false, err
}

func (m *Manager) reportLeak(ctx context.Context, digest verifier.Digest) (wire.Leak, error) {
	rec, _, err := m.store.KeyByDigest(ctx, digest)
	if errors.Is(err, ErrNotFound) || err == nil && !m.by.in(rec.Key.Keyspace) {
		return wire.Leak{}, nil
	}
	if err != nil {
		return wire.Leak{}, err
	}
	leak := wire.Leak{Ours: true, KeyID: string(rec.Key.ID), Keyspace: rec.Key.Keyspace, Owner: rec.Key.Owner}
	if rec.Key.State == verifier.Revoked {
		return leak, nil
	}
	var did Did
	m.by.Did, m.by.Repeat, m.by.Version = &did, nil, 0
	if _, err := m.RevokeKey(ctx, rec.Key.ID); err != nil && !errors.Is(err, ErrDeleted) {
		return wire.Leak{}, err
	}
	leak.Revoked = did.Log.Seq != 0
	return leak, nil
}
