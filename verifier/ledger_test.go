package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// vault is a store in memory whose Updates wait at a gate, so that a test sees
// which requests were taken together. What becomes durable is what a real store
// would keep.
type vault struct {
	mu      sync.Mutex
	records map[verifier.Digest]*verifier.Record
	repeats map[[32]byte]*verifier.Charged
	groups  []int                              // requests seen by each Update: the digests of its lookup
	gate    chan struct{}                      // nil: open
	before  func(lookup verifier.Lookup) error // fails before anything happens
	after   error                              // fails after the commit
	inside  func()
}

func (v *vault) Update(ctx context.Context, lookup verifier.Lookup, decide func(time.Time, verifier.Found)) error {
	if v.gate != nil {
		<-v.gate
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.groups = append(v.groups, len(lookup.Digests))
	if v.before != nil {
		if err := v.before(lookup); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	found := verifier.Found{Clients: slices.Repeat([]int64{1}, len(lookup.Clients))}
	for _, d := range lookup.Digests {
		var rec *verifier.Record
		if stored := v.records[d]; stored != nil {
			rec = clone(stored)
		}
		found.Records = append(found.Records, rec)
	}
	for _, id := range lookup.Repeats {
		found.Repeats = append(found.Repeats, v.repeats[id])
	}
	decide(noon, found)
	if v.inside != nil {
		v.inside()
	}
	for i, d := range lookup.Digests {
		if found.Records[i] != nil {
			v.records[d] = found.Records[i]
		}
	}
	for i, id := range lookup.Repeats {
		if v.repeats == nil {
			v.repeats = map[[32]byte]*verifier.Charged{}
		}
		v.repeats[id] = found.Repeats[i]
	}
	return v.after
}

// add makes a key with so many uses.
func (v *vault) add(t *testing.T, remaining int64) verifier.Secret {
	rec, _ := good()
	key := verifier.NewSecret(generate(t, "ck"))
	rec.Key.ID = verifier.KeyID(fmt.Sprintf("key_%d", len(v.records)))
	rec.Key.Digest = key.Digest()
	rec.Budget = &verifier.Budget{Counted: true, Remaining: remaining}
	if v.records == nil {
		v.records = map[verifier.Digest]*verifier.Record{}
	}
	v.records[key.Digest()] = rec
	return key
}

func (v *vault) remaining(key verifier.Secret) int64 { return v.records[key.Digest()].Budget.Remaining }

type answer struct {
	n   int
	err error
}

// ask verifies in a goroutine of its own.
func ask(ctx context.Context, ver *verifier.Verifier, key verifier.Secret, n int, answers chan<- answer) {
	_, req := good()
	req.Key = key
	go func() {
		_, err := ver.Verify(ctx, req)
		answers <- answer{n, err}
	}()
}

func newLedger(t *testing.T, v *vault, cfg verifier.Config) *verifier.Verifier {
	t.Helper()
	cfg.Store = v
	ver, err := verifier.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ver
}

func TestWhoeverArrivesMeanwhileFormsTheNextGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{gate: make(chan struct{})}
		ver := newLedger(t, v, verifier.Config{})
		answers := make(chan answer, 100)
		for i := range 11 {
			ask(t.Context(), ver, v.add(t, 1), i, answers)
			synctest.Wait()
		}
		v.gate <- struct{}{} // the first, alone
		v.gate <- struct{}{} // the ten that came meanwhile
		for range 11 {
			if a := <-answers; a.err != nil {
				t.Errorf("%d: %v", a.n, a.err)
			}
		}
		if !slices.Equal(v.groups, []int{1, 10}) {
			t.Errorf("groups of %v keys", v.groups)
		}
	})
}

func TestInAGroupFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{gate: make(chan struct{})}
		ver := newLedger(t, v, verifier.Config{})
		answers := make(chan answer, 100)
		ask(t.Context(), ver, v.add(t, 1), -1, answers)
		synctest.Wait()
		hot := v.add(t, 5)
		for i := range 9 {
			ask(t.Context(), ver, hot, i, answers)
			synctest.Wait() // so that they queue in this order
		}
		v.gate <- struct{}{}
		v.gate <- struct{}{}
		for range 10 {
			a := <-answers
			if granted := a.err == nil; granted != (a.n < 5) {
				t.Errorf("number %d: %v", a.n, a.err)
			}
			if a.err != nil && !as[*verifier.SpentError](a.err) {
				t.Errorf("number %d: %v, want its own reason", a.n, a.err)
			}
		}
		if left := v.remaining(hot); left != 0 {
			t.Errorf("%d remaining", left)
		}
	})
}

