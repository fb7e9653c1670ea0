package main

import (
	"testing"
	"time"
)

func TestTheDoctorJudgesClocks(t *testing.T) {
	noon := time.Date(2026, time.March, 10, 12, 0, 0, 0, time.UTC)
	after := noon.Add(100 * time.Millisecond) // how long the question took
	for name, test := range map[string]struct {
		theirs time.Time
		state  string
		what   string
	}{
		"a clock that was read meanwhile agrees":      {noon.Add(50 * time.Millisecond), wellFound, "the database's agrees with this machine's"},
		"a second is nothing to speak of":             {after.Add(time.Second), wellFound, "the database's agrees with this machine's"},
		"more than a second ahead is doubtful":        {after.Add(1001 * time.Millisecond), doubtful, "the database's is 1.001s ahead of this machine's"},
		"more than a second behind is doubtful":       {noon.Add(-2 * time.Second), doubtful, "the database's is 2s behind this machine's"},
		"half a minute is still doubtful":             {noon.Add(-30 * time.Second), doubtful, "the database's is 30s behind this machine's"},
		"more than half a minute ahead is too much":   {after.Add(31 * time.Second), broken, "the database's is 31s ahead of this machine's"},
		"more than half a minute behind, just as bad": {noon.Add(-time.Hour), broken, "the database's is 1h0m0s behind this machine's"},
	} {
		t.Run(name, func(t *testing.T) {
			state, what, do := judgeClock(clockAhead(test.theirs, noon, after))
			if state != test.state || what != test.what || (do == "") != (state == wellFound) {
				t.Errorf("%s: %s — %s", state, what, do)
			}
		})
	}
}

func TestTheDoctorJudgesDisks(t *testing.T) {
	const mib = 1 << 20
	for name, test := range map[string]struct {
		free, all uint64
		want      string
	}{
		"room enough":                        {50_000 * mib, 200_000 * mib, wellFound},
		"a small disk with room enough":      {1_500 * mib, 2_000 * mib, wellFound},
		"less than a GiB":                    {1_000 * mib, 2_000 * mib, doubtful},
		"less than a twentieth of a big one": {9_000 * mib, 200_000 * mib, doubtful},
		"less than 100 MiB":                  {99 * mib, 2_000 * mib, broken},
		"none":                               {0, 2_000 * mib, broken},
	} {
		t.Run(name, func(t *testing.T) {
			state, do := judgeDisk(test.free, test.all)
			if state != test.want || (do == "") != (state == wellFound) {
				t.Errorf("%s — %s, want %s", state, do, test.want)
			}
		})
	}
}
