package load

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// crowd is a number of connections, each with one request under way at a time.
type crowd struct {
	conns []*conn
}

// conn writes prepared bytes and reads no more of an answer than it must: what
// the load costs is not to be the measure of the server.
type conn struct {
	net.Conn
	head    []byte
	keys    Keys
	random  *rand.Rand
	request []byte
	answer  []byte
	took    []time.Duration
}

func dial(ctx context.Context, addr string, f Fixture, k Keys, n int) (*crowd, error) {
	c := &crowd{}
	head := f.request(addr, k)
	for i := range n {
		nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			c.close()
			return nil, err
		}
		c.conns = append(c.conns, &conn{
			Conn: nc, head: head, keys: k,
			random: rand.New(rand.NewPCG(1, uint64(i))), //nolint:gosec // which key comes next is no secret, and the same in every run
			answer: make([]byte, 8<<10),
		})
	}
	return c, nil
}

func (c *crowd) close() {
	for _, one := range c.conns {
		_ = one.Close()
	}
}

// patience is how long an answer is waited for at most.
const patience = 30 * time.Second

// run loads the server for d with at least one request on every connection, and
// waits for the last answers. took is how long each request took. It fails when
// ctx ends, and when an answer is no token or does not come.
func (c *crowd) run(ctx context.Context, d time.Duration) (took []time.Duration, elapsed time.Duration, err error) {
	c.expire(time.Now().Add(d + patience))
	defer context.AfterFunc(ctx, func() { c.expire(time.Now()) })()
	errs := make([]error, len(c.conns))
	begin := time.Now()
	end := begin.Add(d)
	var all sync.WaitGroup
	for i, one := range c.conns {
		all.Go(func() { errs[i] = one.run(begin, end) })
	}
	all.Wait()
	elapsed = time.Since(begin)
	for _, one := range c.conns {
		took = append(took, one.took...)
	}
	return took, elapsed, cmp.Or(ctx.Err(), cmp.Or(errs...))
}

// expire lets whatever waits after t fail.
func (c *crowd) expire(t time.Time) {
	for _, one := range c.conns {
		_ = one.SetDeadline(t) // fails only for a closed one
	}
}

func (c *conn) run(now, end time.Time) error {
	c.took = c.took[:0]
	for len(c.took) == 0 || now.Before(end) {
		c.request = c.keys.Append(append(c.request[:0], c.head...), c.random.IntN(c.keys.N))
		if _, err := c.Write(c.request); err != nil {
			return err
		}
		if err := c.read(); err != nil {
			return err
		}
		answered := time.Now()
		c.took = append(c.took, answered.Sub(now))
		now = answered
	}
	return nil
}

// read reads one answer, which must be a token.
func (c *conn) read() error {
	n, whole := 0, -1
	for whole < 0 || n < whole {
		m, err := c.Read(c.answer[n:])
		if n += m; err != nil {
			return err
		}
		if n == len(c.answer) {
			return io.ErrShortBuffer
		}
		if whole < 0 {
			if whole, err = length(c.answer[:n]); err != nil {
				return err
			}
		}
	}
	if !bytes.HasPrefix(c.answer, []byte("HTTP/1.1 200 ")) || !bytes.Contains(c.answer[:n], []byte(`"access_token":"`)) {
		return fmt.Errorf("answered %q", c.answer[:n])
	}
	return nil
}

// length of an answer, with its header; negative if that is not there yet.
func length(answer []byte) (int, error) {
	header, _, complete := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !complete {
		return -1, nil
	}
	_, rest, found := bytes.Cut(header, []byte("\r\nContent-Length: "))
	if !found {
		return 0, fmt.Errorf("no length: %q", answer)
	}
	digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
	body, err := strconv.Atoi(string(digits))
	return len(header) + len("\r\n\r\n") + body, err
}

// percentile p of a list that it sorts.
func percentile(took []time.Duration, p float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(p*float64(len(took))))]
}
