package audit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/audit"
)

// place is where a refusal is counted.
type place struct {
	hour           time.Time
	client, remote string
}

// book is a store that remembers what it was told, unless it is away.
type book struct {
	mu       sync.Mutex
	away     bool
	writes   int
	attempts map[place]int64
	last     map[place]time.Time
}

func (b *book) AddRefusals(_ context.Context, refusals []audit.Refusal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return errors.New("away")
	}
	b.writes++
	for _, r := range refusals {
		p := place{r.Hour, r.Client, r.Remote}
		b.attempts[p] += r.Attempts
		b.last[p] = r.LastAt
	}
	return nil
}

func (b *book) setAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

// record tells a story to a recorder, which writes the rest of it at its end.
func record(t *testing.T, story func(r *audit.Recorder, b *book)) *book {
	t.Helper()
	b := &book{attempts: map[place]int64{}, last: map[place]time.Time{}}
	synctest.Test(t, func(t *testing.T) {
		r := audit.NewRecorder(audit.RecorderConfig{Store: b, Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		var worker sync.WaitGroup
		worker.Go(func() { r.Run(ctx) })
		story(r, b)
		stop()
		worker.Wait()
	})
	return b
}

// midnight is when the clock of a bubble starts.
var midnight = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

func TestRefusalsAreCountedByHourClientAndAddressAndWrittenTogether(t *testing.T) {
	b := record(t, func(r *audit.Recorder, b *book) {
		for range 1000 {
			r.Refused("orders", "192.0.2.1")
		}
		r.Refused("", "192.0.2.1")
		r.Refused("orders", "192.0.2.2")
		time.Sleep(11 * time.Second) // virtual
		synctest.Wait()
		if b.writes != 1 {
			t.Errorf("%d writes", b.writes)
		}
		time.Sleep(time.Hour)
		r.Refused("orders", "192.0.2.1")
	})
	want := map[place]int64{
		{midnight, "orders", "192.0.2.1"}:                1000,
		{midnight, "", "192.0.2.1"}:                      1,
		{midnight, "orders", "192.0.2.2"}:                1,
		{midnight.Add(time.Hour), "orders", "192.0.2.1"}: 1,
	}
	if diff := cmp.Diff(want, b.attempts, cmp.AllowUnexported(place{})); diff != "" {
		t.Error(diff)
	}
	if at := b.last[place{midnight.Add(time.Hour), "orders", "192.0.2.1"}]; !at.Equal(midnight.Add(time.Hour + 11*time.Second)) {
		t.Errorf("last at %v", at)
	}
	if b.writes != 2 {
		t.Errorf("%d writes, one of them at the end", b.writes)
	}
}

func TestRefusalsThatCannotBeWrittenWait(t *testing.T) {
	b := record(t, func(r *audit.Recorder, b *book) {
		b.setAway(true)
		r.Refused("orders", "192.0.2.1")
		time.Sleep(time.Minute)
		r.Refused("orders", "192.0.2.1")
		b.setAway(false)
	})
	if n := b.attempts[place{midnight, "orders", "192.0.2.1"}]; n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

func TestAFloodOfAddressesIsBoundedInAnHour(t *testing.T) {
	const bound, more = 10_000, 500
	b := record(t, func(r *audit.Recorder, b *book) {
		for i := range bound + more {
			if i == bound/2 {
				time.Sleep(time.Minute) // written in between
			}
			r.Refused("", fmt.Sprint("2001:db8::", i))
		}
		r.Refused("", "2001:db8::0")
		r.Refused("orders", "2001:db8::ffff:1")
	})
	if n := len(b.attempts); n != bound+2 {
		t.Errorf("%d rows", n)
	}
	total := int64(0)
	for n := range maps.Values(b.attempts) {
		total += n
	}
	if together := b.attempts[place{midnight, "", ""}]; together != more || total != bound+more+2 {
		t.Errorf("%d counted together, %d in all", together, total)
	}
	if n := b.attempts[place{midnight, "", "2001:db8::0"}]; n != 2 {
		t.Errorf("%d attempts of the first, who is known", n)
	}
	if n := b.attempts[place{midnight, "orders", ""}]; n != 1 {
		t.Errorf("%d attempts on a client that is known", n)
	}
}
