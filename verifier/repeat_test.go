package verifier_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/verifier"
)

// again is a Repeat of the request n, until then.
func again(n byte, until time.Time) verifier.Repeat {
	return verifier.Repeat{
		ID: [32]byte{1}, Request: [32]byte{n}, TokenID: "jti_1",
		Until: func(verifier.Grant) time.Time { return until },
	}
}

// charged is what is left of a request under again(1).
func charged() *verifier.Charged {
	return &verifier.Charged{
		Request: [32]byte{1}, Until: noon.Add(time.Hour), KeyID: "key_1", Audience: "https://orders.example.com",
		TokenID: "jti_1", GrantedAt: noon.Add(-time.Minute), Cost: 1, Balance: verifier.Balance{Counted: true, Remaining: 3},
	}
}

func TestARepeat(t *testing.T) {
	t.Run("is granted as the first was, and charged nothing, even if the key is spent since", func(t *testing.T) {
		rec, req := good()
		rec.Budget.Counted = true
		req.Repeat = again(1, noon)
		req.Repeat.TokenID = "another"
		before := clone(rec)
		grant, err := verifier.Decide(noon, rec, charged(), req)
		if err != nil {
			t.Fatal(err)
		}
		if !grant.Replayed || grant.TokenID != "jti_1" || !grant.GrantedAt.Equal(noon.Add(-time.Minute)) || !grant.DecidedAt.Equal(noon) {
			t.Errorf("%+v", grant)
		}
		if diff := cmp.Diff(charged().Balance, grant.Balance); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, rec, exported); diff != "" {
			t.Errorf("it changed the record:\n%s", diff)
		}
	})
	t.Run("passes every check but the limits", func(t *testing.T) {
		for _, f := range faults {
			rec, req := good()
			req.Repeat = again(1, noon)
			f.apply(rec, &req)
			_, err := verifier.Decide(noon, rec, charged(), req)
			limit := f.name == "spent" || f.name == "rate limited"
			if limit != (err == nil) || !limit && !f.is(err) {
				t.Errorf("%s: %v", f.name, err)
			}
		}
	})
	refused := map[string]func(rec *verifier.Record, req *verifier.Request, c *verifier.Charged){
		"of another request is refused":                func(_ *verifier.Record, req *verifier.Request, _ *verifier.Charged) { req.Repeat = again(2, noon) },
		"of what was no charge is refused":             func(_ *verifier.Record, _ *verifier.Request, c *verifier.Charged) { c.KeyID = "" },
		"that has come to mean another key is refused": func(rec *verifier.Record, _ *verifier.Request, _ *verifier.Charged) { rec.Key.ID = "key_2" },
		"that has come to mean another target is refused": func(_ *verifier.Record, req *verifier.Request, _ *verifier.Charged) {
			req.Client.Audiences = []string{"x"}
		},
	}
	for name, change := range refused {
		t.Run(name, func(t *testing.T) {
			rec, req := good()
			first := charged()
			req.Repeat = again(1, noon)
			change(rec, &req, first)
			if _, err := verifier.Decide(noon, rec, first, req); !errors.Is(err, verifier.ErrRepeat) || errors.Is(err, verifier.ErrRefused) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestWhatWasChargedReadsAsItWasWritten(t *testing.T) {
	want := charged()
	want.Balance.Rate = verifier.Rate{Limit: 5, Window: time.Minute, Burst: 2}
	want.Balance.RateResetAt = noon
	text, err := want.Answer()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, verifier.ReadCharged(want.Request, want.Until, text)); diff != "" {
		t.Error(diff)
	}
	for _, other := range []string{`{"key":{"id":"key_1"}}`, `[1]`, `{"key_id":1}`, ``} {
		got := verifier.ReadCharged(want.Request, want.Until, []byte(other))
		if diff := cmp.Diff(&verifier.Charged{Request: want.Request, Until: want.Until}, got); diff != "" {
			t.Errorf("%s: %s", other, diff)
		}
	}
}

// repeated verifies keys[0] alone, and then each key under one idempotency key, in
// one group.
func repeated(t *testing.T, v *vault, cost int64, requests []byte, keys ...verifier.Secret) ([]verifier.Grant, []error) {
	t.Helper()
	ver := newLedger(t, v, verifier.Config{})
	v.gate = make(chan struct{})
	alone := make(chan answer, 1)
	ask(t.Context(), ver, v.add(t, 1), 0, alone)
	synctest.Wait()
	grants, errs := make([]verifier.Grant, len(keys)), make([]error, len(keys))
	done := make(chan struct{}, len(keys))
	for i, key := range keys {
		_, req := good()
		req.Key, req.Cost, req.Repeat = key, cost, again(requests[i], noon.Add(time.Duration(i+1)*time.Minute))
		go func() {
			grants[i], errs[i] = ver.Verify(t.Context(), req)
			done <- struct{}{}
		}()
		synctest.Wait()
	}
	close(v.gate)
	for range keys {
		<-done
	}
	<-alone
	return grants, errs
}

func TestInAGroupTheSecondOfOneIdempotencyKeyRepeatsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		key := v.add(t, 3)
		grants, errs := repeated(t, v, 2, []byte{1, 1, 2}, key, key, key)
		if errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], verifier.ErrRepeat) {
			t.Fatal(errs)
		}
		if grants[0].Replayed || !grants[1].Replayed || grants[1].Balance.Remaining != 1 || grants[1].TokenID != grants[0].TokenID {
			t.Errorf("%+v, then %+v", grants[0], grants[1])
		}
		if left := v.remaining(key); left != 1 {
			t.Errorf("%d remaining of 3, at a cost of 2", left)
		}
		if c := v.repeats[[32]byte{1}]; c.Cost != 2 || c.KeyID != grants[0].KeyID || !c.Until.Equal(noon.Add(time.Minute)) {
			t.Errorf("remembered %+v", c)
		}
		if uses := v.records[key.Digest()].Uses; len(uses) != 1 || uses[0].Grants != 1 {
			t.Errorf("counted %+v", uses)
		}
	})
}

func TestARefusalIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		poor, rich := v.add(t, 1), v.add(t, 2)
		_, errs := repeated(t, v, 2, []byte{1, 2}, poor, rich)
		if !as[*verifier.SpentError](errs[0]) || errs[1] != nil {
			t.Error(errs)
		}
	})
}

func TestAnIdempotencyKeyThatBreaksItsGroupIsDecidedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		one, other := v.add(t, 1), v.add(t, 1)
		v.before = func(l verifier.Lookup) error {
			if len(l.Digests) == 2 {
				return verifier.ErrBadRecord // as if another replica had been first
			}
			return nil
		}
		_, errs := repeated(t, v, 1, []byte{1, 2}, one, other)
		if errs[0] != nil || !errors.Is(errs[1], verifier.ErrRepeat) {
			t.Error(errs)
		}
		if v.remaining(one) != 0 || v.remaining(other) != 1 {
			t.Errorf("%d and %d remaining", v.remaining(one), v.remaining(other))
		}
	})
}

func TestAPanicAboutARepeatRemembersAndChargesNothing(t *testing.T) {
	v := &vault{}
	key := v.add(t, 5)
	_, req := good()
	req.Key, req.Repeat = key, again(1, noon)
	req.Repeat.Until = func(verifier.Grant) time.Time { panic("until") }
	if _, err := newLedger(t, v, verifier.Config{}).Verify(t.Context(), req); err == nil || errors.Is(err, verifier.ErrRefused) {
		t.Error(err)
	}
	if v.remaining(key) != 5 || v.repeats[[32]byte{1}] != nil {
		t.Errorf("%d remaining, remembered %v", v.remaining(key), v.repeats)
	}
}

func TestAGroupHolds256IdempotencyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{gate: make(chan struct{})}
		key := v.add(t, 1000)
		ver := newLedger(t, v, verifier.Config{})
		most := 0
		v.before = func(l verifier.Lookup) error { most = max(most, len(l.Repeats)); return nil }
		done := make(chan error, 600)
		for i := range 600 {
			_, req := good()
			req.Key, req.Repeat = key, again(1, noon)
			req.Repeat.ID = [32]byte{1, byte(i), byte(i >> 8)}
			go func() { _, err := ver.Verify(t.Context(), req); done <- err }()
			synctest.Wait()
		}
		close(v.gate)
		for range 600 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if most != 256 || v.remaining(key) != 400 {
			t.Errorf("%d in a group, %d remaining", most, v.remaining(key))
		}
	})
}
