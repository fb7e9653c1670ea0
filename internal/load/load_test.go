package load

import (
	"testing"
	"time"
)

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
