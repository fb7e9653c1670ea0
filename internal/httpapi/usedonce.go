package httpapi

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"
)

// Bounds of what is remembered of assertions, about 100 bytes each. One client cannot
// fill it for all.
const (
	maxUsed       = 1 << 18
	maxUsedByEach = 1 << 16 // some 1,000 a second that live for a minute
)

// usedOnce remembers assertions until they expire, so that each is taken once (RFC
// 7523 §3, on jti). It is that of one server: behind a load balancer an assertion is
// taken once by each. What is full refuses, and forgets nothing before its time.
type usedOnce struct {
	most, each int

	mu      sync.Mutex
	swept   int64              // everything that expires until then is forgotten, and refused
	expires map[int64][]useKey // by the second
	used    map[useKey]string  // by whom
	clients map[string]int     // how many are of each
}

type useKey [sha256.Size]byte

func newUsedOnce(most, each int) *usedOnce {
	return &usedOnce{most: most, each: each, expires: map[int64][]useKey{}, used: map[useKey]string{}, clients: map[string]int{}}
}

var errUsed = badAssertion("it was used before")

// use takes an assertion, which must have been verified. It fails with errUsed for one
// that was taken before, or with errBusy where there is no room.
func (u *usedOnce) use(a assertion, now time.Time) error {
	key := useKey(sha256.Sum256([]byte(a.clientID + "\x00" + a.id))) // no id of a client has a zero byte
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sweep(now.Unix())
	_, used := u.used[key]
	switch {
	case used, a.expires <= u.swept:
		return errUsed
	case len(u.used) >= u.most, u.clients[a.clientID] >= u.each:
		return fmt.Errorf("%w: no room for another client_assertion", errBusy)
	}
	u.used[key] = a.clientID
	u.expires[a.expires] = append(u.expires[a.expires], key)
	u.clients[a.clientID]++
	return nil
}

// sweep forgets what has expired. A clock that steps back brings nothing back. The
// seconds are few: those that an assertion may live.
func (u *usedOnce) sweep(now int64) {
	if now <= u.swept {
		return
	}
	u.swept = now
	for second, keys := range u.expires {
		if second > now {
			continue
		}
		for _, key := range keys {
			by := u.used[key]
			if u.clients[by]--; u.clients[by] == 0 {
				delete(u.clients, by)
			}
			delete(u.used, key)
		}
		delete(u.expires, second)
	}
}
