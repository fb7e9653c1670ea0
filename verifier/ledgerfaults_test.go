package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// together verifies keys[0] alone and then the others in one group.
func together(t *testing.T, v *vault, keys ...verifier.Secret) []error {
	ver := newLedger(t, v, verifier.Config{})
	v.gate = make(chan struct{})
	answers := make(chan answer, len(keys))
	errs := make([]error, len(keys))
	for i, key := range keys {
		ask(t.Context(), ver, key, i, answers)
		synctest.Wait()
	}
	close(v.gate)
	for range keys {
		a := <-answers
		errs[a.n] = a.err
	}
	return errs
}

func TestABrokenCommit(t *testing.T) {
	t.Run("before: everybody is told that nothing was charged", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := &vault{}
			first, key := v.add(t, 1), v.add(t, 1)
			v.before = func(l verifier.Lookup) error {
				if l.Digests[0] == first.Digest() {
					return nil
				}
				return errors.New("connection refused")
			}
			errs := together(t, v, first, key, key)
			for _, err := range errs[1:] {
				if !errors.Is(err, verifier.ErrUnavailable) || errors.Is(err, verifier.ErrOutcomeUnknown) {
					t.Error(err)
				}
			}
			if len(v.groups) != 2 || v.remaining(key) != 1 {
				t.Errorf("%d groups, %d remaining: it was sent again", len(v.groups), v.remaining(key))
			}
		})
	})
	t.Run("after: who was granted may have been charged, who was refused was not, and nothing is sent again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := &vault{after: fmt.Errorf("%w: EOF", verifier.ErrOutcomeUnknown)}
			first, key := v.add(t, 1), v.add(t, 1)
			errs := together(t, v, first, key, key)
			if !errors.Is(errs[1], verifier.ErrOutcomeUnknown) || errors.Is(errs[1], verifier.ErrUnavailable) {
				t.Errorf("granted: %v", errs[1])
			}
			if !errors.Is(errs[2], verifier.ErrUnavailable) || errors.Is(errs[2], verifier.ErrOutcomeUnknown) || errors.Is(errs[2], verifier.ErrRefused) {
				t.Errorf("refused: %v", errs[2])
			}
			if len(v.groups) != 2 {
				t.Errorf("%d groups", len(v.groups))
			}
		})
	})
}

func TestAKeyThatBreaksItsGroupBreaksItAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		keys := []verifier.Secret{v.add(t, 1), v.add(t, 1), v.add(t, 1), v.add(t, 1)}
		v.before = func(l verifier.Lookup) error {
			if slices.Contains(l.Digests, keys[2].Digest()) {
				return fmt.Errorf("%w: its permissions are no JSON", verifier.ErrBadRecord)
			}
			return nil
		}
		for i, err := range together(t, v, keys...) {
			switch {
			case i != 2 && err != nil:
				t.Errorf("key %d: %v", i, err)
			case i == 2 && (!errors.Is(err, verifier.ErrUnavailable) || v.remaining(keys[2]) != 1):
				t.Errorf("the bad one: %v, %d remaining", err, v.remaining(keys[2]))
			}
		}
	})
}

func TestAPanicIsTheMisfortuneOfOne(t *testing.T) {
	t.Run("in a decision", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := &vault{}
			first, bad, good := v.add(t, 1), v.add(t, 1), v.add(t, 1)
			v.records[bad.Digest()].Budget.Rate = verifier.Rate{Limit: 0, Window: time.Second, Burst: 1} // divides by zero
			errs := together(t, v, first, bad, good)
			if errs[1] == nil || errors.Is(errs[1], verifier.ErrRefused) || strings.Contains(errs[1].Error(), bad.Reveal()) {
				t.Errorf("the bad one: %v", errs[1])
			}
			if errs[2] != nil || v.remaining(bad) != 1 || v.remaining(good) != 0 {
				t.Errorf("the good one: %v; %d and %d remaining", errs[2], v.remaining(bad), v.remaining(good))
			}
		})
	})
	t.Run("in a store answers everybody, and the ledger goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := &vault{inside: func() { panic("driver bug") }}
			key := v.add(t, 5)
			ver := newLedger(t, v, verifier.Config{})
			_, req := good()
			req.Key = key
			if _, err := ver.Verify(t.Context(), req); !errors.Is(err, verifier.ErrOutcomeUnknown) {
				t.Errorf("%v", err)
			}
			v.inside = nil
			if _, err := ver.Verify(t.Context(), req); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	})
}

func TestAClientThatChangedIsNotServed(t *testing.T) {
	v := &vault{}
	key := v.add(t, 5)
	ver := newLedger(t, v, verifier.Config{})
	_, req := good()
	req.Key, req.Client.Version = key, 7
	if _, err := ver.Verify(t.Context(), req); !errors.Is(err, verifier.ErrClientChanged) || v.remaining(key) != 5 {
		t.Errorf("%v, %d remaining", err, v.remaining(key))
	}
}

func TestAStoreThatDoesNotDecideGrantsNothing(t *testing.T) {
	v := newVerifier(t, func(context.Context, verifier.Lookup, func(time.Time, verifier.Found)) error { return nil })
	if grant, err := v.Verify(t.Context(), request(t)); err == nil {
		t.Errorf("granted %+v", grant)
	}
}

func TestAnUnknownOutcomeCountsEvenIfNothingWasDecided(t *testing.T) {
	v := newVerifier(t, func(context.Context, verifier.Lookup, func(time.Time, verifier.Found)) error {
		return verifier.ErrOutcomeUnknown
	})
	if _, err := v.Verify(t.Context(), request(t)); !errors.Is(err, verifier.ErrOutcomeUnknown) || errors.Is(err, verifier.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
