package crashtest

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// callers is how many exchange at once.
const callers = 64

// tally is what callers were told of one key.
type tally struct {
	acknowledged atomic.Int64
	unknown      atomic.Int64 // may have been charged: no answer, or 503 that says so
	spent        atomic.Int64
}

func (t *tally) book(c charge) {
	switch c {
	case granted:
		t.acknowledged.Add(1)
	case unknown:
		t.unknown.Add(1)
	case spent:
		t.spent.Add(1)
	}
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
	a := ask(l.client, exchangeOf(k.Secret, s.public, l.in.client))
	became := a.charge()
	k.book(became)
	switch became {
	case granted:
		l.acknowledged.Add(1)
	case unavailable:
		l.unavailable.Add(1)
		return false
	case refused:
		l.t.Errorf("an exchange was answered %d %s", a.status, a.body)
	}
	return true
}
