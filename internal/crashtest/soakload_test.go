package crashtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/sdk"
)

// pace is the rest that each caller takes between two requests, so that the soak
// leaves room for what else runs.
const pace = 25 * time.Millisecond

// soakCallers is how many call at once.
const soakCallers = 24

// load lets callers of all kinds call, until the function it returns is called,
// which returns when all is answered.
func (s *soak) load() (rest func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var all sync.WaitGroup
	for i := range soakCallers {
		all.Go(func() {
			c := &soakCaller{soak: s}
			for n := i; ctx.Err() == nil; n++ {
				c.call(n)
				time.Sleep(pace)
			}
		})
	}
	return func() { cancel(); all.Wait(); s.client.CloseIdleConnections() }
}

// soakCaller is one of the callers. It keeps the last token that it got.
type soakCaller struct {
	*soak
	token string
	age   int64 // the epoch of the token
}

// call makes the nth call: to each replica in turn, of each kind in turn, with each
// key in turn.
func (c *soakCaller) call(n int) {
	replica, k := n%len(c.replicas), c.keys[n/len(c.replicas)%len(c.keys)]
	switch n / len(c.replicas) / len(c.keys) % 8 {
	case 0, 1, 2:
		c.exchange(replica, k)
	case 3:
		c.verify(replica, k)
	case 4:
		c.insist(k)
	case 5:
		c.introspect(replica)
	case 6:
		c.fetch(replica)
	case 7:
		c.check()
	}
}

// book books a charge with the key and with the replica.
func (c *soakCaller) book(replica int, k *key, a answer) charge {
	became := a.charge()
	k.book(became)
	c.answered[replica].book(became)
	if became == refused {
		c.t.Errorf("replica %d answered %d %s", replica, a.status, a.body)
	}
	return became
}

func (c *soakCaller) exchange(replica int, k *key) {
	age := c.epoch.Load()
	a := ask(c.client, exchangeOf(k.Secret, c.replicas[replica].Load().public, c.callers[replica]))
	if c.book(replica, k, a) == granted {
		c.token, c.age = a.said().AccessToken, age
	}
}

func (c *soakCaller) verify(replica int, k *key) {
	body, _ := json.Marshal(map[string]string{"key": k.Secret}) // of strings
	to := c.replicas[replica].Load().public + wire.PathVerify
	c.book(replica, k, ask(c.client, request(http.MethodPost, to, c.callers[replica], wire.MediaJSON, string(body))))
}

// insist sends one exchange until it is answered, and once more for good measure, to
// the two replicas that are killed in turn: it is charged once.
func (c *soakCaller) insist(k *key) {
	idempotency := fmt.Sprintf("%q", fmt.Sprintf("%p %d", c, time.Now().UnixNano()))
	became, may, answers := unavailable, false, 0
	for try := 0; try < 400 && answers < 2; try++ {
		req := exchangeOf(k.Secret, c.replicas[1+try%2].Load().public, c.insister)
		req.Header.Set(wire.HeaderIdempotencyKey, idempotency)
		a := ask(c.client, req)
		switch now := a.charge(); now {
		case unknown:
			may = true
		case unavailable:
		case refused:
			c.t.Errorf("a repeat was answered %d %s", a.status, a.body)
			return
		default:
			if became == granted && now == spent {
				c.t.Error("the repeat of a grant was refused as spent")
			}
			became, answers = now, answers+1
			continue
		}
		time.Sleep(pace)
	}
	if answers == 0 && may {
		became = unknown
	}
	k.book(became)
}

func (c *soakCaller) introspect(replica int) {
	if c.token == "" {
		return
	}
	a := ask(c.client, formOf(c.replicas[replica].Load().public+wire.PathIntrospect, c.callers[replica], url.Values{wire.FieldToken: {c.token}}))
	c.harmless("introspection", a)
}

