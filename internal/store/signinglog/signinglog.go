// Package signinglog says what goes into the audit log when signing keys change. It
// is one for all stores: they write its entries in the transaction of the change.
package signinglog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/issuer"
)

// What can happen to a signing key.
const (
	Add    = "signing-key.add"
	Change = "signing-key.change"
	Reseal = "signing-key.reseal" // with another master key; everything else stays
	Delete = "signing-key.delete"
)

// key is what an entry says of a signing key.
type key struct {
	KID         string    `json:"kid"`
	Algorithm   string    `json:"alg"`
	Generation  int64     `json:"generation"`
	CreatedAt   time.Time `json:"created_at,omitzero"`
	ActivatesAt time.Time `json:"activates_at,omitzero"`
	RemovedAt   time.Time `json:"removed_at,omitzero"`
}

// Entries are those of a change by actor: first of the keys that are deleted, in the
// order of before, then of those that are added or changed, in the order of after.
// Nothing secret is in them, sealed or not.
func Entries(actor audit.Actor, before, after []issuer.SealedKey) ([]audit.Entry, error) {
	var entries []audit.Entry
	add := func(action string, was, is *issuer.SealedKey) error {
		e, err := entry(actor, action, was, is)
		entries = append(entries, e)
		return err
	}
	for i := range before {
		if find(after, before[i].KID) != nil {
			continue
		}
		if err := add(Delete, &before[i], nil); err != nil {
			return nil, err
		}
	}
	for i := range after {
		was := find(before, after[i].KID)
		action := actionOf(was, &after[i])
		if action == "" {
			continue
		}
		if err := add(action, was, &after[i]); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func find(keys []issuer.SealedKey, kid string) *issuer.SealedKey {
	i := slices.IndexFunc(keys, func(k issuer.SealedKey) bool { return k.KID == kid })
	if i < 0 {
		return nil
	}
	return &keys[i]
}

// actionOf is empty for a key that stays as it was; was is nil for a new one.
func actionOf(was, is *issuer.SealedKey) string {
	if was == nil {
		return Add
	}
	resealed := *is
	resealed.Sealed = was.Sealed
	switch {
	case !was.Same(resealed):
		return Change
	case !bytes.Equal(was.Sealed, is.Sealed):
		return Reseal
	}
	return ""
}

func entry(actor audit.Actor, action string, was, is *issuer.SealedKey) (e audit.Entry, err error) {
	e = audit.Entry{Actor: actor, Action: action}
	for _, side := range []struct {
		key  *issuer.SealedKey
		into *json.RawMessage
	}{{was, &e.Before}, {is, &e.After}} {
		if side.key == nil {
			continue
		}
		k := side.key
		e.Target = k.KID
		*side.into, err = json.Marshal(key{k.KID, k.Algorithm, k.Generation, k.CreatedAt, k.ActivatesAt, k.RemovedAt})
		if err != nil {
			return e, fmt.Errorf("signing key %s: %w", k.KID, err)
		}
	}
	return e, nil
}
