package verifier_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-auth/cambio/verifier"
)

// charge asks Decide for cost uses of a key with this budget.
func charge(b *verifier.Budget, now time.Time, cost int64) error {
	rec, req := good()
	rec.Budget = b
	req.Cost = cost
	_, err := verifier.Decide(now, rec, nil, req)
	return err
}

func TestRemaining(t *testing.T) {
	t.Run("a key with five uses is granted five times", func(t *testing.T) {
		b := &verifier.Budget{Counted: true, Remaining: 5}
		for range 5 {
			if err := charge(b, noon, 1); err != nil {
				t.Fatal(err)
			}
		}
		var spent *verifier.SpentError
		if err := charge(b, noon, 1); !errors.As(err, &spent) || !spent.RefillAt.IsZero() {
			t.Errorf("the sixth: %v, want spent for ever", err)
		}
		if spent != nil && !spent.At.Equal(noon) {
			t.Errorf("decided at %v, want the time of the decision", spent.At)
		}
	})
	t.Run("a cost is paid whole or not at all", func(t *testing.T) {
		b := &verifier.Budget{Counted: true, Remaining: 5}
		if err := charge(b, noon, 6); !as[*verifier.SpentError](err) || b.Remaining != 5 {
			t.Errorf("%v, remaining %d", err, b.Remaining)
		}
		if err := charge(b, noon, 5); err != nil || b.Remaining != 0 {
			t.Errorf("%v, remaining %d", err, b.Remaining)
		}
	})
	t.Run("an unlimited key is never spent", func(t *testing.T) {
		b := &verifier.Budget{}
		if err := charge(b, noon, 1<<62); err != nil || *b != (verifier.Budget{}) {
			t.Errorf("%v, %+v", err, b)
		}
	})
	t.Run("a rate limited request spends nothing", func(t *testing.T) {
		b := &verifier.Budget{
			Counted: true, Remaining: 5,
			Rate: verifier.Rate{Limit: 1, Window: time.Minute, Burst: 1}, TAT: noon.Add(time.Minute),
		}
		before := *b
		if err := charge(b, noon, 1); !as[*verifier.RateLimitedError](err) || *b != before {
			t.Errorf("%v, %+v", err, b)
		}
	})
}

func TestRefill(t *testing.T) {
	counted := func(r verifier.Refill, remaining int64, from time.Time) *verifier.Budget {
		b := verifier.Budget{Counted: true, Remaining: remaining, Refill: r}
		b.Refill.Anchor = from
		b = b.StartedAt(from)
		return &b
	}
	hourly := verifier.Refill{Amount: 10, Interval: verifier.Every(time.Hour)}

	t.Run("sets, never adds", func(t *testing.T) {
		b := counted(hourly, 1000, noon)
		if err := charge(b, noon.Add(5*time.Hour), 1); err != nil || b.Remaining != 9 {
			t.Errorf("%v, remaining %d, want 9", err, b.Remaining)
		}
	})
	t.Run("comes at the boundary, not an instant before", func(t *testing.T) {
		b := counted(hourly, 0, noon)
		var spent *verifier.SpentError
		if err := charge(b, noon.Add(time.Hour-1), 1); !errors.As(err, &spent) || !spent.RefillAt.Equal(noon.Add(time.Hour)) {
			t.Errorf("before: %v, refill at %v", err, spent)
		}
		if err := charge(b, noon.Add(time.Hour), 1); err != nil {
			t.Errorf("at the boundary: %v", err)
		}
	})
	t.Run("does not drift when asked late", func(t *testing.T) {
		b := counted(hourly, 0, noon)
		if err := charge(b, noon.Add(119*time.Minute), 10); err != nil {
			t.Fatal(err)
		}
		if err := charge(b, noon.Add(120*time.Minute), 10); err != nil {
			t.Errorf("a minute later, in the next period: %v", err)
		}
	})
	t.Run("is not repeated when the clock steps back", func(t *testing.T) {
		b := counted(hourly, 0, noon)
		if err := charge(b, noon.Add(time.Hour), 10); err != nil {
			t.Fatal(err)
		}
		if err := charge(b, noon.Add(-time.Hour), 1); !as[*verifier.SpentError](err) {
			t.Errorf("before the anchor: %v", err)
		}
		if err := charge(b, noon.Add(90*time.Minute), 1); !as[*verifier.SpentError](err) {
			t.Errorf("in the same period again: %v", err)
		}
	})
	t.Run("that is smaller than the cost never helps", func(t *testing.T) {
		b := counted(hourly, 0, noon)
		var spent *verifier.SpentError
		if err := charge(b, noon, 11); !errors.As(err, &spent) || !spent.RefillAt.IsZero() {
			t.Errorf("%v, refill at %v", err, spent)
		}
	})

	t.Run("never comes to a key without one", func(t *testing.T) {
		for _, b := range []verifier.Budget{{}, {Counted: true}, {Refill: hourly}} {
			if at := b.RefillAt(noon); !at.IsZero() {
				t.Errorf("%+v: %v", b, at)
			}
		}
	})

	calendar := map[string]struct {
		interval  verifier.Interval
		now, next time.Time
	}{
		"by day comes at midnight UTC":             {verifier.Daily, noon, date(2026, 3, 11)},
		"by month comes on the first":              {verifier.Monthly, noon, date(2026, 4, 1)},
		"by month knows December":                  {verifier.Monthly, date(2026, 12, 31), date(2027, 1, 1)},
		"by month knows a leap day":                {verifier.Monthly, date(2028, 2, 29), date(2028, 3, 1)},
		"by day is not moved by a zone's offset":   {verifier.Daily, noon.In(time.FixedZone("", 14*3600)), date(2026, 3, 11)},
		"by month is not moved by a zone's offset": {verifier.Monthly, noon.In(time.FixedZone("", -12*3600)), date(2026, 4, 1)},
		"by years of hours fits 64 bits":           {verifier.Every(200 * 365 * 24 * time.Hour), noon, noon.Add(200 * 365 * 24 * time.Hour)},
	}
	for name, test := range calendar {
		t.Run(name, func(t *testing.T) {
			b := counted(verifier.Refill{Amount: 1, Interval: test.interval}, 0, test.now)
			var spent *verifier.SpentError
			if err := charge(b, test.now, 1); !errors.As(err, &spent) || !spent.RefillAt.Equal(test.next) {
				t.Fatalf("%v: refill at %v, want %v", err, spent, test.next)
			}
			if err := charge(b, test.next.Add(-1), 1); err == nil {
				t.Error("granted before")
			}
			if err := charge(b, test.next, 1); err != nil {
				t.Errorf("at the boundary: %v", err)
			}
		})
	}
}