// fetch asks what needs no authentication.
func (c *soakCaller) fetch(replica int) {
	for _, path := range []string{wire.PathJWKS, wire.PathStatusLists, wire.PathOAuthServer, wire.PathOpenAPI} {
		c.harmless(path, c.get(c.replicas[replica].Load().public+path))
	}
}

// harmless holds an answer to being good, or none for want of a server or database.
func (c *soakCaller) harmless(what string, a answer) {
	if a.err == nil && a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
		c.t.Errorf("%s was answered %d %s", what, a.status, a.body)
	}
}

// check checks the last token offline: it is good, or that cannot be told now.
func (c *soakCaller) check() {
	if c.token == "" {
		return
	}
	_, err := c.checker.Check(c.t.Context(), c.token)
	if err != nil && !errors.Is(err, sdk.ErrUnavailable) && c.age == c.epoch.Load() {
		c.t.Errorf("a good token is refused: %v", err)
	}
}

// hostility lets strangers and a client that was taken over do their worst, until the
// function it returns is called.
func (s *soak) hostility() (peace func()) {
	s.t.Helper()
	var thief account
	s.read(&thief, "client", "create", "thief", "--audience", audience)
	ctx, cancel := context.WithCancel(s.t.Context())
	var all sync.WaitGroup
	for i, attack := range []func(i int){
		func(int) { s.wrongKey(thief) },
		func(int) { s.wrongSecret() },
		s.garbage,
		func(int) { s.slowly(ctx) },
	} {
		all.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				attack(n)
				time.Sleep(pace)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// wrongKey tries keys that do not exist, and what is no key.
func (s *soak) wrongKey(thief account) {
	for i, secret := range []string{
		"ck_" + strings.Repeat("A", 38), "nothing", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", strings.Repeat("k", 600), s.keys[0].Secret + "x",
	} {
		s.unmoved(ask(s.client, exchangeOf(secret, s.replicas[i%3].Load().public, thief)))
	}
}

func (s *soak) wrongSecret() {
	for i := range s.replicas {
		s.unmoved(ask(s.client, exchangeOf(s.keys[0].Secret, s.replicas[i].Load().public, account{s.callers[0].ID, "cs_" + strings.Repeat("B", 38)})))
	}
}

// unmoved holds a refusal to being one: no grant, and no fault of ours.
func (s *soak) unmoved(a answer) {
	if a.err == nil && (a.status < 400 || a.status >= 500 && a.status != http.StatusServiceUnavailable) {
		s.t.Errorf("an attack was answered %d %s", a.status, a.body)
	}
}

// garbage sends what is no HTTP, or no good one.
func (s *soak) garbage(n int) {
	const post = "POST " + wire.PathToken + " HTTP/1.1\r\nHost: x\r\n"
	texts := []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"GET / HTTP/9.9\r\n\r\n",
		post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		post + "Content-Type: " + wire.MediaForm + "\r\nContent-Length: 99999999\r\n\r\n" + strings.Repeat("a=b&", 9000),
		post + "X: " + strings.Repeat("y", 20_000) + "\r\n\r\n",
		post + "Content-Type: " + wire.MediaForm + "\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
		strings.Repeat("\x00", 1000) + "\r\n\r\n",
	}
	conn, err := s.dial(n)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(conn, texts[n%len(texts)]) // it may be cut off
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, 64<<10))
}

// slowly opens connections that say little, and leaves them to the server.
func (s *soak) slowly(ctx context.Context) {
	var open []net.Conn
	for n := range 30 {
		if conn, err := s.dial(n); err == nil {
			_, _ = io.WriteString(conn, "POST "+wire.PathToken+" HTTP/1.1\r\nHost: x\r\nX-Slow: ")
			open = append(open, conn)
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(7 * time.Second): // longer than headers may take
	}
	for _, conn := range open {
		_ = conn.Close()
	}
}

func (s *soak) dial(n int) (net.Conn, error) {
	addr := strings.TrimPrefix(s.replicas[n%len(s.replicas)].Load().public, "http://")
	return net.DialTimeout("tcp", addr, 5*time.Second)
}
