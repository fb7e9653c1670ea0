package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
)

type backupCmd struct {
	Out        string `required:"" placeholder:"PATH" help:"The new file, which must not be there yet."`
	storeFlags `embed:""`
}

func (*backupCmd) Help() string {
	return `Copies an SQLite database as it is at one moment, also while a server runs on it, into a new file that only its owner may read. The file is there when the copy is whole and on the disk. PostgreSQL has tools of its own.

The master key is not in it: keep a copy of cambio.key somewhere else. A server that finds such a copy in the place of its database grants nothing until cambio restored has been run.

With --json it prints {"out":…,"at":…,"bytes":…,"audit_head":…}. Note the head: what was logged after it is not in the backup.

Example:

    cambio backup --out cambio-$(date +%F).db`
}

func (c *backupCmd) Run(ctx context.Context, p process) error {
	if _, ok := sqlitePath(c.Store.Store); !ok {
		return &usageError{errors.New("cambio backup is for SQLite; for PostgreSQL use pg_dump, pg_basebackup or the archive of its log, and after a restore cambio restored")}
	}
	return c.useStore(ctx, func(db store.Store) error {
		file, ok := db.(*sqlite.Store)
		if !ok {
			return errors.New("this store is not of SQLite")
		}
		var progress func(done, of int64)
		if p.terminal && !c.JSON {
			progress = p.progress("bytes are copied")
		}
		copied, err := file.Backup(ctx, c.Out, progress)
		if err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		return c.print(p, copied)
	})
}

func (c *backupCmd) print(p process, copied sqlite.Copied) error {
	if c.JSON {
		return printJSON(p.stdout, map[string]any{"out": c.Out, "at": copied.At.Truncate(time.Second), "bytes": copied.Bytes, "audit_head": copied.Head.String()})
	}
	p.note("The master key is not in it: keep a copy of that somewhere else.")
	_, err := fmt.Fprintf(p.stdout, "%s: %d bytes, audit head %s\n", c.Out, copied.Bytes, copied.Head)
	return err
}
