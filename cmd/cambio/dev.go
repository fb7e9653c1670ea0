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
	freePort   = "127.0.0.1:0"
)

func (c *devCmd) Run(ctx context.Context, p process) (err error) {
	lis, err := c.listen(ctx, p)
	if err != nil {
		return err
	}
	defer closeAll(lis.public, lis.ops, lis.backend)
	cfg, err := c.config(lis)
	if err != nil {
		return &usageError{err}
	}
	dir, err := os.MkdirTemp("", "cambio-dev-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg.Store = "sqlite:" + filepath.Join(dir, "cambio.db")
	log := newLogger(p.stderr, cfg)

	var backend sync.WaitGroup
	running, stop := context.WithCancel(ctx)
	err = serve(ctx, cfg, lis.public, lis.ops, log, func(db store.Store, iss string) error {
		demo, secrets, err := c.furnish(ctx, p, db, lis)
		if err != nil {
			return err
		}
		demo.Issuer, demo.Store, demo.name = iss, cfg.Store, commandName(p.name)
		handler, err := demoBackend(demo, secrets)
		if err != nil {
			return err
		}
		backend.Go(func() { serveBackend(running, lis.backend, handler, log) })
		return c.show(p, demo, secrets)
	})
	stop()
	backend.Wait()
	return err
}

// listeners of a demo.
type listeners struct{ public, ops, backend net.Listener }

func (c *devCmd) listen(ctx context.Context, p process) (l listeners, err error) {
	if l.public, err = listenOrFree(ctx, p, "--listen", c.Listen, devListen); err != nil {
		return listeners{}, err
	}
	if l.backend, err = listenOrFree(ctx, p, "--backend", c.Backend, devBackend); err != nil {
		closeAll(l.public)
		return listeners{}, err
	}
	if l.ops, err = listenAt(ctx, "operations", freePort); err != nil {
		closeAll(l.public, l.backend)
		return listeners{}, err
	}
	return l, nil
}

// listenOrFree listens where the flag says. Without it, that is the usual
// address, or a free port if it is taken.
func listenOrFree(ctx context.Context, p process, flag, addr, usual string) (net.Listener, error) {
	if addr != "" {
		return listenAt(ctx, flag, addr)
	}
	l, err := listenAt(ctx, flag, usual)
	if err == nil {
		return l, nil
	}
	if l, err = listenAt(ctx, flag, freePort); err == nil {
		p.note("%s is taken; using %s in its place", usual, l.Addr())
	}
	return l, err
}

// config is that of a server for this machine, with a master key that dies with
// it.
func (c *devCmd) config(l listeners) (config.Config, error) {
	s := config.Settings{
		Listen:        l.public.Addr().String(),
		OpsListen:     l.ops.Addr().String(),
		TokenLifetime: c.TokenLifetime.String(),
	}
	cfg, err := s.Config(func(string) string { return "" })
	key := issuer.NewMasterKey()
	cfg.MasterKey, cfg.LogLevel = &key, slog.LevelWarn
	return cfg, err
}

// secrets of a demo, which die with it.
type secrets struct{ client, key verifier.Secret }

// furnish makes a client and a key.
func (c *devCmd) furnish(ctx context.Context, p process, db manage.Store, l listeners) (demo, secrets, error) {
	m := manage.New(db).As(p.by("cambio dev"))
	url := "http://" + l.backend.Addr().String()
	cl, err := m.CreateClient(ctx, manage.NewClient{ID: "dev", Audiences: []string{url}})
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
		ClientID:      cl.ID,
		KeyID:         key.Key.ID,
		Backend:       url,
		Audience:      url,
		Ops:           "http://" + l.ops.Addr().String(),
		TokenLifetime: int64(c.TokenLifetime / time.Second),
	}, secrets{cl.Secret, key.Secret}, nil
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
