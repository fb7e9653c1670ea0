package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/issuer"
)

// putSigningKeys makes the signing keys what is given.
func putSigningKeys(t *testing.T, db *database, keys ...issuer.SealedKey) {
	t.Helper()
	must(t, db.ChangeSigningKeys(t.Context(), func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error) { return keys, nil }))
}

var errNoChange = errors.New("no change")

var signingKeyPromises = []promise{
	{"signing keys come back as they were stored, by algorithm and generation", func(t *testing.T, db *database) {
		keys := []issuer.SealedKey{
			{KID: "b", Algorithm: "ES256", PublicKey: []byte{1}, Sealed: []byte{2}, CreatedAt: noon},
			{KID: "c", Algorithm: "EdDSA", Generation: 2, PublicKey: []byte{0, 255}, Sealed: []byte("\x00sealed"), CreatedAt: noon.Add(1), ActivatesAt: noon.Add(2), RemovedAt: noon.Add(3)},
			{KID: "a", Algorithm: "EdDSA", Generation: 10, PublicKey: []byte{3}, Sealed: []byte{4}, CreatedAt: noon, ActivatesAt: noon.Add(time.Hour)},
		}
		putSigningKeys(t, db, keys[2], keys[0], keys[1])
		got, _, err := db.again().SigningKeys(t.Context())
		must(t, err)
		same(t, got, keys)
	}},
	{"a new database has no signing keys", func(t *testing.T, db *database) {
		keys, now, err := db.SigningKeys(t.Context())
		must(t, err)
		same(t, keys, nil)
		if now.IsZero() {
			t.Error("and no clock")
		}
	}},
	{"a change adds, alters and deletes signing keys, and sees what there is", func(t *testing.T, db *database) {
		key := func(kid string, generation int64) issuer.SealedKey {
			return issuer.SealedKey{KID: kid, Algorithm: "EdDSA", Generation: generation, PublicKey: []byte{1}, Sealed: []byte{2}, CreatedAt: noon}
		}
		putSigningKeys(t, db, key("a", 0), key("b", 1))
		altered := key("b", 1)
		altered.Sealed, altered.ActivatesAt, altered.RemovedAt = []byte{9}, noon.Add(1), noon.Add(2)
		must(t, db.ChangeSigningKeys(t.Context(), func(now time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error) {
			same(t, keys, []issuer.SealedKey{key("a", 0), key("b", 1)})
			if now.IsZero() {
				t.Error("no clock")
			}
			return []issuer.SealedKey{altered, key("c", 2)}, nil
		}))
		got, _, err := db.again().SigningKeys(t.Context())
		must(t, err)
		same(t, got, []issuer.SealedKey{altered, key("c", 2)})
	}},
	{"a change that fails changes no signing key", func(t *testing.T, db *database) {
		first := issuer.SealedKey{KID: "a", Algorithm: "EdDSA", PublicKey: []byte{1}, Sealed: []byte{2}, CreatedAt: noon}
		putSigningKeys(t, db, first)
		err := db.ChangeSigningKeys(t.Context(), func(_ time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error) {
			keys[0].RemovedAt = noon
			return keys, errNoChange
		})
		if !errors.Is(err, errNoChange) {
			t.Errorf("got %v", err)
		}
		twin := first
		twin.KID = "b"
		if err := db.ChangeSigningKeys(t.Context(), func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error) {
			return []issuer.SealedKey{twin, first}, nil
		}); err == nil {
			t.Error("two keys of one generation")
		}
		got, _, err := db.SigningKeys(t.Context())
		must(t, err)
		same(t, got, []issuer.SealedKey{first})
	}},
	{"what changes of signing keys is logged with the change, by whom, and nothing sealed", signingKeysAreLogged},
	{"of twenty servers that add a signing key at once, each sees those before it", func(t *testing.T, db *database) {
		stores := [2]store.Store{db.Store, db.again()}
		var calls atomic.Int64
		race(t, 20, never, func(i int) error {
			return stores[i%2].ChangeSigningKeys(t.Context(), func(_ time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error) {
				calls.Add(1)
				return append(slices.Clone(keys), issuer.SealedKey{
					KID: fmt.Sprintf("kid%d", i), Algorithm: "EdDSA", Generation: int64(len(keys)), PublicKey: []byte{1}, Sealed: []byte{2}, CreatedAt: noon,
				}), nil
			})
		})
		keys, _, err := db.SigningKeys(t.Context())
		must(t, err)
		if len(keys) != 20 {
			t.Errorf("%d keys after %d calls, want 20", len(keys), calls.Load())
		}
	}},
}

func signingKeysAreLogged(t *testing.T, db *database) {
	ctx := audit.By(t.Context(), audit.Actor{Kind: audit.KindOperator, ID: "ann"})
	put := func(keys ...issuer.SealedKey) {
		t.Helper()
		must(t, db.ChangeSigningKeys(ctx, func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error) { return keys, nil }))
	}
	a := issuer.SealedKey{KID: "a", Algorithm: "EdDSA", PublicKey: []byte{1}, Sealed: []byte("sealed"), CreatedAt: noon}
	b := issuer.SealedKey{KID: "b", Algorithm: "ES256", Generation: 3, PublicKey: []byte{1}, Sealed: []byte("sealed"), CreatedAt: noon, ActivatesAt: noon.Add(1)}
	resealed, removed := a, b
	resealed.Sealed = []byte("sealed anew")
	removed.RemovedAt, removed.Sealed = noon.Add(2), resealed.Sealed
	put(a, b)
	put(b, a) // as they are
	put(resealed, removed)
	put(resealed)
	wantErr(t, db.ChangeSigningKeys(ctx, func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error) { return nil, errNoChange }), errNoChange)
	must(t, db.ChangeSigningKeys(t.Context(), func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error) { return nil, nil }))

	const aSays = `{"kid":"a","alg":"EdDSA","generation":0,"created_at":"2026-03-01T12:00:00.123456789Z"}`
	const bSays = `{"kid":"b","alg":"ES256","generation":3,"created_at":"2026-03-01T12:00:00.123456789Z","activates_at":"2026-03-01T12:00:00.12345679Z"`
	const removedAt = `,"removed_at":"2026-03-01T12:00:00.123456791Z"}`
	var got []string
	for _, row := range whole(t, db, 6) {
		got = append(got, fmt.Sprint(row.Actor.Kind, row.Actor.ID, " ", row.Action, " ", row.Target, " ", string(row.Before), string(row.After)))
	}
	same(t, got, []string{
		"operatorann signing-key.add a " + aSays,
		"operatorann signing-key.add b " + bSays + "}",
		"operatorann signing-key.reseal a " + aSays + aSays,
		"operatorann signing-key.change b " + bSays + "}" + bSays + removedAt,
		"operatorann signing-key.delete b " + bSays + removedAt,
		"server signing-key.delete a " + aSays,
	})
}
