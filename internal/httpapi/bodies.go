package httpapi

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/labstack/echo/v4"
)

// maxBodies is how many bytes of bodies are held at a time, of all requests: some four
// thousand full forms. A body is read before its request takes a slot, so slots do not
// bound them, and a connection of HTTP/2 brings a hundred at once.
const maxBodies = 64 << 20

// bodies counts what was read of the requests that are not answered yet.
type bodies struct {
	most int64
	held atomic.Int64
}

// bounded has a request fail with errBusy that would take more than is left. Where a
// body cannot be read to its end, nobody knows what follows it, so no other request is
// taken from that connection.
func (b *bodies) bounded(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		body := &countedBody{ReadCloser: r.Body, all: b, answer: c.Response().Header()}
		r.Body = body
		defer func() { b.held.Add(-body.read) }()
		return next(c)
	}
}

type countedBody struct {
	io.ReadCloser
	all    *bodies
	answer http.Header
	read   int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if b.all.held.Add(int64(n)) > b.all.most {
		n, err = 0, errBusy
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.answer.Set("Connection", "close")
	}
	return n, err
}
