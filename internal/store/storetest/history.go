package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

var historyPromises = []promise{
	{"whatever happens to exchanges, budgets and counts are as a simple model expects", histories},
}

// After so many histories and this long no more are tried, unless CAMBIO_SLOW=1
// asks for all of rapid's.
const (
	historyCount = 25
	historyTime  = 3 * time.Second
)

// histories plays random histories on one database, one after the other, each
// with keys of its own.
func histories(t *testing.T, db *database) {
	stores := [2]store.Store{db.Store, db.again()}
	began, played, failed := time.Now(), 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if !failed && played >= historyCount && time.Since(began) > historyTime && os.Getenv("CAMBIO_SLOW") == "" {
			return // but a failure is made as small as it gets
		}
		played++
		complete := false
		defer func() { failed = failed || !complete }()
		h := newHistory(rt, db, stores)
		defer h.resetClock()
		rt.Repeat(map[string]func(*rapid.T){
			"":                   h.check,
			"exchanges":          h.exchanges,
			"exchange of nobody": h.nobody,
			"crowd":              h.crowd,
			"leave":              h.leave,
			"state":              h.changeState,
			"clock":              h.stepClock,
		})
		h.checkCounts(rt)
		complete = true
	})
}

// history is a database and what it must hold.
type history struct {
	ctx      context.Context
	db       *database
	stores   [2]store.Store
	owner    string // of all keys of this history
	faulty   [2]*faulty
	verify   [2]*verifier.Verifier
	shifted  time.Duration
	accounts []account
	holders  []*holder
	initial  []account
	reads    int
}

func newHistory(rt *rapid.T, db *database, stores [2]store.Store) *history {
	h := &history{ctx: db.t.Context(), db: db, stores: stores, owner: fmt.Sprintf("owner_%d", db.next())}
	for i, s := range stores {
		h.faulty[i] = &faulty{store: s}
		h.verify[i] = h.verifier(rt, i, verifier.Config{})
	}
	start := h.now(rt).Truncate(time.Second)
	for range rapid.IntRange(1, 3).Draw(rt, "budgets") {
		h.accounts = append(h.accounts, drawAccount(rt, start, fmt.Sprintf("budget_h%d", db.next())))
	}
	h.initial = append([]account(nil), h.accounts...)
	for i := range rapid.IntRange(len(h.accounts), 5).Draw(rt, "keys") {
		n := i // each has a key; the others are shared
		if i >= len(h.accounts) {
			n = rapid.IntRange(0, len(h.accounts)-1).Draw(rt, "budget of the key")
		}
		h.add(rt, start, n)
	}
	return h
}

// next numbers what is made.
func (db *database) next() int {
	db.made++
	return db.made
}

func drawAccount(rt *rapid.T, now time.Time, id string) account {
	a := account{id: verifier.BudgetID(id), anchor: now}
	if rapid.IntRange(0, 4).Draw(rt, "limited") > 0 {
		a.counted = true
		a.left = rapid.Int64Range(0, 30).Draw(rt, "uses")
		a.amount = rapid.SampledFrom([]int64{0, 1, 3, 20}).Draw(rt, "refill")
		a.every = rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, time.Hour}).Draw(rt, "every")
	}
	if a.amount > 0 {
		a.period = a.periodAt(now)
	}
	a.rate = rapid.SampledFrom([]verifier.Rate{
		{}, {},
		{Limit: 2, Window: time.Second, Burst: 2},
		{Limit: 3, Window: time.Minute, Burst: 5},
		{Limit: 1, Window: time.Hour, Burst: 3},
	}).Draw(rt, "rate")
	return a
}

func (h *history) add(rt *rapid.T, now time.Time, budget int) {
	secret, err := verifier.GenerateKey("ck")
	h.must(rt, err)
	k := &holder{
		id: verifier.KeyID(fmt.Sprintf("key_h%05d", h.db.next())), secret: secret,
		account: budget, state: verifier.Active, uses: map[string]verifier.Use{},
	}
	if life := rapid.SampledFrom([]time.Duration{0, 0, 0, time.Minute, 2 * time.Hour}).Draw(rt, "lifetime"); life > 0 {
		k.expires = now.Add(life)
	}
	h.must(rt, AddKey(h.ctx, h.db, verifier.Key{
		ID: k.id, Digest: secret.Digest(), Keyspace: "default", Owner: h.owner, State: k.state, CreatedAt: now, ExpiresAt: k.expires,
	}, h.accounts[budget].budget()))
	h.holders = append(h.holders, k)
}

