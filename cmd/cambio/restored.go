package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/restore"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/issuer"
)

type restoredCmd struct {
	DryRun          bool   `help:"Tell what it would do, and change nothing."`
	Yes             bool   `help:"Do not ask."`
	KeepSigningKeys bool   `help:"Go on signing with the keys of the backup. One that was revoked since then signs again."`
	MasterKeyFile   string `placeholder:"PATH" env:"CAMBIO_MASTER_KEY_FILE" help:"The file with the master key, which seals the new signing keys. Or CAMBIO_MASTER_KEY. Default: cambio.key beside an SQLite database."`
	changeFlags     `embed:""`
}

func (*restoredCmd) Help() string {
	return `A backup does not know what was done after it. This makes every token void that was issued so far, replaces all signing keys, and lets servers answer again that have noticed the restore: all of it or nothing. Run it after every restore, also of a kind that no server notices (the README says which), while servers run or before they start. It is safe to repeat, but makes tokens void each time.

It tells how old the data is, and what has to be done again by hand. Without --yes it asks. With --json it prints {"restored":true,…}; "why" is null if nothing says that the data was restored.

Examples:

    cambio restored --dry-run
    cambio restored --yes --json`
}

func (c *restoredCmd) Run(ctx context.Context, p process) error {
	return c.useStore(ctx, func(db store.Store) error {
		how, err := c.how(ctx, p, db)
		if err != nil {
			return err
		}
		told, err := c.look(ctx, db, how.MasterKey != nil)
		if err != nil {
			return err
		}
		how.After = told.confirmed
		if c.DryRun {
			return c.print(p, told)
		}
		if !c.Yes {
			p.note("%s", told.text("This is"))
			if err := p.confirmed("Every token will be void"); err != nil {
				return err
			}
		}
		begun, err := restore.Begin(ctx, db, how)
		if err != nil {
			return err
		}
		told.Restored, told.Revision, told.Keyspaces = true, &begun.Revision, begun.Keyspaces
		if told.SigningKeys == "replaced" {
			p.note(emergencyNote)
		}
		return c.print(p, told)
	})
}

// how finds the master key, unless there is nothing to seal with it.
func (c *restoredCmd) how(ctx context.Context, p process, db store.Store) (restore.How, error) {
	by := p.by(c.Reason)
	how := restore.How{Reason: by.Reason, Actor: audit.Actor{Kind: audit.KindOperator, ID: by.Operator, From: by.From}}
	keys, _, err := db.SigningKeys(ctx)
	if err != nil || len(keys) == 0 || c.KeepSigningKeys {
		return how, err
	}
	master, err := givenMasterKey(ctx, p, c.MasterKeyFile, c.Store.Store, db)
	how.MasterKey = &master
	return how, err
}

// restoration is what restored has found, and done.
type restoration struct {
	Restored    bool       `json:"restored"` // it was done
	Why         *string    `json:"why"`
	LastChange  *time.Time `json:"last_change"`
	LastUse     *time.Time `json:"last_use"` // the hour
	Age         int64      `json:"age"`      // seconds
	Keys        int64      `json:"keys"`
	Counted     int64      `json:"keys_with_limits"`
	ChangedLate int64      `json:"keys_changed_in_the_last_day"`
	Clients     int64      `json:"clients"`
	SigningKeys string     `json:"signing_keys"` // replaced or kept
	Keyspaces   int        `json:"keyspaces"`
	Revision    *int64     `json:"revision"`

	confirmed int64
}

func (c *restoredCmd) look(ctx context.Context, db store.Store, replace bool) (restoration, error) {
	lineage, err := db.Lineage(ctx)
	if err != nil {
		return restoration{}, err
	}
	holds, err := db.Inventory(ctx)
	if err != nil {
		return restoration{}, err
	}
	spaces, err := db.Keyspaces(ctx)
	told := restoration{
		Why: orNull(lineage.Why), LastChange: timeOrNull(holds.LastChange), LastUse: timeOrNull(holds.LastUse),
		Keys: holds.Keys, Counted: holds.Counted, ChangedLate: holds.ChangedLate, Clients: holds.Clients,
		SigningKeys: "kept", Keyspaces: len(spaces), confirmed: lineage.Confirmed,
	}
	if replace {
		told.SigningKeys = "replaced"
	}
	if newest := holds.Newest(); !newest.IsZero() {
		told.Age = int64(max(0, holds.At.Sub(newest)) / time.Second)
	}
	return told, err
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (c *restoredCmd) print(p process, told restoration) error {
	if c.JSON {
		return printJSON(p.stdout, told)
	}
	begin := "This would be"
	if told.Restored {
		begin = fmt.Sprintf("Every token so far is void; known to checkers within %s. The signing keys are %s.\nThis is", issuer.StatusDelay, told.SigningKeys)
	}
	_, err := fmt.Fprintln(p.stdout, told.text(begin))
	return err
}

// text says what the restored data means.
func (r restoration) text(begin string) string {
	var b strings.Builder
	because := "though nothing says that it was restored"
	if r.Why != nil {
		because = "because " + *r.Why
	}
	fmt.Fprintf(&b, "%s the truth from now on, %s:\n", begin, because)
	fmt.Fprintf(&b, "  last change %s, last use in the hour of %s: %s ago\n",
		showTime(r.LastChange, "never"), showTime(r.LastUse, "never"), time.Duration(r.Age)*time.Second)
	fmt.Fprintf(&b, "  %d of %s have limits: what was used since then is theirs again\n", r.Counted, count(int(r.Keys), "active key"))
	fmt.Fprintf(&b, "  %s changed in the day before the last change\n", count(int(r.ChangedLate), "active key"))
	fmt.Fprintf(&b, "  signing keys: %s\n", r.SigningKeys)
	b.WriteString(`Do again by hand what was done since then; the logs of servers and your own notes tell:
  keys and clients that were revoked, disabled or deleted are good again
  a key that was rotated is the one before; keys and clients that were made are unknown
  client secrets that were revoked are good again, those that were added unknown`)
	if r.SigningKeys == "kept" {
		b.WriteString("\n  signing keys that were revoked sign or are published again: cambio signing-key list")
	}
	return b.String()
}

var errNotConfirmed = errors.New("nothing was changed; say --yes, or answer yes")

// confirmed asks a person.
func (p process) confirmed(what string) error {
	_, _ = fmt.Fprintf(p.stderr, "%s. Go on? Type yes: ", what)
	line, err := bufio.NewReader(p.stdin).ReadString('\n')
	if strings.TrimSpace(line) != "yes" || err != nil && line == "" {
		p.note("")
		return errNotConfirmed
	}
	return nil
}

// restored says whether the data is one that a server answers from.
func (e *examination) restored(ctx context.Context, db restore.Store) {
	const check = "restore"
	lineage, err := db.Lineage(ctx)
	switch {
	case err != nil:
		e.failed(check, err)
	case lineage.Why != "":
		e.note(check, broken, "the data was restored from a backup and is not confirmed: "+lineage.Why, "cambio restored lets servers answer again")
	default:
		e.note(check, wellFound, "nothing says that the data was restored from a backup and not confirmed", "")
	}
}
