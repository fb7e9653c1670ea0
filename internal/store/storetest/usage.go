package storetest

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

var usagePromises = []promise{
	{"a grant is counted with its charge, by key, client and audience", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		must(t, exchangeAs(t.Context(), db, "orders", secret, 2))
		must(t, exchangeAs(t.Context(), db.again(), "orders", secret, 1))
		must(t, exchangeAs(t.Context(), db, "billing", secret, 1))
		same(t, totals(t, db, usage.Query{Key: key.ID}), []usage.Point{
			{Client: "billing", Audience: audience, Outcome: usage.Granted, Requests: 1, Cost: 1},
			{Client: "orders", Audience: audience, Outcome: usage.Granted, Requests: 2, Cost: 3},
		})
	}},
	{"a refusal is not counted by an Update", func(t *testing.T, db *database) {
		secret, key := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.Remaining = 0 })
		if err := exchangeAs(t.Context(), db, "orders", secret, 1); !spent(err) {
			t.Errorf("%v", err)
		}
		same(t, totals(t, db, usage.Query{Key: key.ID}), nil)
	}},
	{"points are told apart as asked", grouping},
	{"the use of an unlimited key is counted too", func(t *testing.T, db *database) {
		secret, key := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.Counted, b.Remaining = false, 0 })
		must(t, exchangeAs(t.Context(), db, "orders", secret, 7))
		same(t, totals(t, db, usage.Query{Key: key.ID}), []usage.Point{
			{Client: "orders", Audience: audience, Outcome: usage.Granted, Requests: 1, Cost: 7},
		})
	}},
	{"racing exchanges are counted exactly", func(t *testing.T, db *database) {
		secret, key := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.Remaining = 1000 })
		stores := []store.Store{db, db.again(), db.again()}
		race(t, 60, spent, func(i int) error { return exchangeAs(t.Context(), stores[i%3], "orders", secret, 1) })
		same(t, totals(t, db, usage.Query{Key: key.ID}), []usage.Point{
			{Client: "orders", Audience: audience, Outcome: usage.Granted, Requests: 60, Cost: 60},
		})
	}},
	{"counts are added up, and those of keys that are not there dropped", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		refused := usage.Count{Key: key.ID, Client: "orders", Audience: audience, Outcome: "spent", Requests: 3}
		must(t, db.AddUsage(t.Context(), []usage.Count{refused, {Key: "key_nobody", Outcome: "spent", Requests: 1}}))
		must(t, db.AddUsage(t.Context(), []usage.Count{refused}))
		must(t, db.AddUsage(t.Context(), nil))
		same(t, totals(t, db.again(), usage.Query{}), []usage.Point{
			{Client: "orders", Audience: audience, Outcome: "spent", Requests: 6},
		})
	}},
	{"a cost is counted up to MaxCost, where what adds to it goes on, and sums with it", func(t *testing.T, db *database) {
		unlimited := func(_ *verifier.Key, b *verifier.Budget) { b.Counted, b.Remaining = false, 0 }
		secret, key := db.key(unlimited)
		_, other := db.key(unlimited)
		for range 3 {
			for _, id := range []verifier.KeyID{key.ID, other.ID} {
				must(t, db.AddUsage(t.Context(), []usage.Count{{Key: id, Client: "orders", Audience: audience, Outcome: usage.Granted, Requests: 1, Cost: math.MaxInt64}}))
			}
		}
		must(t, exchangeAs(t.Context(), db, "orders", secret, 1))
		most := []usage.Point{{Client: "orders", Audience: audience, Outcome: usage.Granted, Requests: 4, Cost: usage.MaxCost}}
		same(t, totals(t, db, usage.Query{Key: key.ID}), most)
		most[0].Requests += 3 // of the other
		same(t, totals(t, db, usage.Query{}), most)
		db.shift(2 * time.Hour)
		must(t, db.RollUp(t.Context()))
		same(t, totals(t, db, usage.Query{}), most)
	}},
	{"a query narrows by every field", narrowing},
	{"a series has a point for every hour or day with a count, summed up or not", series},
	{"summing up changes no answer, however often and by however many", summing},
	{"what is old is forgotten, and the rest stays", func(t *testing.T, db *database) {
		use := busyDays(t, db, 3)
		must(t, db.RollUp(t.Context()))
		now := databaseNow(t, db)
		for {
			n, err := db.Forget(t.Context(), now.Add(-36*time.Hour), 2)
			must(t, err)
			if n > 2 {
				t.Fatalf("%d forgotten at once, of at most 2", n)
			}
			if n == 0 {
				break
			}
		}
		for _, q := range []usage.Query{{}, {Key: use.ID}} {
			for _, p := range totals(t, db, q) {
				if p.Requests >= 3 || p.Requests < 1 {
					t.Errorf("%+v after forgetting", p)
				}
			}
		}
	}},
}

