package main

import (
	"context"
	"fmt"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/store/schema"
)

type migrateCmd struct {
	DryRun       bool `help:"Tell what would be done, and do nothing."`
	config.Store `embed:""`
	output       `embed:""`
}

func (*migrateCmd) Help() string {
	return `Brings the schema of the store up to date, as serve does when it starts, unless it is told CAMBIO_MIGRATE=off. Any number of processes may do it at once, while servers of the version before go on: one migrates, and the others wait. Needs no master key.

With --json it prints {"before":…,"version":…,"newest":…,"oldest":…}: the version that the schema had and has, 0 for an empty store; the newest that this binary knows; and what a binary must know at least to run on it, 0 where nothing says so.

Examples:

    cambio migrate --dry-run
    CAMBIO_STORE=postgres:///cambio cambio migrate`
}

// migrated is what migrate prints.
type migrated struct {
	Before  int64 `json:"before"`
	Version int64 `json:"version"`
	Newest  int64 `json:"newest"`
	Oldest  int64 `json:"oldest"`
}

func (c *migrateCmd) Run(ctx context.Context, p process) error {
	before, err := store.Schema(ctx, c.Store.Store)
	if err != nil {
		return err
	}
	after := before
	if !c.DryRun {
		if after, err = migrate(ctx, c.Store.Store); err != nil {
			return err
		}
	}
	done := migrated{before.Version, after.Version, after.Newest, after.Needs}
	if c.JSON {
		return printJSON(p.stdout, done)
	}
	_, err = fmt.Fprintln(p.stdout, done)
	return err
}

func migrate(ctx context.Context, url string) (schema.State, error) {
	db, err := store.Open(ctx, url)
	if err != nil {
		return schema.State{}, err
	}
	if err := db.Close(); err != nil {
		return schema.State{}, err
	}
	return store.Schema(ctx, url)
}

func (m migrated) String() string {
	switch {
	case m.Version < m.Newest:
		return fmt.Sprintf("schema %d, which cambio migrate brings to %d", m.Version, m.Newest)
	case m.Version > m.Newest:
		return fmt.Sprintf("schema %d, which is newer than this binary's %d but takes it", m.Version, m.Newest)
	case m.Before < m.Version:
		return fmt.Sprintf("schema %d, which was %d", m.Version, m.Before)
	}
	return fmt.Sprintf("schema %d, the newest", m.Version)
}
