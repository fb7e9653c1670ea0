package exchange

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/verifier"
)

// Bounds of what is remembered about clients.
const (
	maxClients  = 4096
	readTimeout = 5 * time.Second // a database that hangs must not hang its callers
)

// Caller is an authenticated client.
type Caller struct {
	*client.Client
	by client.Credential // held against the client again, where that is read again
}

// callers remembers clients for a second, so that a busy one is not read for
// every exchange. That decides nothing by itself: a charge confirms the client's
// version in its own transaction, and a credential that does not fit what is
// remembered is held against what is stored.
type callers struct {
	store Clients
	now   func() time.Time
	seen  *lru.Cache[string, remembered]
	reads atomic.Int64  // that were begun
	turn  chan struct{} // of one confirmation at a time
}

type remembered struct {
	client *client.Client
	read   time.Time
	number int64 // of the read, in the order in which they were begun
}

func newCallers(store Clients, now func() time.Time) *callers {
	seen, err := lru.New[string, remembered](maxClients)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &callers{store: store, now: now, seen: seen, turn: make(chan struct{}, 1)}
}

// authenticate fails with a ClientError, or with verifier.ErrUnavailable.
func (k *callers) authenticate(ctx context.Context, id string, by client.Credential) (*Caller, error) {
	if r, ok := k.seen.Get(id); ok && k.now().Sub(r.read) < client.Remembered && by.Proves(r.client) {
		return &Caller{r.client, by}, nil
	}
	return k.reread(ctx, id, by)
}

// reread authenticates against what is stored.
func (k *callers) reread(ctx context.Context, id string, by client.Credential) (*Caller, error) {
	read, number := k.now(), k.reads.Add(1)
	c, err := k.find(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("looking up client: %w: %w", verifier.ErrUnavailable, err)
	}
	if !by.Proves(c) {
		if c == nil {
			return nil, &ClientError{}
		}
		return nil, &ClientError{Known: c.ID}
	}
	k.seen.Add(id, remembered{c, read, number})
	return &Caller{c, by}, nil
}

// confirm returns c as a read finds it that was begun after the call. Those who wait
// meanwhile share the next one, so a flood costs one read at a time.
func (k *callers) confirm(ctx context.Context, c *Caller) (*Caller, error) {
	called := k.reads.Load()
	waiting, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-waiting.Done():
		return nil, fmt.Errorf("looking up client: %w: %w", verifier.ErrUnavailable, waiting.Err())
	}
	if r, ok := k.seen.Get(c.ID); ok && r.number > called && c.by.Proves(r.client) {
		return &Caller{r.client, c.by}, nil
	}
	return k.reread(waiting, c.ID, c.by)
}

// Remembered is how many clients are remembered from their last calls.
func (x *Exchange) Remembered() int { return x.callers.seen.Len() }

// find returns nil for a client that does not exist. What cannot be an id is no
// matter for the store, whose database may not even have all characters.
func (k *callers) find(ctx context.Context, id string) (*client.Client, error) {
	if !client.ValidID(id) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return k.store.Client(ctx, id)
}
