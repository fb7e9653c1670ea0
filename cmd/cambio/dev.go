package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

type devCmd struct {
	Listen        string        `placeholder:"ADDR" help:"Where the server listens. Default: 127.0.0.1:8080, or a free port if that is taken."`
	Backend       string        `placeholder:"ADDR" help:"Where the demo backend listens. Default: 127.0.0.1:8081, or a free port if that is taken."`
	TokenLifetime time.Duration `default:"20s" help:"How long a token lives; short, so that the end of one can be seen."`
	output        `embed:""`
}

func (*devCmd) Help() string {
	return `Starts a server on a throwaway store, with a client, a key and a small backend that is guarded by the sdk, and prints commands to try them with. Ctrl-C ends it and deletes the store.

With --json it prints one object: issuer, client_id, client_secret, key, key_id, backend, audience, store, ops, token_lifetime (seconds) and steps, the commands.

Examples:

    cambio dev
    cambio dev --json --listen 127.0.0.1:0 --backend 127.0.0.1:0`
}

// What dev listens at unless it is told otherwise or it is taken.
const (
	devListen  = "127.0.0.1:8080"
	devBackend = "127.0.0.1:8081"
)

func (c *devCmd) Run(ctx context.Context, p process) (err error) {
	cfg, err := c.config(p)
	if err != nil {
		return &usageError{err}
	}
	dir, err := os.MkdirTemp("", "cambio-dev-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg.Store = "sqlite:" + filepath.Join(dir, "cambio.db")

	backendAt, err := c.listenBackend(ctx, p)
	if err != nil {
		return err
	}
	defer closeAll(backendAt)
	log := newLogger(p.stderr, cfg)

	var backend sync.WaitGroup
	running, stop := context.WithCancel(ctx)
	err = serve(ctx, cfg, log, func(db store.Store, at addresses) error {
		demo, secrets, err := c.furnish(ctx, db, at, backendAt.Addr())
		if err != nil {
			return err
		}
		demo.Store, demo.name = cfg.Store, commandName(p.name)
		handler, err := demoBackend(demo, secrets)
		if err != nil {
			return err
		}
		backend.Go(func() { serveBackend(running, backendAt, handler, log) })
		return c.show(p, demo, secrets)
	})
	stop()
	backend.Wait()
	return err
}

// config is that of a server for this machine, with a master key that dies with
// it.
func (c *devCmd) config(p process) (config.Config, error) {
	s := config.Settings{Listen: c.Listen, OpsListen: "127.0.0.1:0", TokenLifetime: c.TokenLifetime.String()}
	if s.Listen == "" {
		s.Listen = free(p, devListen, "the server")
	}
	none := func(string) string { return "" }
	cfg, err := s.Config(none)
	key := issuer.NewMasterKey()
	cfg.MasterKey, cfg.LogLevel = &key, slog.LevelWarn
	return cfg, err
}

func (c *devCmd) listenBackend(ctx context.Context, p process) (net.Listener, error) {
	addr := c.Backend
	if addr == "" {
		addr = free(p, devBackend, "the backend")
	}
	return listenAt(ctx, "--backend", addr)
}

// free returns addr, or any free port if addr is taken.
func free(p process, addr, who string) string {
	l, err := net.Listen("tcp", addr) //nolint:noctx // returns at once
	if err != nil {
		p.note("%s is taken, so %s gets a free port", addr, who)
		return "127.0.0.1:0"
	}
	closeAll(l)
	return addr
}

// secrets of a demo, which die with it.
type secrets struct{ client, key verifier.Secret }

// furnish makes a client and a key.
func (c *devCmd) furnish(ctx context.Context, db manage.Store, at addresses, backend net.Addr) (demo, secrets, error) {
	m := manage.New(db, nil)
	url := "http://" + backend.String()
	cl, clientSecret, err := m.CreateClient(ctx, manage.NewClient{ID: "dev", Audiences: []string{url}})
	if err != nil {
		return demo{}, secrets{}, err
	}
	uses := int64(100)
	key, err := m.CreateKey(ctx, manage.NewKey{
		Owner:       "user_42",
		Name:        "demo",
		Permissions: verifier.Permissions{"projects": {"read"}},
		Remaining:   &uses,
	})
	if err != nil {
		return demo{}, secrets{}, err
	}
	return demo{
		Issuer:        at.issuer,
		ClientID:      cl.ID,
		KeyID:         key.Key.ID,
		Backend:       url,
		Audience:      url,
		Ops:           "http://" + at.ops.String(),
		TokenLifetime: int64(c.TokenLifetime / time.Second),
	}, secrets{clientSecret, key.Secret}, nil
}

// commandName is how the user would call us again.
func commandName(name string) string {
	if strings.Contains(filepath.ToSlash(name), "/go-build") {
		return "go run ./cmd/cambio"
	}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return filepath.Base(name) // found in PATH
	}
	return quote(name)
}

func (c *devCmd) show(p process, d demo, s secrets) error {
	if c.JSON {
		return printJSON(p.stdout, d.reveal(s))
	}
	_, err := fmt.Fprint(p.stdout, d.screen(s))
	return err
}
