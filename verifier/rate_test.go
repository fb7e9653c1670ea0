package verifier_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-auth/cambio/verifier"
)

func TestRateLimit(t *testing.T) {
	limited := func(r verifier.Rate) *verifier.Budget { return &verifier.Budget{Rate: r} }

	t.Run("a burst is granted at once, the next has to wait a step, to the millisecond", func(t *testing.T) {
		b := limited(verifier.Rate{Limit: 60, Window: time.Minute, Burst: 60})
		for range 60 {
			if err := charge(b, noon, 1); err != nil {
				t.Fatal(err)
			}
		}
		var limited *verifier.RateLimitedError
		err := charge(b, noon.Add(250*time.Millisecond), 1)
		if !errors.As(err, &limited) || !limited.RetryAt.Equal(noon.Add(time.Second)) {
			t.Fatalf("%v, retry at %v", err, limited)
		}
		if wait := limited.RetryAt.Sub(limited.At); wait != 750*time.Millisecond {
			t.Errorf("to wait: %v, by the clock that decided", wait)
		}
		if err := charge(b, limited.RetryAt.Add(-1), 1); err == nil {
			t.Error("granted before RetryAt")
		}
		if err := charge(b, limited.RetryAt, 1); err != nil {
			t.Errorf("at RetryAt: %v", err)
		}
	})
	t.Run("a caller that keeps to one use a step is never refused", func(t *testing.T) {
		b := limited(verifier.Rate{Limit: 60, Window: time.Minute, Burst: 1})
		for i := range 600 {
			if err := charge(b, noon.Add(time.Duration(i)*time.Second), 1); err != nil {
				t.Fatalf("use %d: %v", i, err)
			}
		}
	})
	t.Run("a cost takes as many slots", func(t *testing.T) {
		b := limited(verifier.Rate{Limit: 10, Window: time.Minute, Burst: 10})
		if err := charge(b, noon, 7); err != nil {
			t.Fatal(err)
		}
		if err := charge(b, noon, 4); !as[*verifier.RateLimitedError](err) {
			t.Errorf("four more: %v", err)
		}
		if err := charge(b, noon, 3); err != nil {
			t.Errorf("three more: %v", err)
		}
	})
	t.Run("a cost above the burst is never granted, and says so", func(t *testing.T) {
		b := limited(verifier.Rate{Limit: 10, Window: time.Minute, Burst: 5})
		var limited *verifier.RateLimitedError
		if err := charge(b, noon, 6); !errors.As(err, &limited) || !limited.RetryAt.IsZero() {
			t.Errorf("%v, retry at %v", err, limited)
		}
		if err := charge(b, noon, 1<<62); !errors.As(err, &limited) || !limited.RetryAt.IsZero() {
			t.Errorf("a huge cost: %v, retry at %v", err, limited)
		}
	})
	t.Run("a clock that stepped back a day shuts nobody out", func(t *testing.T) {
		b := limited(verifier.Rate{Limit: 2, Window: time.Minute, Burst: 2})
		for range 2 {
			if err := charge(b, noon.Add(24*time.Hour), 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := charge(b, noon, 1); err != nil {
			t.Fatalf("after the step: %v", err)
		}
		if err := charge(b, noon, 1); !as[*verifier.RateLimitedError](err) {
			t.Errorf("and one more at once: %v, want the bucket empty", err)
		}
		if err := charge(b, noon.Add(30*time.Second), 1); err != nil {
			t.Errorf("a step later: %v", err)
		}
	})
	t.Run("a now read a little too early gives nothing away", func(t *testing.T) {
		b := limited(verifier.Rate{Limit: 2, Window: time.Second, Burst: 2})
		for range 2 {
			if err := charge(b, noon, 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := charge(b, noon.Add(-10*time.Second), 1); !as[*verifier.RateLimitedError](err) {
			t.Errorf("ten seconds early: %v", err)
		}
	})
}

func TestNoWindowHoldsMoreThanBurstAndRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRate().Draw(t, "rate")
		b := &verifier.Budget{Rate: r}
		step := r.Window / time.Duration(r.Limit)
		bound := r.Burst + int64(r.Window/step)
		type use struct {
			at   time.Time
			cost int64
		}
		var uses []use
		now := noon
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*step)).Draw(t, "pause")))
			cost := rapid.Int64Range(1, r.Burst).Draw(t, "cost")
			err := charge(b, now, cost)
			var limited *verifier.RateLimitedError
			if errors.As(err, &limited) {
				again := *b
				if charge(&again, limited.RetryAt.Add(-1), cost) == nil {
					t.Fatalf("granted an instant before RetryAt %v", limited.RetryAt)
				}
				if err := charge(&again, limited.RetryAt, cost); err != nil {
					t.Fatalf("refused at RetryAt: %v", err)
				}
				continue
			}
			uses = append(uses, use{now, cost})
			var within int64
			for _, u := range uses {
				if now.Sub(u.at) < r.Window {
					within += u.cost
				}
			}
			if within > bound {
				t.Fatalf("%d uses within a window, bound %d", within, bound)
			}
		}
	})
}

func TestRateIsRefused(t *testing.T) {
	tests := map[string]string{
		"without a limit":                           "0/1m",
		"of less than nothing":                      "-5/1m",
		"without a window":                          "5/0s",
		"with a negative window":                    "5/-1m",
		"of more uses than nanoseconds":             "1001/1us",
		"with a window above a year":                "1/8785h",
		"with a burst of none":                      "5/1m,0",
		"with a burst that takes a century to earn": "1/8784h,100",
		"without a slash":                           "100",
		"with words":                                "many/1m",
		"of a number out of range":                  "9223372036854775808/1m",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if r, err := verifier.ParseRate(text); !errors.Is(err, verifier.ErrRate) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestLimitsReadWhatTheyWrite(t *testing.T) {
	for _, text := range []string{"100/1m", "100/1m,20", "5/24h", "1/8784h", "1000/1µs", "7/1h30m", "3/1m30s"} {
		r, err := verifier.ParseRate(text)
		if err != nil || r.String() != text {
			t.Errorf("rate %s: %s, %v", text, r, err)
		}
	}
	for _, text := range []string{"1000/month", "1/day", "1000/24h", "9223372036854775807/1s"} {
		r, err := verifier.ParseRefill(text)
		if err != nil || r.String() != text {
			t.Errorf("refill %s: %s, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "1000", "/month", "0/month", "-1/day", "1/week", "1/Month", "1/0s", "1/999ms", "x/day", "1/-1h"} {
		if r, err := verifier.ParseRefill(text); err == nil {
			t.Errorf("refill %q: %+v, want an error", text, r)
		}
	}
}

func anyRate() *rapid.Generator[verifier.Rate] {
	return rapid.Custom(func(t *rapid.T) verifier.Rate {
		window := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "window"))
		return verifier.Rate{
			Limit:  rapid.Int64Range(1, min(1000, int64(window))).Draw(t, "limit"),
			Window: window,
			Burst:  rapid.Int64Range(1, 100).Draw(t, "burst"),
		}
	})
}
