package verifier_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cambio-auth/cambio/verifier"
)

func TestAPeek(t *testing.T) {
	peek := func(b verifier.Budget) (verifier.Grant, error) {
		rec, req := good()
		rec.Budget = &b
		req.Peek, req.Cost = true, 0
		before := clone(rec)
		grant, err := verifier.Decide(noon, rec, nil, req)
		if diff := cmp.Diff(before, rec, exported); diff != "" {
			t.Errorf("a peek changed the record:\n%s", diff)
		}
		return grant, err
	}
	t.Run("is granted, charges nothing, and tells what is left", func(t *testing.T) {
		grant, err := peek(verifier.Budget{Counted: true, Remaining: 1})
		if err != nil || grant.Balance.Remaining != 1 || !grant.GrantedAt.Equal(noon) {
			t.Errorf("%+v, %v", grant, err)
		}
	})
	t.Run("sees a refill that is due, and leaves it to the next charge", func(t *testing.T) {
		grant, err := peek(verifier.Budget{Counted: true, Refill: verifier.Refill{Amount: 9, Interval: verifier.Daily}})
		if err != nil || grant.Balance.Remaining != 9 {
			t.Errorf("%+v, %v", grant, err)
		}
	})
	t.Run("at a spent key is told so", func(t *testing.T) {
		if _, err := peek(verifier.Budget{Counted: true}); !as[*verifier.SpentError](err) {
			t.Error(err)
		}
	})
	t.Run("too soon is told so", func(t *testing.T) {
		_, err := peek(verifier.Budget{Rate: verifier.Rate{Limit: 1, Window: time.Minute, Burst: 1}, TAT: noon.Add(time.Minute)})
		if !as[*verifier.RateLimitedError](err) {
			t.Error(err)
		}
	})
	t.Run("is not charged, whatever became of the commit", func(t *testing.T) {
		v := &vault{after: verifier.ErrOutcomeUnknown}
		_, req := good()
		req.Key, req.Peek, req.Cost = v.add(t, 1), true, 0
		_, err := newLedger(t, v, verifier.Config{}).Verify(t.Context(), req)
		if !errors.Is(err, verifier.ErrUnavailable) || errors.Is(err, verifier.ErrOutcomeUnknown) {
			t.Error(err)
		}
	})
}

func TestTheBalanceIsToldWithEveryDecisionAboutAGoodKey(t *testing.T) {
	budget := verifier.Budget{
		Counted: true, Remaining: 5, Refill: verifier.Refill{Amount: 10, Interval: verifier.Every(time.Hour), Anchor: noon.Add(-time.Minute)},
		Refilled: noon.Add(-time.Minute), Rate: verifier.Rate{Limit: 60, Window: time.Minute, Burst: 4}, TAT: noon.Add(time.Second),
	}
	before := verifier.Balance{
		Counted: true, Remaining: 5, RefillAt: noon.Add(59 * time.Minute),
		Rate: budget.Rate, RateRemaining: 3, RateResetAt: noon.Add(time.Second),
	}
	charged := before
	charged.Remaining, charged.RateRemaining, charged.RateResetAt = 3, 1, noon.Add(3*time.Second)
	tests := map[string]struct {
		change func(rec *verifier.Record, req *verifier.Request)
		want   verifier.Balance
	}{
		"granted, it is what is left":     {func(_ *verifier.Record, req *verifier.Request) { req.Cost = 2 }, charged},
		"of another audience":             {func(_ *verifier.Record, req *verifier.Request) { req.Targets = []string{"x"} }, before},
		"without the permission":          {func(_ *verifier.Record, req *verifier.Request) { req.Unholdable = true }, before},
		"spent":                           {func(_ *verifier.Record, req *verifier.Request) { req.Cost = 6 }, before},
		"rate limited":                    {func(_ *verifier.Record, req *verifier.Request) { req.Cost = 4 }, before},
		"of a bad key nothing is told":    {func(rec *verifier.Record, _ *verifier.Request) { rec.Key.State = verifier.Disabled }, verifier.Balance{}},
		"nor of one of another keyspace":  {func(_ *verifier.Record, req *verifier.Request) { req.Keyspace = "x" }, verifier.Balance{}},
		"an unlimited key has no balance": {func(rec *verifier.Record, _ *verifier.Request) { rec.Budget = &verifier.Budget{} }, verifier.Balance{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rec, req := good()
			b := budget
			rec.Budget, rec.Key.Name = &b, "laptop"
			test.change(rec, &req)
			grant, err := verifier.Decide(noon, rec, nil, req)
			if diff := cmp.Diff(test.want, grant.Balance); diff != "" {
				t.Error(diff)
			}
			bad := errors.Is(err, verifier.ErrDisabled) || errors.Is(err, verifier.ErrWrongKeyspace)
			if told := grant.Name != "" && grant.Permissions != nil; told == bad {
				t.Errorf("%v: told %+v", err, grant)
			}
		})
	}
}

func TestWhatIsLeftOfARateIsWhatIsGranted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRate().Draw(t, "rate")
		early := time.Duration(rapid.Int64Range(-int64(2*time.Hour), int64(2*time.Hour)).Draw(t, "tat"))
		b := verifier.Budget{Rate: r, TAT: noon.Add(early)}
		rec, req := good()
		rec.Budget, req.Peek, req.Cost = &b, true, 0
		grant, _ := verifier.Decide(noon, rec, nil, req)
		left, reset := grant.Balance.RateRemaining, grant.Balance.RateResetAt
		once := b
		if left > 0 && charge(&once, noon, left) != nil {
			t.Fatalf("%d are told to be left, and refused", left)
		}
		once = b
		full := time.Duration(r.Burst * (int64(r.Window) / r.Limit))
		steppedBack := early > full+max(r.Window, time.Minute) // then a whole charge is let through
		if charge(&once, noon, left+1) == nil && !steppedBack {
			t.Fatalf("%d are told to be left, and one more is granted", left)
		}
		later := b
		if err := charge(&later, reset, r.Burst); err != nil && !steppedBack {
			t.Fatalf("full again at %v: %v", reset, err)
		}
	})
}

func TestWithoutATokenAnyNameMayBeAskedFor(t *testing.T) {
	v := &vault{}
	key := v.add(t, 5)
	names := verifier.Permissions{"with space:and colon": {"\"quoted\"", "é"}}
	v.records[key.Digest()].Key.Permissions = names
	ver := newLedger(t, v, verifier.Config{})
	_, req := good()
	req.Key, req.NoToken, req.Permissions = key, true, names
	if _, err := ver.Verify(t.Context(), req); err != nil {
		t.Error(err)
	}
	req.NoToken = false
	if _, err := ver.Verify(t.Context(), req); !errors.Is(err, verifier.ErrBadRequest) {
		t.Errorf("for a token: %v", err)
	}
}
