package postgres_test

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// The two ways through a proxy.
const (
	forward = iota // to the server
	back
)

// proxy passes bytes between a store and its server, counts round trips, and cuts
// a connection when told to.
type proxy struct {
	listener net.Listener
	server   string

	mu     sync.Mutex
	conns  map[net.Conn]bool
	way    int // that the last bytes went
	trips  int
	passed [2]int // bytes, since reset
	cutAt  [2]int // cut when this many have passed; negative: never
	cut    int    // the server's view of the connection that was cut: its port
}

// behindProxy is url with the proxy in front of its server, which listens on TCP.
func behindProxy(t *testing.T, to string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, server: net.JoinHostPort(q.Get("host"), q.Get("port")), conns: map[net.Conn]bool{}}
	p.reset(-1, -1)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	q.Set("port", port)
	u.RawQuery = q.Encode()
	var running sync.WaitGroup
	running.Go(func() { p.accept(&running) })
	t.Cleanup(func() {
		listener.Close()
		p.closeAll()
		running.Wait()
	})
	return p, u.String()
}

func (p *proxy) accept(running *sync.WaitGroup) {
	for {
		store, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			store.Close()
			continue
		}
		p.mu.Lock()
		p.conns[store], p.conns[server] = true, true
		p.mu.Unlock()
		port := server.LocalAddr().(*net.TCPAddr).Port
		running.Go(func() { p.pass(forward, port, server, store) })
		running.Go(func() { p.pass(back, port, store, server) })
	}
}

func (p *proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// reset counts anew, and cuts when so many bytes have passed.
func (p *proxy) reset(cutForward, cutBack int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.way, p.trips, p.passed, p.cutAt, p.cut = back, 0, [2]int{}, [2]int{cutForward, cutBack}, 0
}

func (p *proxy) counted() (trips int, passed [2]int, cut int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trips, p.passed, p.cut
}

func (p *proxy) pass(way, port int, to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		n, cut := p.count(way, n, port)
		if _, writeErr := to.Write(buf[:n]); writeErr != nil || err != nil || cut {
			return
		}
	}
}

// count returns how many of n bytes may pass, and whether that was all.
func (p *proxy) count(way, n, port int) (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > 0 && way != p.way {
		p.way = way
		if way == forward {
			p.trips++
		}
	}
	cut := p.cutAt[way] >= 0 && p.passed[way]+n >= p.cutAt[way]
	if cut {
		n = p.cutAt[way] - p.passed[way]
		p.cutAt, p.cut = [2]int{-1, -1}, port
	}
	p.passed[way] += n
	return n, cut
}
