package bench

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strings"

	"github.com/labstack/echo/v4" //nolint:depguard // the bare handler that a server is compared with

	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/httpapi"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// serverConfig is the first line that a server reads.
type serverConfig struct {
	Name    string
	Store   string // URL; "memory"; empty: the bare handler
	Fixture fixture
	Master  string // key, in base64
	Group   int    // as in verifier.Config
	Groups  int
	Profile string // directory for pprof; empty: none
}

// serving is the first line that a server writes.
type serving struct{ Addr string }

// spending is what a server answers to every further line.
type spending struct {
	CPU        float64 // user and system time, in seconds
	Resident   int64   // bytes
	Allocs     int64   // objects
	AllocBytes int64
	Grants     int64 // in memory only
	Spent      int64 // in memory only
}

// serve is the process of a server. It ends with its input.
func serve(in io.Reader, out io.Writer) (err error) {
	asked, answer := json.NewDecoder(in), json.NewEncoder(out)
	var cfg serverConfig
	if err := asked.Decode(&cfg); err != nil {
		return err
	}
	if cfg.Profile != "" {
		stop, err := profile(cfg)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	public, err := net.Listen("tcp", "127.0.0.1:0")
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
func run(ctx context.Context, cfg serverConfig, public net.Listener) (sums func() (grants, spent int64, err error), ended <-chan error, err error) {
	done := make(chan error, 1)
	nothing := func() (int64, int64, error) { return 0, 0, nil }
	if cfg.Store == "" {
		srv := &http.Server{Handler: bare()}
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
	if cfg.Store == "memory" {
		m := newMemory(cfg.Fixture)
		db, sums = m, m.sums
	} else {
		sums = nothing
		if db, err = store.Open(ctx, cfg.Store); err != nil {
			return nil, nil, err
		}
	}
	ops, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	server, err := assemble(ctx, cfg, db)
	if err != nil {
		return nil, nil, err
	}
	go func() { done <- errors.Join(server.Run(ctx, public, ops), db.Close()) }()
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

// assemble is what cambio serve does, with a log that is written and goes
// nowhere.
func assemble(ctx context.Context, cfg serverConfig, db store.Store) (*httpapi.Server, error) {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(nowhere, nil))
	master, err := issuer.ParseMasterKey(cfg.Master)
	if err != nil {
		return nil, err
	}
	ring, err := issuer.OpenKeyring(ctx, issuer.KeyringConfig{Store: db, MasterKey: master})
	if err != nil {
		return nil, err
	}
	verify, err := verifier.New(verifier.Config{Store: db, Group: cfg.Group, Groups: cfg.Groups})
	if err != nil {
		return nil, err
	}
	const iss = "https://keys.example.com"
	issue, err := issuer.New(issuer.Config{Issuer: iss, Keyring: ring})
	if err != nil {
		return nil, err
	}
	statuses, err := issuer.OpenStatusLists(ctx, issuer.StatusListsConfig{Issuer: issue, Store: db})
	if err != nil {
		return nil, err
	}
	counts := usage.NewRecorder(usage.RecorderConfig{Store: db, Log: log})
	exchanges, err := exchange.New(exchange.Config{
		Clients: db, Keys: db, Revoke: manage.New(db).RevokeFor, Verifier: verify, Issuer: issue, Usage: counts,
	})
	if err != nil {
		return nil, err
	}
	server, err := httpapi.New(httpapi.Config{Issuer: iss, Log: log})
	if err != nil {
		return nil, err
	}
	return server, server.Open(httpapi.Parts{Exchange: exchanges, JWKS: ring.JWKS, Statuses: statuses})
}

// profile writes NAME.cpu and NAME.allocs when it is stopped.
func profile(cfg serverConfig) (stop func() error, err error) {
	runtime.MemProfileRate = 64 << 10
	at := filepath.Join(cfg.Profile, cfg.Name)
	cpu, err := os.Create(at + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(at + ".allocs")
		if err != nil {
			return err
		}
		return errors.Join(cpu.Close(), pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
	}, nil
}

func spentSoFar() (spending, error) {
	heap := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(heap)
	cpu, resident, err := process()
	return spending{
		CPU:        cpu.Seconds(),
		Resident:   resident,
		Allocs:     int64(heap[0].Value.Uint64()),
		AllocBytes: int64(heap[1].Value.Uint64()),
	}, err
}
