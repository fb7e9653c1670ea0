package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
)

// files looks at what an SQLite database lies on.
func (e *examination) files() {
	path, ok := sqlitePath(e.cfg.Store)
	if !ok {
		return
	}
	e.modes(path)
	free, all, err := diskSpace(filepath.Dir(path))
	if err != nil {
		e.note("disk", doubtful, "its free space is not known: "+err.Error(), "")
		return
	}
	state, do := judgeDisk(free, all)
	e.note("disk", state, fmt.Sprintf("%d MiB of %d MiB are free where the database is", free>>20, all>>20), do)
}

// modes looks for files of the database that others may read.
func (e *examination) modes(path string) {
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			continue // the store tells of one that must be there
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			e.note("files", doubtful, fmt.Sprintf("the mode of %s is %04o, so others may read or change what is in it", name, mode), "chmod 600 "+quote(name))
		} else if name == path {
			e.note("files", wellFound, name+" is for its owner only", "")
		}
	}
}

// judgeDisk takes bytes. An exchange that finds no room is refused with 503.
func judgeDisk(free, all uint64) (state, do string) {
	const do1 = "make room: without any, no key can be charged"
	switch {
	case free < 100<<20:
		return broken, do1
	case free < 1<<30 || free < all/20:
		return doubtful, do1
	}
	return wellFound, ""
}

var errProbe = errors.New("that was all")

// writing writes something and takes it back, and holds the database's clock against
// ours.
func (e *examination) writing(ctx context.Context, db manage.Store) {
	probe := manage.Done{Answer: []byte(`""`)}
	_, _ = rand.Read(probe.ID[:]) // never fails (crypto/rand)
	var theirs time.Time
	before := time.Now()
	err := db.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
		theirs = tx.Now()
		probe.Until = theirs
		return errors.Join(tx.Remember(ctx, probe), errProbe)
	})
	after := time.Now()
	if !errors.Is(err, errProbe) || err.Error() != errProbe.Error() {
		e.note("writing", broken, fmt.Sprint(err), "give the server the right to write to its database")
		return
	}
	e.note("writing", wellFound, "the database takes what is written to it", "")
	ahead := clockAhead(theirs, before, after)
	state, what, do := judgeClock(ahead)
	e.note("clock", state, what, do)
}

// clockAhead returns how far a clock that was read between before and after is ahead
// of ours, at least; negative: behind.
func clockAhead(theirs, before, after time.Time) time.Duration {
	switch {
	case theirs.Before(before):
		return theirs.Sub(before)
	case theirs.After(after):
		return theirs.Sub(after)
	}
	return 0
}

func judgeClock(ahead time.Duration) (state, what, do string) {
	const ntp = "set both by NTP: keys and budgets go by the database's clock, and whoever checks tokens goes by its own"
	what = "the database's agrees with this machine's"
	off := ahead.Abs()
	if off > time.Second {
		what = fmt.Sprintf("the database's is %s %s this machine's", off.Round(time.Millisecond), yes(ahead > 0, "ahead of", "behind"))
	}
	switch {
	case off > 30*time.Second:
		return broken, what, ntp
	case off > time.Second:
		return doubtful, what, ntp
	}
	return wellFound, what, ""
}

// log verifies the end of the audit log.
func (e *examination) log(ctx context.Context, db audit.Log) {
	const check, end = "audit log", 1000
	report, err := audit.VerifyEnd(ctx, db, end)
	switch {
	case err != nil:
		e.failed(check, err)
	case len(report.Faults) > 0:
		e.note(check, broken, report.Faults[0].What, "find out who writes to the database past Cambio; cambio audit verify tells all of it")
	case report.Head.Seq == 0:
		e.note(check, wellFound, "it is empty", "")
	default:
		what := fmt.Sprintf("the last %d of its %d entries are as they were written", report.Entries, report.Head.Seq)
		e.note(check, wellFound, what, "keep its head where nobody can change it, for cambio audit verify --head "+report.Head.String())
	}
}

// clients looks for those that cannot do what they are there for, or have a secret
// too many.
func (e *examination) clients(ctx context.Context, db manage.Reader) {
	const check = "clients"
	all, err := db.Clients(ctx)
	if err != nil {
		e.failed(check, err)
		return
	}
	if len(all) == 0 {
		e.note(check, doubtful, "there is none, so nobody can call a server", adminCommand(e.cfg.Store))
		return
	}
	before := len(e.found)
	for _, c := range all {
		if !c.Disabled {
			e.client(c)
		}
	}
	if len(e.found) == before {
		e.note(check, wellFound, fmt.Sprintf("%s, each with all that it needs", count(len(all), "client")), "")
	}
}

// changeover is how long two secrets of a client are nothing to wonder at.
const changeover = 30 * 24 * time.Hour

func (e *examination) client(c client.Client) {
	check := "client " + c.ID
	if c.Holds(client.TokensExchange) && len(c.Audiences) == 0 {
		e.note(check, doubtful, "it has no audience, so it can exchange keys for nobody", "cambio client update "+c.ID+" --audience URL")
	}
	if c.Algorithm != "" && !slices.Contains(e.cfg.SigningAlgs, c.Algorithm) {
		e.note(check, broken, "it gets no token: nothing is signed with "+c.Algorithm+" here", "add it to CAMBIO_SIGNING_ALGS, or cambio client update "+c.ID+" --algorithm ''")
	}
	if n := len(c.Secrets); n > 1 && time.Since(c.Secrets[n-1].CreatedAt) > changeover {
		e.note(check, doubtful, fmt.Sprintf("it has %d secrets, and the newest is more than %d days old", n, changeover/(24*time.Hour)),
			"when no program uses the old one any more: cambio client secret revoke "+c.ID+" "+c.Secrets[0].ID())
	}
}

// keyspaces names those where a checksum proves nothing.
func (e *examination) keyspaces(ctx context.Context, db manage.Reader) {
	all, err := db.Keyspaces(ctx)
	if err != nil {
		e.failed("keyspaces", err)
		return
	}
	for _, ks := range all {
		if ks.ImportedKeys {
			e.note("keyspace "+ks.Name, wellFound, "it may hold keys that were made elsewhere, so whatever is presented as a key of it is looked up",
				"once all of them have been rotated: cambio keyspace update "+ks.Name+" --no-imported-keys")
		}
	}
}