// verifier makes one on a store that has accidents.
func (h *history) verifier(rt *rapid.T, i int, cfg verifier.Config) *verifier.Verifier {
	cfg.Store, cfg.Timeout = h.faulty[i], time.Minute
	v, err := verifier.New(cfg)
	h.must(rt, err)
	return v
}

func (h *history) must(rt *rapid.T, err error) {
	rt.Helper()
	if err != nil {
		rt.Fatal(err)
	}
}

// now is the clock of the database.
func (h *history) now(rt *rapid.T) (now time.Time) {
	rt.Helper()
	h.must(rt, h.stores[0].Update(h.ctx, verifier.Lookup{}, func(at time.Time, _ verifier.Found) { now = at }))
	return now
}

var clients = []string{"orders", "billing"}

// request is one exchange.
type request struct {
	key    *holder
	client string
	cost   int64
}

func (h *history) drawRequest(rt *rapid.T) request {
	return request{
		rapid.SampledFrom(h.holders).Draw(rt, "key"),
		rapid.SampledFrom(clients).Draw(rt, "client"),
		rapid.SampledFrom([]int64{1, 1, 1, 2, 3, 10}).Draw(rt, "cost"),
	}
}

func (r request) verify(ctx context.Context, v *verifier.Verifier) error {
	_, err := v.Verify(ctx, verifier.Request{
		Key: r.key.secret, Cost: r.cost,
		Client: verifier.Allowance{ID: r.client, Audiences: []string{audience}, AllKeyspaces: true},
	})
	return err
}

// exchanges ask some times, one after the other.
func (h *history) exchanges(rt *rapid.T) {
	for range rapid.IntRange(1, 10).Draw(rt, "times") {
		if rapid.IntRange(0, 2).Draw(rt, "later") == 0 {
			h.stepClock(rt)
		}
		h.exchange(rt)
	}
}

// exchange asks alone, and knows what must come of it.
func (h *history) exchange(rt *rapid.T) {
	i := rapid.IntRange(0, 1).Draw(rt, "store")
	f := healthy
	if rapid.IntRange(0, 2).Draw(rt, "accident") == 0 {
		f = rapid.SampledFrom(faults).Draw(rt, "fault")
	}
	req := h.drawRequest(rt)
	h.faulty[i].prepare(f)
	err := req.verify(h.ctx, h.verify[i])
	h.settle(rt, req, f, err, h.faulty[i].lastDecision())
}

// settle fails unless err is what must come of req at now, and books it.
func (h *history) settle(rt *rapid.T, req request, f fault, err error, now time.Time) {
	rt.Helper()
	k := req.key
	after, reason := h.accounts[k.account].charge(now, req.cost)
	if refused := k.refused(now); refused != "" {
		reason = refused
	}
	granted, committed := reason == "", err == nil
	var want outcome
	switch f {
	case healthy:
		want = cmp.Or(outcome(reason), acknowledged)
	case failsFirst, failsCommit, damaged:
		want = unavailable
	case cutShort:
		want = outcomeOf(err) // the store says what it did, and check looks
		if want == unknown || granted && !committed && want != unavailable ||
			!granted && want != outcome(reason) && want != unavailable {
			rt.Fatalf("cut short in decide: %v", err)
		}
	case losesAnswer, losesCommit, panicsAtStart:
		want = unknown
		if !granted && f != panicsAtStart {
			want = unavailable // it was refused, so nothing was charged
		}
		committed = f == losesAnswer
	}
	if got := outcomeOf(err); got != want {
		rt.Fatalf("%s asks for %d of %+v at %v, and the store %s: %s (%v), want %s", k.id, req.cost, h.accounts[k.account], now, f, got, err, want)
	}
	if want == unknown {
		k.unknown += req.cost
	}
	if want == acknowledged {
		k.acknowledged += req.cost
	}
	if granted && committed {
		h.accounts[k.account] = after
		k.count(req.client, req.cost)
	}
}

func (h *history) nobody(rt *rapid.T) {
	secret, err := verifier.GenerateKey("ck")
	h.must(rt, err)
	err = request{key: &holder{secret: secret}, cost: 1}.verify(h.ctx, h.verify[0])
	if !errors.Is(err, verifier.ErrUnknown) {
		rt.Fatalf("a key that nobody has: %v", err)
	}
}

