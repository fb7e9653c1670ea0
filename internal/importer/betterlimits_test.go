package importer_test

import (
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

func budget(b verifier.Budget) func(*manage.ImportKey) {
	return func(k *manage.ImportKey) { k.Budget = b }
}

func TestBetterAuthRemaining(t *testing.T) {
	const day = 86_400_000
	micro := time.Date(2026, time.November, 23, 18, 0, 0, 123456e3, time.UTC)
	daily := verifier.Refill{Amount: 100, Interval: verifier.Every(24 * time.Hour), Anchor: created}
	atMicro := daily
	atMicro.Anchor = micro
	atNoon := daily
	atNoon.Anchor = noon
	second := daily
	second.Interval = verifier.Every(time.Second)
	betterAuth.run(t, map[string]mapping{
		"null is no limit":     {},
		"what remains remains": {row: row{"remaining": 5}, want: budget(verifier.Budget{Counted: true, Remaining: 5})},
		"nothing remains":      {row: row{"remaining": 0}, want: budget(verifier.Budget{Counted: true})},
		"below nothing is nothing": {row: row{"remaining": -3}, note: "remaining: is below 0",
			want: budget(verifier.Budget{Counted: true})},
		"more than 32 bits":     {row: row{"remaining": int64(1) << 40}, want: budget(verifier.Budget{Counted: true, Remaining: 1 << 40})},
		"text that is a number": {row: row{"remaining": "5"}, want: budget(verifier.Budget{Counted: true, Remaining: 5})},
		"a float that is whole": {row: row{"remaining": 5.0}, want: budget(verifier.Budget{Counted: true, Remaining: 5})},
		"not a half":            {row: row{"remaining": 5.5}, err: "remaining: must be a whole number"},
		"not a word":            {row: row{"remaining": "many"}, err: "remaining: must be a whole number"},
		"a refill is counted from the creation, and that period was refilled": {
			row:  row{"remaining": 5, "refillAmount": 100, "refillInterval": day},
			want: budget(verifier.Budget{Counted: true, Remaining: 5, Refill: daily, Refilled: created})},
		"a refill is counted from the last one, to its microsecond": {
			row:  row{"remaining": 5, "refillAmount": 100, "refillInterval": day, "lastRefillAt": "2026-11-23T18:00:00.123456+00:00"},
			want: budget(verifier.Budget{Counted: true, Remaining: 5, Refill: atMicro, Refilled: micro})},
		"a refill is counted from now, if nothing else is known": {
			row:  row{"remaining": 5, "refillAmount": 100, "refillInterval": day, "createdAt": nil},
			note: "createdAt: is missing",
			want: func(k *manage.ImportKey) {
				k.CreatedAt = time.Time{}
				k.Budget = verifier.Budget{Counted: true, Remaining: 5, Refill: atNoon, Refilled: noon}
			}},
		"an interval below a second is a second": {
			row: row{"remaining": 5, "refillAmount": 100, "refillInterval": 999}, note: "so it is a second",
			want: budget(verifier.Budget{Counted: true, Remaining: 5, Refill: second, Refilled: created})},
		"an interval beyond 292 years is refused": {
			row: row{"remaining": 5, "refillAmount": 100, "refillInterval": int64(1) << 62}, err: "refillInterval: is longer"},
		"a refill without remaining does nothing, and there is no limit": {
			row: row{"refillAmount": 100, "refillInterval": day}, note: "a key without remaining has no limit"},
		"an amount without an interval does nothing": {
			row: row{"remaining": 5, "refillAmount": 100}, note: "one without the other", want: budget(verifier.Budget{Counted: true, Remaining: 5})},
		"an interval without an amount does nothing": {
			row: row{"remaining": 5, "refillInterval": day}, note: "one without the other", want: budget(verifier.Budget{Counted: true, Remaining: 5})},
		"an amount of 0 is none": {
			row: row{"remaining": 5, "refillAmount": 0, "refillInterval": day}, note: "one without the other", want: budget(verifier.Budget{Counted: true, Remaining: 5})},
		"0 and 0 is no refill": {
			row: row{"remaining": 5, "refillAmount": 0, "refillInterval": 0}, want: budget(verifier.Budget{Counted: true, Remaining: 5})},
		"an amount below 0 is none": {
			row: row{"remaining": 5, "refillAmount": -1, "refillInterval": day}, note: "below 0", want: budget(verifier.Budget{Counted: true, Remaining: 5})},
	})
}

func TestBetterAuthRates(t *testing.T) {
	const hour = 3_600_000
	ten := verifier.Rate{Limit: 10, Window: time.Hour, Burst: 10}
	limited := row{"rateLimitMax": 10, "rateLimitTimeWindow": hour}
	now := noon.UnixMilli()
	used := func(tat time.Time) func(*manage.ImportKey) { return budget(verifier.Budget{Rate: ten, TAT: tat}) }
	betterAuth.run(t, map[string]mapping{
		"so many in a window":          {row: limited, want: used(time.Time{})},
		"enabled, if that is not said": {row: limited.with(row{"rateLimitEnabled": nil}), want: used(time.Time{})},
		"not if it is disabled":        {row: limited.with(row{"rateLimitEnabled": false})},
		"not without a window":         {row: row{"rateLimitMax": 10}},
		"not without a maximum":        {row: row{"rateLimitTimeWindow": hour}},
		"not in a window of nothing":   {row: limited.with(row{"rateLimitTimeWindow": 0})},
		"nothing at all is one in a window": {row: limited.with(row{"rateLimitMax": 0}), note: "rateLimitMax: is below 1",
			want: budget(verifier.Budget{Rate: verifier.Rate{Limit: 1, Window: time.Hour, Burst: 1}})},
		"and so is less than nothing": {row: limited.with(row{"rateLimitMax": -5}), note: "rateLimitMax: is below 1",
			want: budget(verifier.Budget{Rate: verifier.Rate{Limit: 1, Window: time.Hour, Burst: 1}})},
		"a window beyond a year is refused":        {row: limited.with(row{"rateLimitTimeWindow": int64(400) * 24 * hour}), err: "rateLimitMax: rate must be"},
		"a window beyond 292 years is refused":     {row: limited.with(row{"rateLimitTimeWindow": int64(1) << 62}), err: "rateLimitMax: the window is longer"},
		"more than one a nanosecond is no limit":   {row: limited.with(row{"rateLimitMax": 2_000_000, "rateLimitTimeWindow": 1}), note: "there is no limit"},
		"what was used is used":                    {row: limited.with(row{"requestCount": 10, "lastRequest": now}), want: used(noon.Add(time.Hour))},
		"each use is earned back in its time":      {row: limited.with(row{"requestCount": 5, "lastRequest": now - hour/4}), want: used(noon.Add(time.Hour/2 - time.Hour/4))},
		"what was used long ago is earned back":    {row: limited.with(row{"requestCount": 10, "lastRequest": now - hour}), want: used(time.Time{})},
		"what was never used is not used":          {row: limited.with(row{"requestCount": 0, "lastRequest": now}), want: used(time.Time{})},
		"a use at no time is none":                 {row: limited.with(row{"requestCount": 5}), want: used(time.Time{})},
		"more than the maximum is the maximum":     {row: limited.with(row{"requestCount": 1_000_000, "lastRequest": now}), want: used(noon.Add(time.Hour))},
		"a request of tomorrow was made just now":  {row: limited.with(row{"requestCount": 10, "lastRequest": now + 24*hour}), want: used(noon.Add(time.Hour))},
		"what was used of no limit means nothing":  {row: row{"requestCount": 10, "lastRequest": now}},
		"remaining and a rate limit hold together": {row: limited.with(row{"remaining": 5}), want: budget(verifier.Budget{Counted: true, Remaining: 5, Rate: ten})},
	})
}
