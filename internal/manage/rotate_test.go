package manage_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

func TestASuccessorIsAlikeInAllButItsSecretItsIDAndItsExpiry(t *testing.T) {
	m, _, now := newManager(t)
	old := mustKey(t, m, manage.NewKey{
		Owner: "ann", Name: "laptop", ExternalID: "x1", Permissions: verifier.Permissions{"a": {"r"}}, Audiences: []string{"x"},
		Metadata: []byte(`{"plan":"pro"}`), Remaining: ptr(int64(7)), ExpiresIn: 24 * time.Hour,
	})
	*now = noon.Add(time.Hour)
	got, err := m.RotateKey(t.Context(), old.Key.ID, manage.Rotation{Overlap: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	want := old.Key
	want.ID, want.Digest, want.Start, want.CreatedAt = got.Key.ID, got.Secret.Digest(), got.Key.Start, *now
	if diff := cmp.Diff(want, got.Key); diff != "" {
		t.Error(diff)
	}
	if got.Key.ID == old.Key.ID || !verifier.WellFormed(got.Secret) || got.Status == old.Status {
		t.Errorf("%s, %v", got.Key.ID, got.Status)
	}
	if got.Budget.ID != old.Budget.ID || got.Budget.Remaining != 7 {
		t.Errorf("%+v", got.Budget)
	}
	if got.Replaces != old.Key.ID || got.Predecessor.ReplacedBy != got.Key.ID || got.Predecessor.Version != 2 {
		t.Errorf("%+v, %+v", got.KeyRecord, got.Predecessor.KeyRecord)
	}
}

func TestTheOldKeyEndsWithTheOverlap(t *testing.T) {
	second := noon.Truncate(time.Second)
	for name, test := range map[string]struct {
		key      manage.NewKey
		rotation manage.Rotation
		state    verifier.State
		end      time.Time // of the old key
		next     time.Time // of its successor
		void     bool      // are tokens that it has
	}{
		"at once without one":               {manage.NewKey{}, manage.Rotation{}, verifier.Revoked, time.Time{}, time.Time{}, false},
		"after it":                          {manage.NewKey{}, manage.Rotation{Overlap: time.Hour}, verifier.Active, second.Add(time.Hour), time.Time{}, false},
		"with its tokens":                   {manage.NewKey{}, manage.Rotation{Overlap: time.Minute}, verifier.Active, second.Add(time.Minute), time.Time{}, true},
		"or when it would have":             {manage.NewKey{ExpiresIn: time.Hour}, manage.Rotation{Overlap: 2 * time.Hour}, verifier.Active, second.Add(time.Hour), second.Add(time.Hour), false},
		"and the new one when it is told":   {manage.NewKey{ExpiresIn: time.Hour}, manage.Rotation{Overlap: 2 * time.Hour, ExpiresIn: 48 * time.Hour}, verifier.Active, second.Add(time.Hour), second.Add(48 * time.Hour), false},
		"or as long as its keyspace's keys": {manage.NewKey{Keyspace: "live"}, manage.Rotation{Overlap: time.Hour}, verifier.Active, second.Add(time.Hour), second.Add(720 * time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			m, _, _ := newManager(t)
			mustKeyspace(t, m, manage.NewKeyspace{Name: "live", KeyLifetime: 720 * time.Hour})
			old := mustKey(t, m, test.key)
			got, err := m.RotateKey(t.Context(), old.Key.ID, test.rotation)
			if err != nil {
				t.Fatal(err)
			}
			end := got.Predecessor.Key.ExpiresAt
			if test.state == verifier.Revoked {
				end = time.Time{}
			}
			if got.Predecessor.Key.State != test.state || !end.Equal(test.end) || !got.Key.ExpiresAt.Equal(test.next) {
				t.Errorf("%s until %v, then until %v", got.Predecessor.Key.State, end, got.Key.ExpiresAt)
			}
			if void := got.Predecessor.Status != old.Status; void != test.void {
				t.Errorf("void: %v, want %v", void, test.void)
			}
		})
	}
}

func TestRotateKeyRefuses(t *testing.T) {
	rotate := func(t *testing.T, m *manage.Manager, id verifier.KeyID) (manage.RotatedKey, error) {
		t.Helper()
		return m.RotateKey(t.Context(), id, manage.Rotation{Overlap: time.Hour})
	}
	for name, test := range map[string]struct {
		before func(t *testing.T, m *manage.Manager, now *time.Time, id verifier.KeyID)
		want   error
	}{
		"a key twice: its successor is the one to rotate": {func(t *testing.T, m *manage.Manager, _ *time.Time, id verifier.KeyID) {
			made, err := rotate(t, m, id)
			if err == nil {
				_, err = rotate(t, m, made.Key.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, manage.ErrReplaced},
		"a disabled key": {func(t *testing.T, m *manage.Manager, _ *time.Time, id verifier.KeyID) {
			_, _ = m.DisableKey(t.Context(), id)
		}, manage.ErrNotGood},
		"a revoked key": {func(t *testing.T, m *manage.Manager, _ *time.Time, id verifier.KeyID) {
			_, _ = m.RevokeKey(t.Context(), id)
		}, manage.ErrRevoked},
		"an expired key": {func(_ *testing.T, _ *manage.Manager, now *time.Time, _ verifier.KeyID) {
			*now = noon.Add(48 * time.Hour)
		}, manage.ErrNotGood},
	} {
		t.Run(name, func(t *testing.T) {
			m, _, now := newManager(t)
			key := mustKey(t, m, manage.NewKey{ExpiresIn: 24 * time.Hour})
			test.before(t, m, now, key.Key.ID)
			if _, err := rotate(t, m, key.Key.ID); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
	m, _, _ := newManager(t)
	key := mustKey(t, m, manage.NewKey{})
	for field, r := range map[string]manage.Rotation{"overlap": {Overlap: -1}, "expires_in": {ExpiresIn: time.Second / 2}} {
		var invalid *manage.InvalidError
		if _, err := m.RotateKey(t.Context(), key.Key.ID, r); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := rotate(t, m, "key_none"); !errors.Is(err, manage.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