// leave cancels two callers of one ledger: the group of the first has started,
// so it gets its answer; the second still waits, and is not charged.
func (h *history) leave(rt *rapid.T) {
	i := rapid.IntRange(0, 1).Draw(rt, "store")
	stays, leaves := h.drawRequest(rt), h.drawRequest(rt)
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	waiting := watch(ctx)
	g := newGate()
	h.faulty[i].holdNext(g)
	errs := [2]chan error{make(chan error, 1), make(chan error, 1)}
	go func() { errs[0] <- stays.verify(ctx, h.verify[i]) }()
	<-g.reached
	go func() { errs[1] <- leaves.verify(waiting, h.verify[i]) }()
	<-waiting.waiting
	cancel()
	if err := <-errs[1]; outcomeOf(err) != left {
		rt.Fatalf("a caller that left before its group started: %v", err)
	}
	close(g.open)
	h.settle(rt, stays, healthy, <-errs[0], h.faulty[i].lastDecision())
}

// changeState is seen by the next exchange, through whatever store.
func (h *history) changeState(rt *rapid.T) {
	k := rapid.SampledFrom(h.holders).Draw(rt, "key")
	state := rapid.SampledFrom([]verifier.State{verifier.Active, verifier.Active, verifier.Disabled, verifier.Disabled, verifier.Revoked}).Draw(rt, "state")
	h.must(rt, h.change(rapid.IntRange(0, 1).Draw(rt, "store"), k, state))
	k.state = state
}

func (h *history) change(i int, k *holder, state verifier.State) error {
	return changeState(h.ctx, h.stores[i], k.id, state)
}

func (h *history) stepClock(rt *rapid.T) {
	h.shift(rt, rapid.SampledFrom([]time.Duration{
		300 * time.Millisecond, time.Second, 21 * time.Second, 2 * time.Minute, time.Hour, 25 * time.Hour,
		-300 * time.Millisecond, -2 * time.Second, -2 * time.Minute, -26 * time.Hour,
	}).Draw(rt, "step"))
}

func (h *history) shift(rt *rapid.T, by time.Duration) {
	h.must(rt, h.db.fresh.Shift(h.ctx, by))
	h.shifted += by
}

// resetClock is for the next history.
func (h *history) resetClock() {
	if err := h.db.fresh.Shift(h.ctx, -h.shifted); err != nil {
		h.db.t.Error(err)
	}
}

// check holds what is stored against the model, through one store or the other:
// all states and budgets, and the counts of one key, each in its turn. What the
// counts of the others are is found in a later step.
func (h *history) check(rt *rapid.T) {
	h.reads++
	s := h.stores[h.reads%2]
	records, _, err := s.Keys(h.ctx, manage.KeyFilter{Owner: h.owner, Limit: 1000})
	h.must(rt, err)
	if len(records) != len(h.holders) {
		rt.Fatalf("%d keys, want %d", len(records), len(h.holders))
	}
	for i, k := range h.holders { // in the order of their ids
		if rec := records[i]; rec.Key.ID != k.id || rec.Key.State != k.state {
			rt.Fatalf("%s is %s, want %s to be %s", rec.Key.ID, rec.Key.State, k.id, k.state)
		}
		h.must(rt, h.accounts[k.account].differs(*records[i].Budget))
	}
	h.must(rt, countedAs(h.ctx, s, h.holders[h.reads%len(h.holders)]))
	for i, a := range h.accounts {
		h.must(rt, h.bounds(i, a))
	}
}

// checkCounts holds the counts of every key against the model.
func (h *history) checkCounts(rt *rapid.T) {
	for _, k := range h.holders {
		h.must(rt, countedAs(h.ctx, h.stores[0], k))
	}
}

// countedAs fails unless the usage of a key is its charges.
func countedAs(ctx context.Context, s store.Store, k *holder) error {
	points, err := s.Usage(ctx, usage.Query{Key: k.id})
	if err != nil {
		return err
	}
	found := map[string]verifier.Use{}
	for _, p := range points {
		found[p.Client] = verifier.Use{Client: p.Client, Audience: p.Audience, Grants: p.Requests, Cost: p.Cost}
	}
	if fmt.Sprint(found) != fmt.Sprint(k.uses) {
		return fmt.Errorf("%s was used %v, want %v", k.id, found, k.uses)
	}
	return nil
}

// bounds are the promises themselves, which hold whatever the model expects.
func (h *history) bounds(i int, a account) error {
	var charged int64
	for _, k := range h.holders {
		if k.account != i {
			continue
		}
		var mine int64
		for _, u := range k.uses {
			mine += u.Cost
		}
		if mine < k.acknowledged || mine > k.acknowledged+k.unknown {
			return fmt.Errorf("%s was charged %d, with %d acknowledged and %d unknown", k.id, mine, k.acknowledged, k.unknown)
		}
		charged += mine
	}
	if owned := h.initial[i].left + (a.period-h.initial[i].period)*a.amount; a.counted && charged > owned {
		return fmt.Errorf("budget %s was charged %d, and owned %d", a.id, charged, owned)
	}
	return nil
}
