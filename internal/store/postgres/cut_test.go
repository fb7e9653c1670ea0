package postgres_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/verifier"
)

func TestAnUpdateTakesTwoRoundTripsHoweverManyKeys(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{TCP: true})
	p, url := behindProxy(t, server.URL("postgres"))
	s := open(t, url)
	digests := addKeys(t, s, 256, 1000)
	for _, uses := range []int64{1, 0} { // a refusal: the second trip rolls back
		for _, n := range []int{1, 64, 256} {
			p.reset(-1, -1)
			if err := update(t.Context(), s, digests[:n], take(uses)); err != nil {
				t.Fatal(err)
			}
			if trips, passed, _ := p.counted(); trips != 2 {
				t.Errorf("%d keys, %d uses of each: %d round trips and %d bytes, want 2", n, uses, trips, passed)
			}
		}
	}
}

// A connection that breaks at any byte, on its way there or back, of either trip:
// what the error says is true of the database.
func TestNoErrorSaysNotCommittedWhenItWas(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{TCP: true})
	p, url := behindProxy(t, server.URL("postgres"))
	s := open(t, url)
	digests := addKeys(t, s, 1, 1000)
	direct := connect(t, server.URL("postgres"))
	if err := update(t.Context(), s, digests, take(1)); err != nil {
		t.Fatal(err)
	}
	p.reset(-1, -1)
	if err := update(t.Context(), s, digests, take(1)); err != nil {
		t.Fatal(err)
	}
	_, whole, _ := p.counted()
	seen := map[string]int{}
	left := int64(998)
	for way, bytes := range whole {
		for _, at := range cutPoints(bytes) {
			cuts := [2]int{-1, -1}
			cuts[way] = at
			if err := update(t.Context(), s, digests, take(0)); err != nil { // connects
				t.Fatal(err)
			}
			p.reset(cuts[forward], cuts[back])
			err := update(t.Context(), s, digests, take(1))
			settle(t, direct, p)
			now := ask[int64](t, direct, `SELECT remaining FROM budgets`)
			seen[outcome(t, fmt.Sprintf("cut after %d of %d bytes, way %d", at, bytes, way), err, left-now)]++
			left = now
			if counted := ask[int64](t, direct, `SELECT sum(cost)::bigint FROM usage`); counted != 1000-left {
				t.Errorf("%d uses counted, %d charged", counted, 1000-left)
			}
		}
	}
	for _, want := range []string{"done, and charged", "unknown, and charged", "unknown, and not charged"} {
		if seen[want] == 0 {
			t.Errorf("no cut ended %s: %v", want, seen)
		}
	}
}

// cutPoints are some of the first n numbers, and all of the last, which are COMMIT
// and its answer.
func cutPoints(n int) (points []int) {
	for at := 0; at < n; at += 61 {
		points = append(points, at)
	}
	for at := max(0, n-16); at < n; at++ {
		points = append(points, at)
	}
	return points
}

// outcome fails the test unless charged, and not more than one use of it, agrees
// with what an Update answered.
func outcome(t *testing.T, what string, err error, charged int64) string {
	t.Helper()
	answer := "done"
	switch {
	case errors.Is(err, verifier.ErrOutcomeUnknown):
		answer = "unknown"
	case err != nil:
		answer = "not done"
	}
	if charged < 0 || charged > 1 || answer == "done" && charged == 0 || answer == "not done" && charged == 1 {
		t.Errorf("%s: %s, and %d charged: %v", what, answer, charged, err)
	}
	if charged == 1 {
		return answer + ", and charged"
	}
	return answer + ", and not charged"
}

// settle returns when the server has done all that it will do for the connection
// that was cut.
func settle(t *testing.T, conn *pgx.Conn, p *proxy) {
	t.Helper()
	if _, _, port := p.counted(); port != 0 {
		until(t, conn, fmt.Sprintf(`SELECT count(*) = 0 FROM pg_stat_activity WHERE client_port = %d`, port))
	}
}