func TestAGroupHolds256KeysAndAnyNumberOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{gate: make(chan struct{})}
		ver := newLedger(t, v, verifier.Config{})
		answers := make(chan answer, 2000)
		ask(t.Context(), ver, v.add(t, 1), 0, answers)
		synctest.Wait()
		var keys []verifier.Secret
		for range 300 {
			keys = append(keys, v.add(t, 10))
		}
		for range 2 {
			for _, key := range keys {
				ask(t.Context(), ver, key, 0, answers)
				synctest.Wait()
			}
		}
		close(v.gate)
		for range 601 {
			if a := <-answers; a.err != nil {
				t.Error(a.err)
			}
		}
		if !slices.Equal(v.groups, []int{1, 256, 256, 88}) {
			t.Errorf("groups of %v keys", v.groups)
		}
	})
}

func TestGroupsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{gate: make(chan struct{})}
		ver := newLedger(t, v, verifier.Config{Groups: 3, Group: 1})
		answers := make(chan answer, 100)
		for i := range 7 {
			ask(t.Context(), ver, v.add(t, 1), i, answers)
			synctest.Wait()
		}
		for range 3 {
			v.gate <- struct{}{} // three wait at the gate
		}
		synctest.Wait()
		if len(v.groups) != 3 {
			t.Errorf("%d groups went through an open gate of three", len(v.groups))
		}
		close(v.gate)
		for range 7 {
			if a := <-answers; a.err != nil {
				t.Error(a.err)
			}
		}
	})
}

func TestWhoLeavesBeforeTheGroupStartsIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{gate: make(chan struct{})}
		ver := newLedger(t, v, verifier.Config{})
		answers := make(chan answer, 100)
		ask(t.Context(), ver, v.add(t, 1), 0, answers)
		synctest.Wait()
		key := v.add(t, 5)
		ctx, cancel := context.WithCancel(t.Context())
		ask(ctx, ver, key, 1, answers)
		ask(t.Context(), ver, key, 2, answers)
		synctest.Wait()
		cancel()
		if a := <-answers; a.n != 1 || !errors.Is(a.err, context.Canceled) {
			t.Errorf("%d: %v", a.n, a.err)
		}
		close(v.gate)
		for range 2 {
			if a := <-answers; a.err != nil {
				t.Errorf("%d: %v", a.n, a.err)
			}
		}
		if left := v.remaining(key); left != 4 {
			t.Errorf("%d remaining, want 4: one was charged", left)
		}
	})
}

func TestWhoLeavesLaterIsToldWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{gate: make(chan struct{})}
		ver := newLedger(t, v, verifier.Config{})
		answers := make(chan answer, 100)
		key := v.add(t, 5)
		ctx, cancel := context.WithCancel(t.Context())
		ask(ctx, ver, key, 1, answers)
		synctest.Wait() // its group is under way
		cancel()
		synctest.Wait()
		close(v.gate)
		if a := <-answers; a.err != nil {
			t.Errorf("%v, though it was charged", a.err)
		}
		if left := v.remaining(key); left != 4 {
			t.Errorf("%d remaining", left)
		}
	})
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{gate: make(chan struct{})}
		ver := newLedger(t, v, verifier.Config{Queue: 3})
		answers := make(chan answer, 100)
		for i := range 4 { // one under way, three waiting
			ask(t.Context(), ver, v.add(t, 1), i, answers)
			synctest.Wait()
		}
		ask(t.Context(), ver, v.add(t, 1), 4, answers)
		a := <-answers
		if a.n != 4 || !errors.Is(a.err, verifier.ErrOverloaded) || !errors.Is(a.err, verifier.ErrUnavailable) {
			t.Errorf("%d: %v", a.n, a.err)
		}
		close(v.gate)
		for range 4 {
			if a := <-answers; a.err != nil {
				t.Errorf("%d: %v", a.n, a.err)
			}
		}
	})
}

func TestNoGoroutineStaysWhenNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left blocked
		v := &vault{}
		keys := []verifier.Secret{v.add(t, 100), v.add(t, 100)}
		ver := newLedger(t, v, verifier.Config{Groups: 2})
		answers := make(chan answer, 200)
		for i := range 200 {
			ask(t.Context(), ver, keys[i%2], i, answers)
		}
		for range 200 {
			if a := <-answers; a.err != nil {
				t.Error(a.err)
			}
		}
		if v.remaining(keys[0]) != 0 || v.remaining(keys[1]) != 0 {
			t.Errorf("%d and %d remaining", v.remaining(keys[0]), v.remaining(keys[1]))
		}
	})
}

func TestGroupsInFlightNeverTakeEachOthersRequests(t *testing.T) {
	const callers, each = 16, 2000
	for groups := 1; groups <= 4; groups++ {
		v := &vault{}
		key := v.add(t, callers*each)
		ver := newLedger(t, v, verifier.Config{Groups: groups})
		_, req := good()
		req.Key = key
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for range each {
					if _, err := ver.Verify(t.Context(), req); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		if left := v.remaining(key); left != 0 {
			t.Errorf("%d groups: %d remaining", groups, left)
		}
	}
}
