package sdk

import (
	"errors"
	"testing"
	"time"
)

// Between a caller's look at what is kept and its place in the queue, the
// exchange it would have joined may have ended.
func TestAnExchangeThatEndedMeanwhileIsNotRepeated(t *testing.T) {
	now := time.Unix(1000, 0)
	client, err := NewClient(ClientConfig{
		Issuer: "https://keys.example.com", Audience: "a", ClientID: "c", ClientSecret: NewSecret("s"),
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	client.checker.keys.state.Store(&setState{refreshAt: now.Add(time.Hour), deadAt: now.Add(time.Hour)})
	g, s := client.grants, subject{keyspace: "k"}

	fresh := newVerified(claims{issuedAt: 1000, expiresAt: 1300}, &publicKey{}, nil)
	g.settle(s, &exchange{v: fresh, received: now}, nil)
	flight, err := g.join(t.Context(), s, "ck_1", nil)
	if err != nil || flight.v != fresh || len(g.flights) != 0 {
		t.Fatal("a grant that came in meanwhile is exchanged again")
	}

	g.settle(s, &exchange{err: errKeyRefused}, nil)
	flight, err = g.join(t.Context(), s, "ck_1", nil)
	if err != nil || !errors.Is(flight.err, ErrRefused) || len(g.flights) != 0 {
		t.Fatal("a key refused meanwhile is exchanged again")
	}
}
