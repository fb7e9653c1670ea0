package httpapi

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/exchange"
)

func TestUsedOnce(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	in := func(client, id string, seconds int64) assertion {
		return assertion{clientID: client, id: id, expires: start.Unix() + seconds}
	}
	after := func(seconds int64) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	taken := func(t *testing.T, u *usedOnce, a assertion, now time.Time) {
		t.Helper()
		if err := u.use(a, now); err != nil {
			t.Errorf("%s of %s: %v", a.id, a.clientID, err)
		}
	}
	refused := func(t *testing.T, u *usedOnce, a assertion, now time.Time, want error) {
		t.Helper()
		if err := u.use(a, now); !errors.Is(err, want) {
			t.Errorf("%s of %s: %v, want %v", a.id, a.clientID, err, want)
		}
	}
	t.Run("an assertion is taken once for as long as it lives", func(t *testing.T) {
		u := newUsedOnce(8, 8)
		taken(t, u, in("a", "1", 60), start)
		refused(t, u, in("a", "1", 60), after(59), exchange.ErrClient)
		refused(t, u, in("a", "1", 90), after(59), exchange.ErrClient) // though this one lives longer
		taken(t, u, in("a", "1", 120), after(60))                      // which is another: the first is refused as expired
	})
	t.Run("client and id are not mixed up", func(t *testing.T) {
		u := newUsedOnce(8, 8)
		taken(t, u, in("a", "bc", 60), start)
		taken(t, u, in("ab", "c", 60), start)
	})
	t.Run("a clock that steps back brings nothing back", func(t *testing.T) {
		u := newUsedOnce(8, 8)
		taken(t, u, in("a", "1", 60), start)
		taken(t, u, in("a", "2", 400), after(100))
		refused(t, u, in("a", "1", 60), after(10), exchange.ErrClient)
	})
	t.Run("what is full refuses as busy, and forgets nothing", func(t *testing.T) {
		u := newUsedOnce(4, 3)
		for i := range 3 {
			taken(t, u, in("a", strconv.Itoa(i), 60+int64(i)), start)
		}
		refused(t, u, in("a", "3", 60), start, errBusy)
		taken(t, u, in("b", "0", 60), start)
		refused(t, u, in("c", "0", 60), start, errBusy)
		refused(t, u, in("a", "0", 60), start, exchange.ErrClient)
		taken(t, u, in("c", "0", 90), after(60)) // two have expired, one of each
		taken(t, u, in("a", "3", 90), after(60))
		refused(t, u, in("d", "0", 90), after(60), errBusy)
	})
	t.Run("nothing is left of what has expired", func(t *testing.T) {
		u := newUsedOnce(1000, 1000)
		for i := range 100 {
			taken(t, u, in(strconv.Itoa(i%7), strconv.Itoa(i), int64(i)+1), start)
		}
		taken(t, u, in("last", "1", 300), after(200))
		if len(u.used) != 1 || len(u.clients) != 1 || len(u.expires) != 1 {
			t.Errorf("%d, of %d clients, in %d seconds", len(u.used), len(u.clients), len(u.expires))
		}
	})
}
