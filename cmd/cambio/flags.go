package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

// storeFlags name the store of a command that reads it.
type storeFlags struct {
	config.Store   `embed:""`
	config.Migrate `embed:""`
	output         `embed:""`
}

// use opens the store for a command that needs it to be there: a mistyped path
// is an error, not a new and empty database.
func (s storeFlags) use(ctx context.Context, do func(*manage.Manager) error) error {
	return s.useStore(ctx, func(db store.Store) error { return do(manage.New(db)) })
}

// changeFlags are those of a command that changes what is in the store.
type changeFlags struct {
	Reason     string `placeholder:"TEXT" help:"Why, for the audit log."`
	storeFlags `embed:""`
}

// create opens the store for a command that may make it.
func (c changeFlags) create(ctx context.Context, p process, do func(*manage.Manager) error) error {
	path, missing := c.missing()
	return c.open(ctx, func(db store.Store) error {
		if missing {
			p.note("made a new store, %s", path)
		}
		return do(manage.New(db).As(p.by(c.Reason)))
	})
}

// change is use for a command that changes something.
func (c changeFlags) change(ctx context.Context, p process, do func(*manage.Manager) error) error {
	return c.changeAt(ctx, p, 0, do)
}

// changeAt changes what is of this version, or of any if it is zero.
func (c changeFlags) changeAt(ctx context.Context, p process, version int64, do func(*manage.Manager) error) error {
	by := p.by(c.Reason)
	by.Version = version
	return c.useStore(ctx, func(db store.Store) error { return do(manage.New(db).As(by)) })
}

// by is on whose behalf commands act: that of the user who runs them.
func (p process) by(reason string) manage.By {
	return manage.By{Operator: p.user, From: p.host, Reason: reason}
}

// acting is by for what is not done by package manage.
func (p process) acting(ctx context.Context) context.Context {
	return audit.By(ctx, audit.Actor{Kind: audit.KindOperator, ID: p.user, From: p.host})
}

// versionFlag makes a change conditional.
type versionFlag struct {
	IfVersion int64 `placeholder:"N" help:"Change it only if it is of this version, as show prints it."`
}

func (s storeFlags) useStore(ctx context.Context, do func(store.Store) error) error {
	if path, missing := s.missing(); missing {
		return fmt.Errorf("CAMBIO_STORE: there is no database %s; name another with --store, or create something in it", path)
	}
	return s.open(ctx, do)
}

func (s storeFlags) missing() (string, bool) {
	path, ok := sqlitePath(s.Store.Store)
	if !ok {
		return "", false
	}
	_, err := os.Stat(path)
	return path, errors.Is(err, fs.ErrNotExist)
}

func (s storeFlags) open(ctx context.Context, do func(store.Store) error) (err error) {
	noMigrate, err := s.Off()
	if err != nil {
		return &usageError{err}
	}
	db, err := openDatabase(ctx, s.Store.Store, noMigrate)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}

func openDatabase(ctx context.Context, url string, noMigrate bool) (store.Store, error) {
	if noMigrate {
		return store.OpenAsIs(ctx, url)
	}
	return store.Open(ctx, url)
}

// sqlitePath returns the path in a store's URL, if it is one of SQLite.
func sqlitePath(url string) (string, bool) {
	path, ok := strings.CutPrefix(url, "sqlite:")
	return path, ok && path != ""
}

// permissionFlag is RESOURCE:ACTION[,ACTION…].
type permissionFlag struct {
	resource string
	actions  []string
}

// UnmarshalText splits at the first colon, as in a scope token.
func (f *permissionFlag) UnmarshalText(text []byte) error {
	resource, actions, found := strings.Cut(string(text), ":")
	f.resource, f.actions = resource, strings.Split(actions, ",")
	p := map[string][]string{resource: f.actions}
	if !found || permission.Validate(p) != nil {
		return fmt.Errorf("%.60q: want RESOURCE:ACTION[,ACTION], such as projects:read,write, of printable ASCII without space, quote and backslash", text)
	}
	return nil
}

// merge returns nil if there are none.
func merge(flags []permissionFlag) verifier.Permissions {
	var p verifier.Permissions
	for _, f := range flags {
		if p == nil {
			p = verifier.Permissions{}
		}
		for _, action := range f.actions {
			if !slices.Contains(p[f.resource], action) {
				p[f.resource] = append(p[f.resource], action)
			}
		}
	}
	return p
}

type refillFlag struct{ verifier.Refill }

// UnmarshalText reads what verifier.ParseRefill does.
func (f *refillFlag) UnmarshalText(text []byte) (err error) {
	f.Refill, err = verifier.ParseRefill(string(text))
	return err
}

type rateFlag struct{ verifier.Rate }

// UnmarshalText reads what verifier.ParseRate does.
func (f *rateFlag) UnmarshalText(text []byte) (err error) {
	f.Rate, err = verifier.ParseRate(string(text))
	return err
}