func TestRefillIsIndependentOfWhenAnybodyAsks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := anyInterval().Draw(t, "interval")
		start := verifier.Budget{Counted: true, Remaining: 3, Refill: verifier.Refill{Amount: 7, Interval: interval, Anchor: noon}}
		start = start.StartedAt(noon)
		asked := start
		at := noon
		for range rapid.IntRange(0, 20).Draw(t, "questions") {
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(60*24*time.Hour)).Draw(t, "later")))
			asked = asked.At(at)
		}
		last := at.Add(time.Duration(rapid.Int64Range(0, int64(60*24*time.Hour)).Draw(t, "last")))
		if a, b := asked.At(last), start.At(last); a != b {
			t.Fatalf("asked often: %+v, asked once: %+v", a, b)
		}
	})
}

func TestNeverNegativeAndNeverMoreThanOwned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owned := rapid.Int64Range(0, 50).Draw(t, "owned")
		b := &verifier.Budget{Counted: true, Remaining: owned}
		if rapid.Bool().Draw(t, "refilled") {
			b.Refill = verifier.Refill{Amount: rapid.Int64Range(1, 20).Draw(t, "amount"), Interval: anyInterval().Draw(t, "interval"), Anchor: noon}
			*b = b.StartedAt(noon)
		}
		if rapid.Bool().Draw(t, "limited") {
			b.Rate = anyRate().Draw(t, "rate")
		}
		var granted, refills int64
		now := noon
		for range rapid.IntRange(1, 100).Draw(t, "requests") {
			// Clocks step back as well.
			now = now.Add(time.Duration(rapid.Int64Range(int64(-2*time.Hour), int64(48*time.Hour)).Draw(t, "step")))
			before := *b
			cost := rapid.Int64Range(1, 30).Draw(t, "cost")
			if err := charge(b, now, cost); err != nil {
				if *b != before {
					t.Fatalf("a refusal (%v) changed %+v to %+v", err, before, *b)
				}
				continue
			}
			granted += cost
			if b.Refilled != before.Refilled {
				refills++
				if !b.Refilled.After(before.Refilled) || b.Refilled.After(now) {
					t.Fatalf("refilled for %v after %v at %v", b.Refilled, before.Refilled, now)
				}
			}
			if b.Remaining < 0 {
				t.Fatalf("remaining %d", b.Remaining)
			}
			if most := owned + refills*b.Refill.Amount; granted > most {
				t.Fatalf("granted %d of %d", granted, most)
			}
		}
	})
}

func anyInterval() *rapid.Generator[verifier.Interval] {
	return rapid.OneOf(
		rapid.Just(verifier.Daily),
		rapid.Just(verifier.Monthly),
		rapid.Map(rapid.Int64Range(int64(time.Second), int64(1000*time.Hour)), func(d int64) verifier.Interval {
			return verifier.Every(time.Duration(d))
		}),
	)
}

func date(y int, m time.Month, d int) time.Time {
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}
