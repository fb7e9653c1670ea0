package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/issuer"
)

// signing looks at the keys that sign, the key that opens them, and at what they sign
// beside tokens.
func (e *examination) signing(ctx context.Context, db store.Store) {
	sealed, now, err := db.SigningKeys(ctx)
	if err != nil {
		e.failed("signing keys", err)
		return
	}
	e.timetable(ctx, db)
	master, ok := e.masterKey(len(sealed) > 0)
	if !ok {
		return
	}
	ring, err := issuer.OpenKeyring(ctx, issuer.KeyringConfig{
		Store: &rehearsal{sealed, now}, MasterKey: master, Algorithms: e.cfg.SigningAlgs, Period: e.cfg.SigningPeriod,
	})
	switch {
	case errors.Is(err, issuer.ErrSealed):
		e.note("master key", broken, "it does not open the signing keys in the store", "give the one that they were sealed with; a copy should be with the backups")
		return
	case err != nil:
		e.failed("signing keys", err)
		return
	}
	if len(sealed) > 0 {
		e.note("master key", wellFound, "it opens the signing keys in the store", "")
	}
	if err := e.statusLists(ctx, db, ring); err != nil {
		e.note("status lists", broken, err.Error(), "until they can be had, backends that follow them refuse every token")
	}
}

// rehearsal is a copy of the signing keys: what a keyring would make is made in the
// copy alone.
type rehearsal struct {
	keys []issuer.SealedKey
	now  time.Time
}

// SigningKeys implements issuer.KeyStore.
func (r *rehearsal) SigningKeys(context.Context) ([]issuer.SealedKey, time.Time, error) {
	return slices.Clone(r.keys), r.now, nil
}

// ChangeSigningKeys implements issuer.KeyStore.
func (r *rehearsal) ChangeSigningKeys(_ context.Context, change func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error)) error {
	keys, err := change(r.now, slices.Clone(r.keys))
	if err == nil {
		r.keys = keys
	}
	return err
}

// masterKey looks for the key as serve does, and makes none.
func (e *examination) masterKey(needed bool) (issuer.MasterKey, bool) {
	const check = "master key"
	if e.cfg.MasterKey != nil {
		return *e.cfg.MasterKey, true
	}
	file, given := masterKeyPath(e.cfg)
	key, err := readMasterKey(file)
	switch {
	case err == nil:
		return key, true
	case !errors.Is(err, fs.ErrNotExist):
		e.note(check, broken, file+": "+err.Error(), "cambio serve needs it")
	case needed:
		e.note(check, broken, "there is no file "+file+", and nothing else opens the signing keys in the store", "put it back from a backup, or name it with CAMBIO_MASTER_KEY_FILE")
	case given:
		e.note(check, broken, "there is no file "+file, "cambio master-key --out "+quote(file))
	default:
		e.note(check, wellFound, "there is none yet", "cambio serve makes "+file+" at its first start")
	}
	return issuer.MasterKey{}, false
}

// timetable looks whether every algorithm has a key that signs and one that waits.
func (e *examination) timetable(ctx context.Context, db issuer.KeyStore) {
	const check = "signing keys"
	keys, err := issuer.Keys(ctx, db)
	if err != nil {
		e.failed(check, err)
		return
	}
	if len(keys) == 0 {
		e.note(check, wellFound, "there are none yet", "cambio serve makes them at its first start")
		return
	}
	for _, algorithm := range e.cfg.SigningAlgs {
		e.algorithm(check, algorithm, keys)
	}
}

func (e *examination) algorithm(check, algorithm string, keys []issuer.KeyView) {
	var signs, waits *issuer.KeyView
	for i, k := range keys {
		switch {
		case k.Algorithm != algorithm:
		case k.State == issuer.Active:
			signs = &keys[i]
		case k.State == issuer.Pending && waits == nil:
			waits = &keys[i]
		}
	}
	const start = "a running server makes one within a second: start one with these settings"
	switch {
	case signs == nil && waits == nil:
		e.note(check, broken, "no key signs with "+algorithm, start)
	case signs == nil:
		e.note(check, broken, fmt.Sprintf("no key signs with %s before %s", algorithm, waits.ActivatesAt.UTC().Format(time.RFC3339)), "cambio signing-key rotate --emergency lets the one that waits sign now")
	case waits == nil:
		e.note(check, doubtful, fmt.Sprintf("%s signs with %s, and no key waits to follow it", signs.KID, algorithm), start)
	default:
		e.note(check, wellFound, fmt.Sprintf("%s signs with %s until %s does, on %s", signs.KID, algorithm, waits.KID, waits.ActivatesAt.UTC().Format(time.RFC3339)), "")
	}
}

// statusLists signs every list, as a server would for the first who asks.
func (e *examination) statusLists(ctx context.Context, db issuer.StatusStore, ring *issuer.Keyring) error {
	signer, err := issuer.New(issuer.Config{Issuer: cmp.Or(e.cfg.Issuer, "http://"+e.cfg.Listen), Keyring: ring})
	if err != nil {
		return err
	}
	lists, err := issuer.OpenStatusLists(ctx, issuer.StatusListsConfig{Issuer: signer, Store: db})
	if err != nil {
		return err
	}
	uris, err := lists.URIs(ctx)
	if err != nil {
		return err
	}
	for _, uri := range uris {
		if _, err := lists.Token(ctx, path.Base(uri)); err != nil {
			return fmt.Errorf("list %s: %w", path.Base(uri), err)
		}
	}
	revision, _, err := db.StatusChanges(ctx, math.MaxInt64-1, func(issuer.StatusChange) error { return nil })
	if err == nil {
		e.note("status lists", wellFound, fmt.Sprintf("%s can be signed, at revision %d", count(len(uris), "list"), revision), "")
	}
	return err
}
