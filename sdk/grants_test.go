package sdk

import (
	"errors"
	"testing"
	"time"
)

// offlineGrants are those of a client whose issuer is never reached, and whose
// clock stands. They hold the key set that signed what newGrantOf makes.
func offlineGrants(t *testing.T, now time.Time) *grants {
	t.Helper()
	client, err := NewClient(ClientConfig{
		Issuer: "https://keys.example.com", Audience: "a", ClientID: "c", ClientSecret: NewSecret("s"),
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	client.checker.keys.state.Store(&setState{refreshAt: now.Add(time.Hour), deadAt: now.Add(time.Hour)})
	return client.grants
}

// grantedAt is an exchange that has brought a token.
func grantedAt(now time.Time) *exchange {
	v := newVerified(claims{issuedAt: now.Unix(), expiresAt: now.Unix() + 300}, &publicKey{}, nil)
	return &exchange{v: v, started: now, received: now}
}

// Between a caller's look at what is kept and its place in the queue, the
// exchange it would have joined may have ended.
func TestAnExchangeThatEndedMeanwhileIsNotRepeated(t *testing.T) {
	now := time.Unix(1000, 0)
	g, s := offlineGrants(t, now), subject{keyspace: "k"}

	fresh := grantedAt(now)
	g.settle(s, fresh, now)
	for name, want := range map[string]wanted{"whatever is good": {}, "no older than now": {since: now}} {
		flight, err := g.join(t.Context(), s, "ck_1", want)
		if err != nil || flight.v != fresh.v || g.aloft != 0 {
			t.Fatalf("a grant that came in meanwhile is exchanged again for who wants %s", name)
		}
	}

	g.settle(s, &exchange{err: errKeyRefused, started: now}, now)
	_, err := g.join(t.Context(), s, "ck_1", wanted{})
	if !errors.Is(err, ErrRefused) || g.aloft != 0 {
		t.Fatal("a key refused meanwhile is exchanged again")
	}
}

func TestATokenRenewedMeanwhileIsNotRenewedAgain(t *testing.T) {
	now := time.Unix(1000, 0)
	g, s := offlineGrants(t, now), subject{keyspace: "k"}
	g.settle(s, grantedAt(now.Add(-4*time.Minute)), now)
	old := g.held(s, now)
	if !old.due(now) {
		t.Fatal("not due")
	}
	g.settle(s, grantedAt(now), now)
	if g.refreshAhead(t.Context(), s, "ck_1", old, now); g.aloft != 0 {
		t.Fatal("exchanged")
	}
}
