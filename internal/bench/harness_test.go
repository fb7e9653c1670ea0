package bench

import (
	"testing"
	"time"
)

func TestWhatIsAnsweredIsRecorded(t *testing.T) {
	p := plan{conns: []int{8}, turn: 20 * time.Millisecond, turns: 2, keys: 5}
	for name, measure := range map[string]func(testing.TB, plan) rows{"memory": inMemory, "SQLite": onSQLite} {
		t.Run(name, func(t *testing.T) {
			for _, r := range measure(t, p) {
				if r.PerSecond <= 0 || r.P50 <= 0 || r.P99 < r.P50 || r.TimesEcho <= 0 {
					t.Errorf("measured %+v", r)
				}
			}
		})
	}
}

func TestAnAnswerEndsWhereItSays(t *testing.T) {
	const header = "HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 12\r\nDate: y\r\n\r\n"
	for answer, want := range map[string]int{
		"":                      -1,
		header[:len(header)-1]:  -1,
		header:                  len(header) + 12,
		header + "and the rest": len(header) + 12,
	} {
		if got, err := length([]byte(answer)); got != want || err != nil {
			t.Errorf("%q: %d, %v, want %d", answer, got, err, want)
		}
	}
	if _, err := length([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")); err == nil {
		t.Error("an answer without a length has one")
	}
}

func TestPercentile(t *testing.T) {
	took := []time.Duration{5, 1, 4, 2, 3}
	for p, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := percentile(took, p); got != want {
			t.Errorf("%g: %d, want %d", p, got, want)
		}
	}
}
