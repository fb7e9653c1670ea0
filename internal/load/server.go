package load

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/metrics"
	"strings"

	"github.com/labstack/echo/v4" //nolint:depguard // the bare handler that servers are compared with

	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/wire"
)

// InMemory is a store that costs next to nothing, in place of a URL.
const InMemory = "memory"

// ServerConfig is the first line that a server reads.
type ServerConfig struct {
	Store   string  // URL; InMemory; empty: a bare handler of echo with a constant answer
	Fixture Fixture // what a store in memory holds
	Master  string  // key, in base64
	Group   int     // as in verifier.Config
	Groups  int
}

// serving is the first line that a server writes.
type serving struct{ Addr string }

// Spending is what a server answers to every further line.
type Spending struct {
	CPU        float64 // user and system time, in seconds; zero: not known here
	Resident   int64   // bytes
	Allocs     int64   // objects
	AllocBytes int64
	Grants     int64 // in memory only
	Spent      int64 // in memory only
}

// Serve is the process of a server, on a free port of loopback. It ends with its
// input, after the exchanges that are under way.
func Serve(in io.Reader, out io.Writer) (err error) {
	asked, answer := json.NewDecoder(in), json.NewEncoder(out)
	var cfg ServerConfig
	if err := asked.Decode(&cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	public, err := listen(ctx)
	if err != nil {
		return err
	}
	sums, ended, err := run(ctx, cfg, public)
	if err != nil {
		return err
	}
	if err := answer.Encode(serving{public.Addr().String()}); err != nil {
		return err
	}
	for {
		var line struct{}
		if err := asked.Decode(&line); errors.Is(err, io.EOF) {
			cancel()
			return <-ended
		} else if err != nil {
			return err
		}
		spent, err := spentSoFar()
		if err != nil {
			return err
		}
		if spent.Grants, spent.Spent, err = sums(); err != nil {
			return err
		}
		if err := answer.Encode(spent); err != nil {
			return err
		}
	}
}

// run serves until ctx ends.
func run(ctx context.Context, cfg ServerConfig, public net.Listener) (sums func() (grants, spent int64, err error), ended <-chan error, err error) {
	done := make(chan error, 1)
	nothing := func() (int64, int64, error) { return 0, 0, nil }
	if cfg.Store == "" {
		srv := &http.Server{Handler: bare(), ReadHeaderTimeout: patience}
		context.AfterFunc(ctx, func() { _ = srv.Close() })
		go func() {
			if err := srv.Serve(public); !errors.Is(err, http.ErrServerClosed) {
				done <- err
			}
			close(done)
		}()
		return nothing, done, nil
	}
	var db store.Store
	if cfg.Store == InMemory {
		m := newMemory(cfg.Fixture)
		db, sums = m, m.sums
	} else {
		sums = nothing
		if db, err = store.Open(ctx, cfg.Store); err != nil {
			return nil, nil, err
		}
	}
	a, err := assemble(ctx, cfg, db, "https://keys.example.com")
	if err != nil {
		return nil, nil, err
	}
	go func() { done <- errors.Join(a.run(ctx, public), db.Close()) }()
	return sums, done, nil
}

// bare answers as many bytes as an exchange does.
func bare() http.Handler {
	body, err := json.Marshal(wire.TokenResponse{
		AccessToken:     strings.Repeat("x", 800),
		IssuedTokenType: wire.TypeAccessToken,
		TokenType:       "Bearer",
		ExpiresIn:       300,
		Scope:           "invoices:read projects:read projects:write",
	})
	if err != nil {
		panic(err)
	}
	e := echo.New()
	e.POST(wire.PathToken, func(c echo.Context) error { return c.JSONBlob(http.StatusOK, body) })
	return e
}

func listen(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", "127.0.0.1:0")
}

func spentSoFar() (Spending, error) {
	heap := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(heap)
	cpu, resident, err := process()
	return Spending{
		CPU:        cpu.Seconds(),
		Resident:   resident,
		Allocs:     int64(heap[0].Value.Uint64()),
		AllocBytes: int64(heap[1].Value.Uint64()),
	}, err
}
