package bench

import (
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/load"
)

func TestWhatIsAnsweredIsRecorded(t *testing.T) {
	p := plan{load.Plan{Conns: []int{8}, Turn: 20 * time.Millisecond, Rounds: 2}, 5, nil}
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
