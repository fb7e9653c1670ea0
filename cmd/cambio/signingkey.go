package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
)

type signingKeyCmd struct {
	List   signingKeyListCmd   `cmd:"" help:"List signing keys: which waits, signs, retires."`
	Rotate signingKeyRotateCmd `cmd:"" help:"Let the next key sign before its time."`
	Revoke signingKeyRevokeCmd `cmd:"" help:"Remove one key at once."`
	Reseal signingKeyResealCmd `cmd:"" help:"Change the master key."`
}

type signingKeyListCmd struct {
	storeFlags `embed:""`
}

func (*signingKeyListCmd) Help() string {
	return `Keys rotate by themselves while a server runs: pending (published, waits) → active (signs) → retiring (published, its tokens live on) → removed. With --json it prints {"signing_keys":[…]}.

Example:

    cambio signing-key list`
}

func (c *signingKeyListCmd) Run(ctx context.Context, p process) error {
	return c.useStore(ctx, func(db store.Store) error { return c.printSigningKeys(ctx, p, db) })
}

func (o output) printSigningKeys(ctx context.Context, p process, db issuer.KeyStore) error {
	keys, err := issuer.Keys(ctx, db)
	if err != nil {
		return err
	}
	views := make([]wire.SigningKey, len(keys))
	rows := [][]string{{"KID", "ALG", "STATE", "SIGNS FROM", "UNTIL", "PUBLISHED UNTIL"}}
	for i, k := range keys {
		v := k.Wire()
		views[i] = v
		rows = append(rows, []string{v.KID, v.Algorithm, v.State, showTime(v.ActivatesAt, "-"), showTime(v.StopsAt, "-"), showTime(v.GoneAt, "-")})
	}
	if o.JSON {
		return printJSON(p.stdout, map[string]any{"signing_keys": views})
	}
	return table(p.stdout, rows)
}

type signingKeyRotateCmd struct {
	Emergency     bool   `help:"The keys that sign now have leaked: remove them at once, and let those that wait sign."`
	Fresh         bool   `help:"With --emergency: the store leaked with its master key, so sign with keys that nobody has seen, and remove all others."`
	MasterKeyFile string `placeholder:"PATH" env:"CAMBIO_MASTER_KEY_FILE" help:"For --fresh: the file with the master key. Or CAMBIO_MASTER_KEY."`
	storeFlags    `embed:""`
}

func (*signingKeyRotateCmd) Help() string {
	return `Without --emergency, the key that waits signs as soon as every cache holds it, 15 minutes after it was made, and the old one stays published until its tokens are dead: no token is refused.

In an emergency the old keys leave the key set at once, and their tokens die as checkers learn of it. Keys must be exchanged anew.

Examples:

    cambio signing-key rotate
    cambio signing-key rotate --emergency
    cambio signing-key rotate --emergency --fresh --master-key-file cambio.key`
}

func (c *signingKeyRotateCmd) Run(ctx context.Context, p process) error {
	if c.Fresh && !c.Emergency {
		return &usageError{errors.New("--fresh is for --emergency")}
	}
	return c.useStore(ctx, func(db store.Store) error {
		how := issuer.Rotation{Emergency: c.Emergency, Fresh: c.Fresh}
		if c.Fresh {
			var err error
			if how.MasterKey, err = givenMasterKey(ctx, p, c.MasterKeyFile, c.Store.Store, db); err != nil {
				return err
			}
		}
		if err := issuer.Rotate(p.acting(ctx), db, how); err != nil {
			return err
		}
		if c.Emergency {
			p.note(emergencyNote)
		}
		return c.printSigningKeys(ctx, p, db)
	})
}

// emergencyNote says how long a key that was removed may be trusted by others.
const emergencyNote = `Servers sign with another key within a second. Who still trusts the removed one:
  our sdk, where tokens have a status: for some seconds, the ttl of a status list
  our sdk otherwise, and whatever heeds Cache-Control: for up to 5 minutes
  jose (Node), PyJWT, Spring and others with a cache of their own: for 5 to 15 minutes
  go-oidc, and mod_auth_openidc by its settings: until they are restarted, or for a day
Restart backends that must not wait.`

type signingKeyRevokeCmd struct {
	KID        string `arg:"" name:"kid" help:"The key, as signing-key list shows it."`
	storeFlags `embed:""`
}

func (*signingKeyRevokeCmd) Help() string {
	return `If it signs, the key that waits takes its place at once. Its tokens die as checkers learn of it.

Example:

    cambio signing-key revoke JJdScl_atu23KfUqEAunkxaHVWuJo_4YGB3mwbXiWYs`
}

func (c *signingKeyRevokeCmd) Run(ctx context.Context, p process) error {
	return c.useStore(ctx, func(db store.Store) error {
		if err := issuer.Revoke(p.acting(ctx), db, c.KID); err != nil {
			return err
		}
		p.note(emergencyNote)
		return c.printSigningKeys(ctx, p, db)
	})
}

type signingKeyResealCmd struct {
	NewMasterKeyFile string `required:"" placeholder:"PATH" help:"The file with the new master key, as cambio master-key --out writes it."`
	MasterKeyFile    string `placeholder:"PATH" env:"CAMBIO_MASTER_KEY_FILE" help:"The file with the present one. Or CAMBIO_MASTER_KEY. Default: cambio.key beside an SQLite database."`
	storeFlags       `embed:""`
}

func (*signingKeyResealCmd) Help() string {
	return `Seals every signing key with another master key, all or none; no key is lost and no token refused. Servers go on with the keys they have opened: give them the new master key and restart them before the next rotation.

Example:

    cambio master-key --out new.key
    cambio signing-key reseal --master-key-file cambio.key --new-master-key-file new.key`
}

func (c *signingKeyResealCmd) Run(ctx context.Context, p process) error {
	return c.useStore(ctx, func(db store.Store) error {
		from, err := givenMasterKey(ctx, p, c.MasterKeyFile, c.Store.Store, db)
		if err != nil {
			return err
		}
		to, err := readMasterKey(c.NewMasterKeyFile)
		if err != nil {
			return fmt.Errorf("--new-master-key-file: %s: %w", c.NewMasterKeyFile, err)
		}
		n, err := issuer.Reseal(p.acting(ctx), db, from, to)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(p.stdout, map[string]int{"resealed": n})
		}
		_, err = fmt.Fprintf(p.stdout, "%d signing keys are sealed with the new master key\n", n)
		return err
	})
}

// givenMasterKey finds the master key as serve does, but makes none.
func givenMasterKey(ctx context.Context, p process, file, url string, keys issuer.KeyStore) (issuer.MasterKey, error) {
	cfg := config.Config{Store: url, MasterKeyFile: file}
	if text := p.getenv(config.EnvMasterKey); text != "" {
		key, err := issuer.ParseMasterKey(text)
		if err != nil {
			return issuer.MasterKey{}, fmt.Errorf("%s: %w", config.EnvMasterKey, err)
		}
		cfg.MasterKey = &key
	}
	if _, sqlite := sqlitePath(url); !sqlite && cfg.MasterKey == nil && file == "" {
		return issuer.MasterKey{}, &usageError{errors.New("--master-key-file or CAMBIO_MASTER_KEY is required with this store")}
	}
	key, _, err := masterKey(ctx, cfg, keys, slog.New(slog.DiscardHandler))
	return key, err
}
