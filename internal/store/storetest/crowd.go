package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

// groupsInFlight is how many Updates a ledger has under way, at most.
const groupsInFlight = 3

// caller is one of a crowd.
type caller struct {
	request
	store  int
	times  int
	leaves bool // cancels at some moment

	outcomes []outcome
	late     []bool // by call: the change of state had returned before it began
}

// stateChange happens while a crowd asks.
type stateChange struct {
	key   *holder // nil: none
	state verifier.State
	store int
	done  atomic.Bool
	err   error
}

// crowd asks all at once, through both stores, while accidents happen. What must
// come of it is known only by its bounds.
func (h *history) crowd(rt *rapid.T) {
	var verifiers [2]*verifier.Verifier
	accident := rapid.Bool().Draw(rt, "accidents")
	for i := range verifiers {
		verifiers[i] = h.verifier(rt, i, verifier.Config{
			Groups: rapid.IntRange(1, groupsInFlight).Draw(rt, "groups"),
			Group:  rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(rt, "group"),
		})
		if accident {
			h.faulty[i].prepare(rapid.SliceOfN(rapid.SampledFrom(faults), 0, 6).Draw(rt, "faults")...)
		}
	}
	callers := make([]*caller, rapid.IntRange(2, 16).Draw(rt, "callers"))
	for i := range callers {
		callers[i] = &caller{
			request: h.drawRequest(rt), store: i % 2,
			times:  rapid.IntRange(1, 2).Draw(rt, "times"),
			leaves: rapid.IntRange(0, 5).Draw(rt, "leaves") == 0,
		}
	}
	change := h.drawChange(rt)
	before := h.now(rt)
	h.rush(callers, verifiers, change)
	after := h.now(rt)
	for i := range h.faulty {
		h.faulty[i].prepare()
	}
	h.must(rt, change.err)
	h.told(rt, callers, change, accident)
	h.settleCrowd(rt, callers, before, after)
}

func (h *history) drawChange(rt *rapid.T) *stateChange {
	c := &stateChange{}
	if rapid.IntRange(0, 2).Draw(rt, "changes a key") == 0 {
		c.key = rapid.SampledFrom(h.holders).Draw(rt, "changed key")
		c.state = rapid.SampledFrom([]verifier.State{verifier.Active, verifier.Disabled, verifier.Revoked}).Draw(rt, "state")
		c.store = rapid.IntRange(0, 1).Draw(rt, "store")
	}
	return c
}

// rush lets all callers go and waits for them.
func (h *history) rush(callers []*caller, verifiers [2]*verifier.Verifier, change *stateChange) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for _, c := range callers {
		all.Go(func() {
			<-start
			for range c.times {
				ctx, cancel := context.WithCancel(h.ctx)
				if c.leaves {
					go cancel()
				}
				late := change.key == c.key && change.done.Load()
				c.outcomes = append(c.outcomes, outcomeOf(c.verify(ctx, verifiers[c.store])))
				c.late = append(c.late, late)
				cancel()
			}
		})
	}
	if change.key != nil {
		all.Go(func() {
			<-start
			change.err = h.change(change.store, change.key, change.state)
			change.done.Store(true)
		})
	}
	close(start)
	all.Wait()
}

// told fails unless every caller was told what it may be told.
func (h *history) told(rt *rapid.T, callers []*caller, change *stateChange, accident bool) {
	for _, c := range callers {
		for i, got := range c.outcomes {
			may := map[outcome]bool{
				acknowledged: true, "spent": true, "rate_limited": true,
				"expired": !c.key.expires.IsZero(),
				left:      c.leaves, unavailable: accident, unknown: accident,
				outcome(c.key.state): c.key.state != verifier.Active,
			}
			if c.key == change.key && change.state != verifier.Active {
				may[outcome(change.state)] = true
				may[acknowledged] = !c.late[i]
			}
			if c.late[i] && change.state != c.key.state {
				delete(may, outcome(c.key.state))
			}
			if c.key.state != verifier.Active && c.key != change.key {
				may[acknowledged] = false
			}
			if !may[got] {
				rt.Fatalf("%s was told: %s; state %s, change %v to %s, late %t", c.key.id, got, c.key.state, change.key == c.key, change.state, c.late[i])
			}
		}
	}
	if change.key != nil {
		change.key.state = change.state
	}
}

