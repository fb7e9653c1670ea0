package httpapi_test

import (
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

const (
	kept  = "no row is deleted by a refusal"
	grid  = "refills keep their schedule"
	earns = "each use is earned back in its time, and a steady caller is let through"
	hour  = 3_600_000 // milliseconds
)

// How many uses are left.
var usesScenarios = []scenario{
	{name: "remaining is NULL", steps: always},
	{name: "five are left", row: columns{"remaining": 5}, steps: []step{use(fine).leaving(4), use(fine).times(4).leaving(0), use(exceeded)}},
	{name: "one is left", row: columns{"remaining": 1}, steps: []step{use(fine).leaving(0), use(exceeded), use(invalidKey).but(wire.ReasonSpent, kept)}},
	{name: "none is left", row: columns{"remaining": 0}, steps: []step{use(exceeded), use(invalidKey).but(wire.ReasonSpent, kept)}},
	{name: "less than none is left", row: columns{"remaining": -3}, steps: []step{use(exceeded).times(2)}},
	{name: "more are left than anybody uses", row: columns{"remaining": 1<<31 - 1}, steps: []step{use(fine).leaving(1<<31 - 2)}},
	{name: "more are left than 32 bits hold", row: columns{"remaining": 1 << 40}, steps: []step{use(nothing).leaving(1<<40-1).but(wire.CodeValid, "limits have 64 bits")}},
	{name: "a use may cost more than one", row: columns{"remaining": 5}, steps: []step{
		use(nothing).costing(3).leaving(2).but(wire.CodeValid, "uses may have a cost"),
		use(nothing).costing(3).leaving(2).but(wire.ReasonSpent, "a cost is paid in full or not at all"), use(fine).times(2).leaving(0)}},
}

// hourly is a refill of 3 every hour, the last of them at noon.
func hourly(more columns) columns {
	c := columns{"remaining": 0, "refillAmount": 3, "refillInterval": hour, "lastRefillAt": at(0)}
	for name, value := range more {
		c[name] = value
	}
	return c
}

var refillScenarios = []scenario{
	{name: "a refill that is not due", row: hourly(nil), steps: []step{use(exceeded).after(time.Hour - time.Millisecond).times(2)}},
	{name: "a refill that is due", row: hourly(nil), steps: []step{use(exceeded), use(fine).after(time.Hour + time.Millisecond).leaving(2), use(fine).times(2).leaving(0), use(exceeded)}},
	{name: "a refill at the instant it is due", row: hourly(nil), steps: []step{use(exceeded).after(time.Hour).leaving(2).but(wire.CodeValid, "a period begins at its boundary")}},
	{name: "a refill sets and does not add", row: hourly(columns{"remaining": 10}), steps: []step{use(fine).leaving(9), use(fine).after(time.Hour + time.Millisecond).leaving(2)}},
	{name: "five periods are one refill", row: hourly(nil), steps: []step{use(fine).after(5*time.Hour + time.Minute).leaving(2), use(fine).times(2), use(exceeded)}},
	{name: "a refill that was due before the move", row: hourly(columns{"lastRefillAt": at(-2*time.Hour - time.Millisecond)}), steps: []step{use(fine).leaving(2), use(fine).times(2), use(exceeded)}},
	{name: "a refill that was late makes the next no later", row: hourly(nil), steps: []step{use(fine).after(90 * time.Minute).times(3).leaving(0), use(exceeded),
		use(exceeded).after(31*time.Minute).leaving(2).but(wire.CodeValid, grid), use(exceeded).times(2).leaving(0).but(wire.CodeValid, grid), use(exceeded)}},
	{name: "a last refill with microseconds", row: hourly(columns{"lastRefillAt": "2026-03-10T12:00:00.123456+00:00"}), steps: []step{use(exceeded), use(exceeded).after(time.Hour+time.Second).leaving(2).but(wire.CodeValid, grid)}},
	{name: "a last refill in a zone of its own", row: hourly(columns{"lastRefillAt": "2026-03-10T17:30:00+05:30"}), steps: []step{use(exceeded), use(fine).after(time.Hour + time.Millisecond)}},
	{name: "a last refill that is still to come", row: hourly(columns{"lastRefillAt": at(time.Hour)}), steps: []step{use(exceeded), use(exceeded).after(90 * time.Minute), use(fine).after(31 * time.Minute)}},
	{name: "no refill since the creation, and one due", row: hourly(columns{"lastRefillAt": nil, "createdAt": at(-61 * time.Minute)}), steps: []step{use(fine).leaving(2)}},
	{name: "no refill since the creation, and none due", row: hourly(columns{"lastRefillAt": nil, "createdAt": at(-59 * time.Minute)}), steps: []step{use(exceeded), use(fine).after(2 * time.Minute).leaving(2)}},
	{name: "an amount without an interval", row: columns{"remaining": 0, "refillAmount": 3}, steps: []step{use(exceeded).after(24 * time.Hour).times(2)}},
	{name: "an interval without an amount", row: columns{"remaining": 0, "refillInterval": hour}, steps: []step{use(exceeded).after(24 * time.Hour), use(invalidKey).but(wire.ReasonSpent, kept)}},
	{name: "an amount of 0", row: hourly(columns{"refillAmount": 0}), steps: []step{use(exceeded).after(2 * time.Hour).times(2)}},
	{name: "an interval of 0", row: hourly(columns{"refillInterval": 0}), steps: []step{use(exceeded).after(2 * time.Hour).times(2)}},
	{name: "an amount below 0", row: hourly(columns{"refillAmount": -5}), steps: []step{use(fine).after(2*time.Hour).but(wire.ReasonSpent, "less than nothing is no refill")}},
	{name: "a refill of a key without remaining does nothing", row: hourly(columns{"remaining": nil}), steps: always},
	{name: "a period of 90 days", row: hourly(columns{"refillInterval": 90 * 24 * hour}), steps: []step{use(nothing).but(wire.ReasonSpent, "a period may be longer than 24.8 days"), use(nothing).after(90*24*time.Hour).leaving(2).but(wire.CodeValid, "a period may be longer than 24.8 days")}},
	{name: "a period of half a second", row: hourly(columns{"refillInterval": 500}), steps: []step{use(exceeded),
		use(fine).after(600*time.Millisecond).but(wire.ReasonSpent, "no period is shorter than a second"), use(fine).after(time.Second)}},
	{name: "a refused permission refills nothing", row: hourly(nil), steps: []step{use(notFound).after(2 * time.Hour).asking(`{"files":["read"]}`), use(fine).leaving(2)}},
}

// twice is two uses in an hour.
func twice(more columns) columns {
	c := columns{"rateLimitMax": 2, "rateLimitTimeWindow": hour}
	for name, value := range more {
		c[name] = value
	}
	return c
}

var rateScenarios = []scenario{
	{name: "two in an hour", row: twice(nil), steps: []step{use(fine).times(2), use(limited).times(3), use(fine).after(time.Hour + time.Millisecond).times(2), use(limited)}},
	{name: "ten in a day, as keys have it unless told otherwise", row: columns{"rateLimitMax": 10, "rateLimitTimeWindow": 24 * hour}, steps: []step{use(fine).times(10), use(limited).times(2), use(fine).after(24*time.Hour + time.Millisecond)}},
	{name: "half a window later", row: twice(nil), steps: []step{use(fine).times(2), use(limited).after(30*time.Minute).but(wire.CodeValid, earns), use(limited)}},
	{name: "a caller who keeps to the limit", row: twice(nil), steps: []step{use(fine), use(fine).after(30 * time.Minute), use(limited).after(30*time.Minute).but(wire.CodeValid, earns), use(limited).after(30*time.Minute).but(wire.CodeValid, earns)}},
	{name: "the limit is disabled", row: twice(columns{"rateLimitEnabled": false}), steps: always},
	{name: "whether it is enabled is NULL", row: twice(columns{"rateLimitEnabled": nil}), steps: []step{use(fine).times(2), use(limited)}},
	{name: "no maximum", row: twice(columns{"rateLimitMax": nil}), steps: always},
	{name: "no window", row: twice(columns{"rateLimitTimeWindow": nil}), steps: always},
	{name: "a window of 0", row: twice(columns{"rateLimitTimeWindow": 0}), steps: []step{use(fine).times(2), use(fine).after(time.Millisecond).times(2)}},
	{name: "a window below 0", row: twice(columns{"rateLimitTimeWindow": -hour}), steps: always},
	{name: "a maximum of 0", row: twice(columns{"rateLimitMax": 0}), steps: []step{use(fine), use(limited), use(fine).after(time.Hour + time.Millisecond), use(limited)}},
	{name: "a maximum below 0", row: twice(columns{"rateLimitMax": -1}), steps: []step{use(fine), use(limited), use(fine).after(time.Hour + time.Millisecond)}},
	{name: "more than one in a millisecond", row: columns{"rateLimitMax": 1_000_000, "rateLimitTimeWindow": hour}, steps: always},
	{name: "all of the window was used before the move", row: twice(columns{"requestCount": 2, "lastRequest": at(0)}), steps: []step{use(limited), use(fine).after(time.Hour + time.Millisecond).times(2), use(limited)}},
	{name: "half of the window was used before the move", row: twice(columns{"requestCount": 1, "lastRequest": at(0)}), steps: []step{use(fine), use(limited)}},
	{name: "more was used than there is", row: twice(columns{"requestCount": 99, "lastRequest": at(0)}), steps: []step{use(limited), use(fine).after(time.Hour + time.Millisecond)}},
	{name: "the last window was used up and is over", row: twice(columns{"requestCount": 2, "lastRequest": at(-2 * time.Hour)}), steps: []step{use(fine).times(2), use(limited)}},
	{name: "the window was used up half of it ago", row: twice(columns{"requestCount": 2, "lastRequest": at(-30 * time.Minute)}), steps: []step{use(limited).but(wire.CodeValid, earns), use(limited)}},
	{name: "the last use is still to come", row: twice(columns{"requestCount": 2, "lastRequest": at(time.Hour)}), steps: []step{use(limited)}},
	{name: "uses were counted at no time", row: twice(columns{"requestCount": 9}), steps: []step{use(fine).times(2), use(limited)}},
	{name: "a limit that is disabled was used up", row: twice(columns{"requestCount": 2, "lastRequest": at(0), "rateLimitEnabled": false}), steps: always},
	{name: "a use that comes too soon is not taken from what is left", row: columns{"rateLimitMax": 1, "rateLimitTimeWindow": hour, "remaining": 3}, steps: []step{
		use(fine).leaving(2), use(limited).times(2).leaving(2), use(exceeded).leaving(2).but(wire.ReasonRateLimited, "a refusal charges nothing"),
		use(invalidKey).after(time.Hour+time.Millisecond).leaving(1).but(wire.CodeValid, "a refusal charges nothing")}},
	{name: "a spent key that comes too soon is spent", row: twice(columns{"remaining": 0, "requestCount": 2, "lastRequest": at(0)}), steps: []step{use(exceeded)}},
	{name: "a use that is refused does not move the window", row: twice(nil), steps: []step{use(fine).times(2), use(limited).after(20 * time.Minute), use(fine).after(40*time.Minute + time.Millisecond).times(2)}},
	{name: "a permission that is not held does not count", row: twice(nil), steps: []step{use(notFound).asking(`{"files":["read"]}`).times(5), use(fine).times(2), use(limited)}},
	{name: "a spent key does not count", row: twice(columns{"remaining": 1}), steps: []step{use(fine).leaving(0), use(exceeded), use(invalidKey).but(wire.ReasonSpent, kept)}},
}

// What is written beside a key decides nothing.
var metadataScenarios = []scenario{
	{name: "metadata is the text null", row: columns{"metadata": "null"}, steps: once},
	{name: "metadata is NULL", row: columns{"metadata": nil}, steps: once},
	{name: "metadata is empty", row: columns{"metadata": ""}, steps: once},
	{name: "metadata is an object", row: columns{"metadata": `{"plan":"pro","n":1.50,"key":"🔑"}`}, steps: []step{use(fine).telling(`{"plan":"pro","n":1.50,"key":"🔑"}`)}},
	{name: "metadata is text in text", row: columns{"metadata": `"{\"plan\":\"pro\"}"`}, steps: []step{use(fine).telling(`{"plan":"pro"}`)}},
	{name: "metadata is text in text in text", row: columns{"metadata": `"\"{\\\"plan\\\":\\\"pro\\\"}\""`}, steps: []step{use(fine).telling(`{"plan":"pro"}`)}},
	{name: "metadata is a list", row: columns{"metadata": `["a",1]`}, steps: []step{use(fine).telling(`{"value":["a",1]}`)}},
	{name: "metadata is a number", row: columns{"metadata": `7`}, steps: []step{use(fine).telling(`{"value":7}`)}},
	{name: "metadata is no JSON", row: columns{"metadata": `{"plan`}, steps: []step{use(fine).telling(`{"value":"{\"plan"}`)}},
	{name: "metadata has a name twice", row: columns{"metadata": `{"a":1,"a":2}`}, steps: []step{use(fine).telling(`{"value":"{\"a\":1,\"a\":2}"}`)}},
	{name: "metadata has half a surrogate pair", row: columns{"metadata": `{"a":"\ud83d"}`}, steps: []step{use(fine).telling(`{"value":"{\"a\":\"\\ud83d\"}"}`)}},
	{name: "metadata has a NUL", row: columns{"metadata": `{"a":"\u0000"}`}, steps: []step{use(fine).telling(`{"a":"\u0000"}`)}},
	{name: "metadata has names of JavaScript", row: columns{"metadata": `{"__proto__":{"admin":true}}`}, steps: []step{use(fine).telling(`{"__proto__":{"admin":true}}`)}},
	{name: "metadata is longer than a token takes", row: columns{"metadata": `{"a":"` + strings.Repeat("x", 9000) + `"}`}, steps: []step{use(fine).telling(`{"a":"` + strings.Repeat("x", 9000) + `"}`)}},
	{name: "metadata is longer than we keep", row: columns{"metadata": `{"a":"` + strings.Repeat("x", 17000) + `"}`}, lost: "metadata: must be a JSON object of at most 16384 bytes"},
}
