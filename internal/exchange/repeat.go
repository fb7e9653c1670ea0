package exchange

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// RepeatID names what a client does under an idempotency key, whatever that is.
func RepeatID(clientID, key string) [32]byte {
	return sha256.Sum256([]byte(clientID + "\x00" + key)) // no client id has a NUL
}

// repeat is what a verifier knows of an idempotency key, which must not be empty. Two
// requests are the same if they are for the same, ask for the same, and would be
// charged the same.
func repeat(what, key string, req verifier.Request, until func(first verifier.Grant) time.Time) verifier.Repeat {
	digest := req.Key.Digest()
	text, err := json.Marshal([]any{ // a list, and maps sorted by name: one form only
		what, digest[:], req.Keyspace, sorted(req.Targets), canonical(req.Permissions), req.Unholdable, req.Cost,
	})
	if err != nil {
		panic(err) // of nothing in there
	}
	return verifier.Repeat{
		ID:      RepeatID(req.Client.ID, key),
		Request: sha256.Sum256(text),
		TokenID: issuer.NewID(),
		Until:   until,
	}
}

// canonical is the same for permissions that mean the same. Names are written as
// bytes: JSON would make one of all that are not UTF-8.
func canonical(p verifier.Permissions) [][][]byte {
	if p == nil {
		return nil
	}
	all := make([][][]byte, 0, len(p))
	for _, resource := range slices.Sorted(maps.Keys(p)) {
		names := [][]byte{[]byte(resource)}
		for _, action := range sorted(p[resource]) {
			names = append(names, []byte(action))
		}
		all = append(all, names)
	}
	return all
}

func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
