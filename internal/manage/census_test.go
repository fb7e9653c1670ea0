package manage_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
)

// slow is a manage.Counter that takes its time, or fails.
type slow struct {
	takes  time.Duration
	fails  atomic.Bool
	counts int
}

func (s *slow) CountKeys(context.Context) ([]manage.KeyCount, error) {
	time.Sleep(s.takes)
	s.counts++
	if s.fails.Load() {
		return nil, errors.New("away")
	}
	return []manage.KeyCount{{Keyspace: "default", State: "active", Keys: int64(s.counts)}}, nil
}

// census runs a story in virtual time. It is read every 15 seconds, for so long.
func census(t *testing.T, s *slow, story func(read func(time.Duration) manage.Counted)) {
	synctest.Test(t, func(t *testing.T) {
		c := manage.NewCensus(s, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		var worker sync.WaitGroup
		worker.Go(func() { c.Run(ctx) })
		story(func(long time.Duration) (last manage.Counted) {
			for until := time.Now().Add(long); time.Now().Before(until); {
				last = c.Last()
				time.Sleep(15 * time.Second)
				synctest.Wait()
			}
			return last
		})
		stop()
		worker.Wait()
	})
}

func TestKeysThatNobodyAsksAboutAreNotCounted(t *testing.T) {
	s := &slow{}
	census(t, s, func(func(time.Duration) manage.Counted) { time.Sleep(time.Hour) })
	if s.counts != 0 {
		t.Errorf("counted %d times", s.counts)
	}
}

func TestKeysAreCountedOnceAMinute(t *testing.T) {
	s := &slow{takes: 10 * time.Millisecond}
	census(t, s, func(read func(time.Duration) manage.Counted) {
		last := read(10 * time.Minute)
		if s.counts != 10 || last.Keys[0].Keys < 9 || last.Took != s.takes {
			t.Errorf("counted %d times, %v", s.counts, last)
		}
	})
}

func TestACountTakesAtMostAHundredthOfTheTime(t *testing.T) {
	s := &slow{takes: 10 * time.Second}
	census(t, s, func(read func(time.Duration) manage.Counted) { read(3000 * time.Second) })
	if s.counts != 3 {
		t.Errorf("counted %d times", s.counts)
	}
}

func TestACountThatFailsLeavesTheLastOne(t *testing.T) {
	s := &slow{}
	census(t, s, func(read func(time.Duration) manage.Counted) {
		first := read(30 * time.Second)
		s.fails.Store(true)
		if last := read(3 * time.Minute); s.counts < 2 || !last.At.Equal(first.At) || len(last.Keys) != 1 {
			t.Errorf("counted %d times, %v", s.counts, last)
		}
	})
}