const audience = "https://orders.example.com"

func exchangeAs(ctx context.Context, s store.Store, client string, key verifier.Secret, cost int64) error {
	v, err := verifier.New(verifier.Config{Store: s, Timeout: time.Minute})
	if err != nil {
		return err
	}
	_, err = v.Verify(ctx, verifier.Request{
		Key: key, Cost: cost,
		Client: verifier.Allowance{ID: client, Audiences: []string{audience}, AllKeyspaces: true},
	})
	return err
}

func totals(t *testing.T, s store.Store, q usage.Query) []usage.Point {
	t.Helper()
	points, err := s.Usage(t.Context(), q)
	must(t, err)
	return points
}

func databaseNow(t *testing.T, s store.Store) (now time.Time) {
	t.Helper()
	must(t, s.Update(t.Context(), verifier.Lookup{}, func(at time.Time, _ verifier.Found) { now = at }))
	return now
}

// busyDays counts one grant and one refusal of a key a day, so many days long,
// and leaves the clock at the last.
func busyDays(t *testing.T, db *database, days int) verifier.Key {
	t.Helper()
	secret, key := db.key(func(_ *verifier.Key, b *verifier.Budget) { b.Remaining = 1000 })
	for day := range days {
		if day > 0 {
			db.shift(24 * time.Hour)
		}
		must(t, exchangeAs(t.Context(), db, "orders", secret, 1))
		must(t, db.AddUsage(t.Context(), []usage.Count{{Key: key.ID, Client: "orders", Audience: audience, Outcome: "spent", Requests: 1}}))
	}
	return key
}

func narrowing(t *testing.T, db *database) {
	must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "live", Prefix: "ck"}))
	mine, mineKey := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Owner = "me" })
	yours, _ := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Owner, k.Keyspace = "you", "live" })
	must(t, exchangeAs(t.Context(), db, "orders", mine, 1))
	must(t, exchangeAs(t.Context(), db, "billing", yours, 2))
	must(t, db.AddUsage(t.Context(), []usage.Count{{Key: mineKey.ID, Client: "orders", Outcome: "audience", Requests: 1}}))
	now := databaseNow(t, db)
	for name, test := range map[string]struct {
		query usage.Query
		want  int64 // requests
	}{
		"nothing":            {usage.Query{}, 3},
		"key":                {usage.Query{Key: mineKey.ID}, 2},
		"owner":              {usage.Query{Owner: "you"}, 1},
		"owner and keyspace": {usage.Query{Owner: "you", Keyspaces: []string{"default"}}, 0},
		"keyspace":           {usage.Query{Keyspaces: []string{"live"}}, 1},
		"keyspaces":          {usage.Query{Keyspaces: []string{"live", "none", "default"}}, 3},
		"client":             {usage.Query{Client: "orders"}, 2},
		"audience":           {usage.Query{Audience: audience}, 2},
		"an unknown client":  {usage.Query{Client: "nobody"}, 0},
		"from":               {usage.Query{From: now.Truncate(time.Hour)}, 3},
		"from later":         {usage.Query{From: now.Truncate(time.Hour).Add(1)}, 0},
		"to":                 {usage.Query{To: now.Truncate(time.Hour)}, 0},
		"to later":           {usage.Query{To: now.Truncate(time.Hour).Add(time.Hour)}, 3},
	} {
		var got int64
		for _, p := range totals(t, db, test.query) {
			got += p.Requests
		}
		if got != test.want {
			t.Errorf("%s: %d requests, want %d", name, got, test.want)
		}
	}
}

