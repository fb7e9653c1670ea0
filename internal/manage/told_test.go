package manage_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// blind is a store from which nothing can be read any more, though it takes changes.
type blind struct{ manage.Store }

var errBlind = errors.New("the database went away")

func (blind) Key(context.Context, verifier.KeyID) (manage.KeyRecord, time.Time, error) {
	return manage.KeyRecord{}, time.Time{}, errBlind
}

func (blind) Client(context.Context, string) (*client.Client, error) { return nil, errBlind }

func (blind) Keyspace(context.Context, string) (manage.KeyspaceRecord, error) {
	return manage.KeyspaceRecord{}, errBlind
}

func TestWhatWasDoneIsNeverSaidNotToBe(t *testing.T) {
	for name, do := range map[string]func(m *manage.Manager, key verifier.KeyID) error{
		"a key is made": func(m *manage.Manager, _ verifier.KeyID) error {
			_, err := m.CreateKey(t.Context(), manage.NewKey{})
			return err
		},
		"a key is changed": func(m *manage.Manager, id verifier.KeyID) error { _, err := m.DisableKey(t.Context(), id); return err },
		"a key is rotated": func(m *manage.Manager, id verifier.KeyID) error {
			_, err := m.RotateKey(t.Context(), id, manage.Rotation{})
			return err
		},
		"its tokens are void": func(m *manage.Manager, id verifier.KeyID) error { _, err := m.VoidKey(t.Context(), id); return err },
		"a client is made": func(m *manage.Manager, _ verifier.KeyID) error {
			_, err := m.CreateClient(t.Context(), manage.NewClient{ID: "new"})
			return err
		},
		"a client is changed": func(m *manage.Manager, _ verifier.KeyID) error {
			_, err := m.DisableClient(t.Context(), "orders")
			return err
		},
		"a keyspace is made": func(m *manage.Manager, _ verifier.KeyID) error {
			_, err := m.CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "new"})
			return err
		},
		"a keyspace is changed": func(m *manage.Manager, _ verifier.KeyID) error {
			_, err := m.PatchKeyspace(t.Context(), "default", manage.KeyspacePatch{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, s, _ := newManager(t)
			key := mustKey(t, m, manage.NewKey{})
			as(t, m, manage.NewClient{ID: "orders"})
			before, _ := entries(t, m)
			err := do(manage.New(blind{s}), key.Key.ID)
			if !errors.Is(err, verifier.ErrOutcomeUnknown) || !errors.Is(err, errBlind) {
				t.Errorf("%v", err)
			}
			if after, _ := entries(t, m); len(after) != len(before)+1 {
				t.Errorf("%d changes were made, want 1", len(after)-len(before))
			}
		})
	}
}

func TestAReportThatIsCutShortDoesNotSayThatNothingWasDone(t *testing.T) {
	m, s, _ := newManager(t)
	keys := []verifier.Secret{mustKey(t, m, manage.NewKey{}).Secret, mustKey(t, m, manage.NewKey{}).Secret}
	short := manage.New(&cutShort{Store: s})
	if _, err := short.ReportLeaks(t.Context(), keys); !errors.Is(err, verifier.ErrOutcomeUnknown) {
		t.Errorf("%v", err)
	}
	short = manage.New(&cutShort{Store: s, batches: 1}) // at the first that is not revoked yet
	if _, err := short.ReportLeaks(t.Context(), keys); err == nil || errors.Is(err, verifier.ErrOutcomeUnknown) {
		t.Errorf("before anything was done: %v", err)
	}
}
