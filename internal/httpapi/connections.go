package httpapi

import (
	"container/list"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// defaultConnections is what fits into the 1,024 files that a process may often open.
const defaultConnections = 768

// operationsConnections are enough for who asks for health and scrapes.
const operationsConnections = 64

// connections bounds how many are open on a listener. Where there are too many, the
// one closes that has waited for a request longest; if none waits, the newest.
//
// # Why no listener that accepts less
//
// One that stops accepting has everybody wait until somebody leaves, so a few hundred
// connections on which nothing is ever sent would keep all others out for as long as
// they like. Here such connections make room for each other and for a request. A
// client whose kept-alive connection closes opens another.
type connections struct {
	most int
	log  *slog.Logger

	mu    sync.Mutex
	open  map[net.Conn]*list.Element // of quiet; nil: a request is being answered
	quiet *list.List                 // of net.Conn that wait for one, the longest first
	told  time.Time                  // when it was logged last
}

func newConnections(most int, log *slog.Logger) *connections {
	return &connections{most: most, log: log, open: map[net.Conn]*list.Element{}, quiet: list.New()}
}

// changed is the ConnState of an http.Server. A connection that sends its headers
// slowly waits for a request too.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, known := c.open[conn]
	if state == http.StateNew {
		c.enter(conn)
		return
	}
	if !known { // it made room for another
		return
	}
	if at != nil {
		c.quiet.Remove(at)
	}
	switch state {
	case http.StateIdle:
		c.open[conn] = c.quiet.PushBack(conn)
	case http.StateActive:
		c.open[conn] = nil
	default:
		delete(c.open, conn)
	}
}

// enter makes room for a new connection if it must. The caller holds mu.
func (c *connections) enter(conn net.Conn) {
	if len(c.open) >= c.most {
		c.tell()
		longest := c.quiet.Front()
		if longest == nil {
			hangUp(conn)
			return
		}
		waits := c.quiet.Remove(longest).(net.Conn)
		delete(c.open, waits)
		hangUp(waits)
	}
	c.open[conn] = c.quiet.PushBack(conn)
}

// hangUp closes a connection without a farewell of TLS, for which it could wait.
func hangUp(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	_ = conn.Close() // it may be closed already
}

// tell says at most once a minute that connections are closed. The caller holds mu.
func (c *connections) tell() {
	if now := time.Now(); now.Sub(c.told) >= time.Minute {
		c.told = now
		c.log.LogAttrs(context.Background(), slog.LevelWarn, "connections are closed to make room for others", slog.Int("open", len(c.open)))
	}
}
