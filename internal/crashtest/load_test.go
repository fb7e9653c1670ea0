package crashtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

// callers is how many exchange at once.
const callers = 64

// tally is what callers were told of one key.
type tally struct {
	acknowledged atomic.Int64
	unknown      atomic.Int64 // may have been charged: no answer, or 503 that says so
	spent        atomic.Int64
}

// load is callers that exchange keys until they are stopped.
type load struct {
	t            *testing.T
	in           *installation
	client       *http.Client
	acknowledged atomic.Int64
	unavailable  atomic.Int64 // told that nothing was charged, or never sent
	stopped      chan struct{}
	all          sync.WaitGroup
}

func (in *installation) newLoad() *load {
	transport := &http.Transport{MaxIdleConnsPerHost: callers}
	in.t.Cleanup(transport.CloseIdleConnections)
	return &load{
		t: in.t, in: in, stopped: make(chan struct{}),
		client: &http.Client{Transport: transport, Timeout: patience},
	}
}

// load lets callers exchange, each key in turn, by these servers in turn.
func (in *installation) load(servers ...*server) *load {
	l := in.newLoad()
	for i := range callers {
		l.all.Go(func() {
			for n := i; !l.over(); n++ {
				if !l.exchange(servers[n%len(servers)], in.keys[n/len(servers)%len(in.keys)]) {
					time.Sleep(time.Millisecond) // who is turned away may breathe
				}
			}
		})
	}
	in.t.Cleanup(l.stop)
	return l
}

// each exchanges so many times, and returns when all is answered.
func (in *installation) each(times int, servers ...*server) {
	l := in.newLoad()
	for i := range callers {
		l.all.Go(func() {
			for n := range times {
				turn := i*times + n
				l.exchange(servers[turn%len(servers)], in.keys[turn/len(servers)%len(in.keys)])
			}
		})
	}
	l.all.Wait()
	if n := l.unavailable.Load(); n > 0 {
		in.t.Errorf("%d exchanges were turned away", n)
	}
}

func (l *load) over() bool {
	select {
	case <-l.stopped:
		return true
	default:
		return false
	}
}

// stop returns when every caller has its answer.
func (l *load) stop() {
	if !l.over() {
		close(l.stopped)
	}
	l.all.Wait()
}

// more waits for n more exchanges to be acknowledged.
func (l *load) more(n int64) {
	l.t.Helper()
	want := l.acknowledged.Load() + n
	until(l.t, "exchanges are acknowledged", func() bool { return l.acknowledged.Load() >= want })
}

// exchange asks once, books the answer, and reports whether there was one.
func (l *load) exchange(s *server, k *key) bool {
	status, reason, err := post(l.client, s, l.in, k)
	switch {
	case err != nil && neverSent(err):
		l.unavailable.Add(1)
		return false
	case err != nil, status == http.StatusServiceUnavailable && reason == wire.ReasonOutcomeUnknown:
		k.unknown.Add(1)
	case status == http.StatusOK:
		k.acknowledged.Add(1)
		l.acknowledged.Add(1)
	case status == http.StatusTooManyRequests && reason == wire.ReasonSpent:
		k.spent.Add(1)
	case status == http.StatusServiceUnavailable && reason == wire.ReasonUnavailable:
		l.unavailable.Add(1)
		return false
	default:
		l.t.Errorf("an exchange was answered %d %s", status, reason)
	}
	return true
}

// neverSent reports whether the request cannot have reached a server.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// post is one exchange, as a client writes it. An answer that was not read to its
// end is none.
func post(c *http.Client, s *server, in *installation, k *key) (status int, reason string, err error) {
	form := url.Values{
		wire.FieldGrantType:        {wire.GrantTokenExchange},
		wire.FieldSubjectTokenType: {wire.TypeAPIKey},
		wire.FieldSubjectToken:     {k.Secret},
		wire.FieldAudience:         {audience},
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.public+wire.PathToken, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", wire.MediaForm)
	req.SetBasicAuth(in.client.ID, in.client.Secret)
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	var failed wire.ErrorResponse
	if resp.StatusCode != http.StatusOK {
		err = json.Unmarshal(body, &failed)
	}
	return resp.StatusCode, failed.Reason, err
}