// settleCrowd holds what was charged against what callers were told and against
// the budgets, and then takes over what is stored.
func (h *history) settleCrowd(rt *rapid.T, callers []*caller, before, after time.Time) {
	charged := make([]int64, len(h.accounts))
	for _, k := range h.holders {
		charged[k.account] += h.settleHolder(rt, k, callers)
	}
	for i, a := range h.accounts {
		stored := h.stored(rt, i)
		now := a.adopt(stored)
		taken := a.left - now.left
		if refills := now.period - a.period; refills > 0 && a.amount > 0 {
			if charged[i] > a.left+refills*a.amount || charged[i] < a.amount-now.left || now.left > a.amount ||
				now.period > a.periodAt(after) {
				rt.Fatalf("budget %s had %d, was refilled %d times to %d, was charged %d, has %d", a.id, a.left, refills, a.amount, charged[i], now.left)
			}
		} else {
			if a.counted && (taken != charged[i] || now.left < 0 || refills < 0) {
				rt.Fatalf("budget %s had %d and has %d, but was charged %d", a.id, a.left, now.left, charged[i])
			}
			if a.amount == 0 || a.periodAt(after) <= a.period {
				h.nobodyRefused(rt, i, now.left, callers)
			}
		}
		if a.rate.Limit > 0 && charged[i] > 0 {
			h.withinRate(rt, a, stored, charged[i], before, after)
		}
		if charged[i] == 0 {
			h.must(rt, a.differs(stored))
		}
		h.accounts[i] = now
	}
}

// settleHolder returns what a key was charged since it was last looked at.
func (h *history) settleHolder(rt *rapid.T, k *holder, callers []*caller) int64 {
	points, err := h.stores[0].Usage(h.ctx, usage.Query{Key: k.id})
	h.must(rt, err)
	var charged, grants int64
	for _, p := range points {
		had := k.uses[p.Client]
		charged += p.Cost - had.Cost
		grants += p.Requests - had.Grants
		k.uses[p.Client] = verifier.Use{Client: p.Client, Audience: audience, Grants: p.Requests, Cost: p.Cost}
	}
	var seen, seenGrants, maybe, maybeGrants int64
	for _, c := range callers {
		for _, got := range c.outcomes {
			switch {
			case c.key == k && got == acknowledged:
				seen += c.cost
				seenGrants++
			case c.key == k && got == unknown:
				maybe += c.cost
				maybeGrants++
			}
		}
	}
	if charged < seen || charged > seen+maybe || grants < seenGrants || grants > seenGrants+maybeGrants {
		rt.Fatalf("%s was charged %d by %d grants, with %d by %d acknowledged and %d by %d unknown",
			k.id, charged, grants, seen, seenGrants, maybe, maybeGrants)
	}
	k.acknowledged += seen
	k.unknown += maybe
	return charged
}

// stored is the budget of an account.
func (h *history) stored(rt *rapid.T, i int) verifier.Budget {
	for _, k := range h.holders {
		if k.account == i {
			rec, _, err := h.stores[1].Key(h.ctx, k.id)
			h.must(rt, err)
			return *rec.Budget
		}
	}
	rt.Fatalf("no key has budget %d", i)
	return verifier.Budget{}
}

// nobodyRefused: while no refill is due a budget only shrinks, so whoever was told
// that it is spent must still be right.
func (h *history) nobodyRefused(rt *rapid.T, budget int, remains int64, callers []*caller) {
	for _, c := range callers {
		for _, got := range c.outcomes {
			if c.key.account == budget && got == "spent" && remains >= c.cost {
				rt.Fatalf("%s was refused %d as spent, and %d remain", c.key.id, c.cost, remains)
			}
		}
	}
}

// withinRate: what was charged fits into the bucket and what leaked out of it
// meanwhile.
func (h *history) withinRate(rt *rapid.T, a account, stored verifier.Budget, charged int64, before, after time.Time) {
	full := a.fills(a.rate.Burst)
	room := full - a.levelAt(before)
	if a.overflown(before) || a.overflown(after) {
		room = a.fills(a.rate.Burst) // of the one charge that takes its place
	}
	if poured := a.fills(charged); poured > room+after.Sub(before) {
		rt.Fatalf("budget %s was charged %d in %v, with room for %v in a bucket of %v", a.id, charged, after.Sub(before), room, full)
	}
	if ahead := stored.TAT.Sub(after); ahead > full {
		rt.Fatalf("budget %s holds %v in a bucket of %v", a.id, ahead, full)
	}
}
