package verifier_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// storeFunc is a store that breaks, or that must not be asked. What a store
// that works has to do is held by its own suite.
type storeFunc func(ctx context.Context, lookup verifier.Lookup, decide func(time.Time, verifier.Found)) error

func (f storeFunc) Update(ctx context.Context, lookup verifier.Lookup, decide func(time.Time, verifier.Found)) error {
	return f(ctx, lookup, decide)
}

// found is what a store finds of a lookup with one client, the one of good().
func found(records ...*verifier.Record) verifier.Found {
	return verifier.Found{Records: records, Clients: []int64{1}}
}

func newVerifier(t *testing.T, store storeFunc) *verifier.Verifier {
	t.Helper()
	v, err := verifier.New(verifier.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func request(t *testing.T) verifier.Request {
	_, req := good()
	req.Key = verifier.NewSecret(generate(t, "ck"))
	return req
}

// mistyped changes the last character of a key.
func mistyped(key string) string {
	last := byte('0')
	if key[len(key)-1] == last {
		last = '1'
	}
	return key[:len(key)-1] + string(last)
}

func TestVerifyTouchesNoStorageFor(t *testing.T) {
	tests := map[string]struct {
		change func(*verifier.Request)
		want   error
	}{
		"no key":           {func(r *verifier.Request) { r.Key = verifier.Secret{} }, verifier.ErrMalformed},
		"a wrong checksum": {func(r *verifier.Request) { r.Key = verifier.NewSecret(mistyped(r.Key.Reveal())) }, verifier.ErrMalformed},
		"a key of 513 bytes": {func(r *verifier.Request) {
			r.Key = verifier.NewSecret(strings.Repeat("x", 513))
			r.Client.ImportedKeys = true
		}, verifier.ErrMalformed},
		"a cost of nothing": {func(r *verifier.Request) { r.Cost = 0 }, verifier.ErrBadRequest},
		"a negative cost":   {func(r *verifier.Request) { r.Cost = -1 }, verifier.ErrBadRequest},
		"a peek that pays":  {func(r *verifier.Request) { r.Peek = true }, verifier.ErrBadRequest},
		"a peek under an idempotency key": {func(r *verifier.Request) {
			r.Peek, r.Cost, r.Repeat = true, 0, again(1, noon)
		}, verifier.ErrBadRequest},
		"an idempotency key without end": {func(r *verifier.Request) {
			r.Repeat = verifier.Repeat{ID: [32]byte{1}}
		}, verifier.ErrBadRequest},
		"a resource of no actions, without a token": {func(r *verifier.Request) {
			r.NoToken, r.Permissions = true, verifier.Permissions{"projects": {}}
		}, verifier.ErrBadRequest},
		"too many actions, without a token": {func(r *verifier.Request) {
			r.NoToken, r.Permissions = true, verifier.Permissions{"projects": slices.Repeat([]string{"read"}, 1001)}
		}, verifier.ErrBadRequest},
		"a resource of no actions": {func(r *verifier.Request) {
			r.Permissions = verifier.Permissions{"projects": {}}
		}, verifier.ErrBadRequest},
		"a resource with a colon": {func(r *verifier.Request) {
			r.Permissions = verifier.Permissions{"a:b": {"c"}}
		}, verifier.ErrBadRequest},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, func(context.Context, verifier.Lookup, func(time.Time, verifier.Found)) error {
				t.Error("the store was asked")
				return nil
			})
			req := request(t)
			test.change(&req)
			if _, err := v.Verify(t.Context(), req); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
	t.Run("a caller who has gone", func(t *testing.T) {
		v := newVerifier(t, func(context.Context, verifier.Lookup, func(time.Time, verifier.Found)) error {
			t.Error("the store was asked")
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := v.Verify(ctx, request(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

func TestWhereKeysAreImportedTheDigestDecides(t *testing.T) {
	req := request(t)
	req.Key = verifier.NewSecret("anything at all")
	req.Client.ImportedKeys = true
	var asked []verifier.Digest
	v := newVerifier(t, func(_ context.Context, lookup verifier.Lookup, decide func(time.Time, verifier.Found)) error {
		asked = lookup.Digests
		decide(noon, found(nil))
		return nil
	})
	if _, err := v.Verify(t.Context(), req); !errors.Is(err, verifier.ErrUnknown) {
		t.Errorf("%v, want unknown", err)
	}
	if len(asked) != 1 || asked[0] != req.Key.Digest() {
		t.Errorf("asked for %d digests", len(asked))
	}
}

func TestAKeyOf512BytesIsLookedUp(t *testing.T) {
	req := request(t)
	req.Key = verifier.NewSecret(strings.Repeat("x", verifier.MaxKey))
	req.Client.ImportedKeys = true
	v := newVerifier(t, func(_ context.Context, _ verifier.Lookup, decide func(time.Time, verifier.Found)) error {
		decide(noon, found(nil))
		return nil
	})
	if _, err := v.Verify(t.Context(), req); !errors.Is(err, verifier.ErrUnknown) {
		t.Errorf("%v, want unknown", err)
	}
}

func TestABrokenStoreIsNoBadKey(t *testing.T) {
	tests := map[string]struct {
		broken error
		want   error
	}{
		"a store that is away is unavailable":        {errors.New("connection refused"), verifier.ErrUnavailable},
		"a commit that broke has an unknown outcome": {verifier.ErrOutcomeUnknown, verifier.ErrOutcomeUnknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, func(_ context.Context, _ verifier.Lookup, decide func(time.Time, verifier.Found)) error {
				rec, _ := good()
				decide(noon, found(rec))
				return test.broken
			})
			grant, err := v.Verify(t.Context(), request(t))
			if !errors.Is(err, test.want) || errors.Is(err, verifier.ErrRefused) {
				t.Errorf("%v", err)
			}
			if errors.Is(err, verifier.ErrOutcomeUnknown) && errors.Is(err, verifier.ErrUnavailable) {
				t.Error("an unknown outcome says that nothing was charged")
			}
			if grant.KeyID != "" {
				t.Error("granted without a commit")
			}
		})
	}
}

func TestACallerWhoLeavesCannotCutAnUpdateShort(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	v := newVerifier(t, func(ctx context.Context, _ verifier.Lookup, decide func(time.Time, verifier.Found)) error {
		cancel()
		if err := ctx.Err(); err != nil {
			t.Errorf("the update's context ended with its caller: %v", err)
		}
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("the update has no deadline")
		}
		rec, _ := good()
		decide(noon, found(rec))
		return nil
	})
	if _, err := v.Verify(ctx, request(t)); err != nil {
		t.Errorf("%v: charged, so it must be told", err)
	}
}

func TestAVerifierNeedsAStore(t *testing.T) {
	if _, err := verifier.New(verifier.Config{}); err == nil {
		t.Error("made without one")
	}
}