// grouping tells points apart, before hours are summed up and afterwards.
func grouping(t *testing.T, db *database) {
	must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "live", Prefix: "ck"}))
	mine, mineKey := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Owner = "me" })
	yours, yoursKey := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Owner, k.Keyspace = "you", "live" })
	must(t, exchangeAs(t.Context(), db, "orders", mine, 1))
	must(t, exchangeAs(t.Context(), db, "billing", mine, 1))
	must(t, exchangeAs(t.Context(), db, "billing", yours, 3))
	for range 2 {
		for name, test := range map[string]struct {
			query usage.Query
			want  []usage.Point
		}{
			"by key": {usage.Query{Group: []usage.Dimension{usage.ByKey}}, []usage.Point{
				{Key: mineKey.ID, Requests: 2, Cost: 2}, {Key: yoursKey.ID, Requests: 1, Cost: 3},
			}},
			"by keyspace and owner, in the order of dimensions": {usage.Query{Group: []usage.Dimension{usage.ByKeyspace, usage.ByOwner}}, []usage.Point{
				{Owner: "me", Keyspace: "default", Requests: 2, Cost: 2}, {Owner: "you", Keyspace: "live", Requests: 1, Cost: 3},
			}},
			"by client": {usage.Query{Group: []usage.Dimension{usage.ByClient}}, []usage.Point{
				{Client: "billing", Requests: 2, Cost: 4}, {Client: "orders", Requests: 1, Cost: 1},
			}},
			"the first": {usage.Query{Group: []usage.Dimension{usage.ByClient}, Limit: 1}, []usage.Point{{Client: "billing", Requests: 2, Cost: 4}}},
		} {
			if diff := cmp.Diff(test.want, totals(t, db, test.query)); diff != "" {
				t.Errorf("%s:\n%s", name, diff)
			}
		}
		db.shift(2 * time.Hour)
		must(t, db.RollUp(t.Context()))
	}
}

func series(t *testing.T, db *database) {
	key := busyDays(t, db, 3)
	last := databaseNow(t, db)
	for range 2 {
		for _, q := range []usage.Query{{}, {Key: key.ID}} {
			for step, length := range map[usage.Step]time.Duration{usage.Hour: time.Hour, usage.Day: 24 * time.Hour} {
				q.By = step
				points := totals(t, db, q)
				if len(points) != 6 {
					t.Fatalf("%d points by %s, want 6", len(points), step)
				}
				for i, p := range points {
					start := last.Truncate(length).Add(time.Duration(i/2-2) * 24 * time.Hour)
					if !p.Start.Equal(start) || p.Requests != 1 || p.Outcome != []string{usage.Granted, "spent"}[i%2] {
						t.Errorf("point %d by %s is %+v, want one at %v", i, step, p, start)
					}
				}
			}
		}
		must(t, db.RollUp(t.Context()))
	}
}

func summing(t *testing.T, db *database) {
	busyDays(t, db, 2)
	want := fmt.Sprint(totals(t, db, usage.Query{By: usage.Hour}))
	others := []store.Store{db, db.again(), db.again()}
	for range 3 {
		race(t, len(others), nil, func(i int) error { return others[i].RollUp(t.Context()) })
		if got := fmt.Sprint(totals(t, db, usage.Query{By: usage.Hour})); got != want {
			t.Errorf("%s after summing up, before it %s", got, want)
		}
	}
	secret, _ := db.key(nil)
	must(t, exchangeAs(t.Context(), db, "orders", secret, 1))
	db.shift(2 * time.Hour)
	before := fmt.Sprint(totals(t, db, usage.Query{}))
	must(t, db.RollUp(t.Context()))
	if after := fmt.Sprint(totals(t, db, usage.Query{})); after != before {
		t.Errorf("%s after summing up again, before it %s", after, before)
	}
}
