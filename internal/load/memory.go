package load

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// memory is a store that costs next to nothing, and keeps the promises of
// verifier.Store but for durability. Of all others it has what a server calls.
type memory struct {
	store.Store // nil: nothing else is called
	client      client.Client

	mu      sync.Mutex
	records map[verifier.Digest]verifier.Record
	signing []issuer.SealedKey
	grants  int64
	charged int64
}

func newMemory(f Fixture) *memory {
	m := &memory{client: f.Client(), records: map[verifier.Digest]verifier.Record{}}
	for i := range f.Keys {
		key, budget := f.Record(i)
		m.records[key.Digest] = verifier.Record{
			Key: key, Keyspace: verifier.Keyspace{Name: keyspace, Prefix: "ck"}, Budget: &budget,
			Status: verifier.StatusRef{List: 1, Index: int64(i)},
		}
	}
	return m
}

// Update lets decide have copies, so that what it leaves alone is not written.
func (m *memory) Update(_ context.Context, lookup verifier.Lookup, decide func(time.Time, verifier.Found)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := verifier.Found{
		Records: make([]*verifier.Record, len(lookup.Digests)),
		Clients: make([]int64, len(lookup.Clients)),
	}
	for i, d := range lookup.Digests {
		if stored, known := m.records[d]; known {
			rec, budget := stored, *stored.Budget
			rec.Budget = &budget
			found.Records[i] = &rec
		}
	}
	for i, id := range lookup.Clients {
		if id == m.client.ID {
			found.Clients[i] = m.client.Version
		}
	}
	decide(time.Now().Round(0).UTC(), found)
	for i, rec := range found.Records {
		if rec == nil {
			continue
		}
		*m.records[lookup.Digests[i]].Budget = *rec.Budget
		for _, use := range rec.Uses {
			m.grants += use.Grants
			m.charged += use.Cost
		}
	}
	return nil
}

// sums returns the uses that were counted, and those that budgets lost.
func (m *memory) sums() (grants, spent int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rec := range m.records {
		spent += uses - rec.Budget.Remaining
	}
	if m.grants != m.charged {
		err = errors.New("grants of one use each charged another number of uses")
	}
	return m.grants, spent, err
}

func (m *memory) FindKey(context.Context, verifier.KeyID) (*verifier.Record, time.Time, error) {
	return nil, time.Now(), nil
}

func (m *memory) FindDigest(context.Context, verifier.Digest) (*verifier.Record, time.Time, error) {
	return nil, time.Now(), nil
}

func (m *memory) Client(_ context.Context, id string) (*client.Client, error) {
	if id != m.client.ID {
		return nil, nil
	}
	c := m.client
	return &c, nil
}

// StatusChanges knows the one list that all keys are in.
func (m *memory) StatusChanges(_ context.Context, after int64, change func(issuer.StatusChange) error) (int64, time.Time, error) {
	if after > 0 {
		return 1, time.Now(), nil
	}
	return 1, time.Now(), change(issuer.StatusChange{List: 1, Size: issuer.StatusListSize})
}

func (m *memory) SigningKeys(context.Context) ([]issuer.SealedKey, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.signing), time.Now(), nil
}

func (m *memory) ChangeSigningKeys(_ context.Context, change func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error)) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signing, err = change(time.Now(), slices.Clone(m.signing))
	return err
}

func (m *memory) AddUsage(context.Context, []usage.Count) error       { return nil }
func (m *memory) RollUp(context.Context) error                        { return nil }
func (m *memory) Forget(context.Context, time.Time, int) (int, error) { return 0, nil }
func (m *memory) Ping(context.Context) error                          { return nil }
func (m *memory) Close() error                                        { return nil }
