// Package audit is the log of what operators and clients changed. It decides how
// entries are chained, and whether a log that is read back is whole; stores keep the
// entries, in the transaction of the change, and manage says what goes into them.
//
// # What the chain proves
//
// The hash of an entry is over the hash of the one before it and over its own bytes.
// Whoever changes, removes or reorders entries breaks the chain, unless they hash
// everything after it anew. They can: the hash has no key. So write down the head
// now and then, where those who can write to the database cannot; the server's own
// log has it in every line about a change. Verify takes such a head and finds out.
package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Entry is one change.
type Entry struct {
	Seq      int64           `json:"seq"` // counts from 1
	At       time.Time       `json:"at"`  // by the database's clock
	Actor    Actor           `json:"actor"`
	Action   string          `json:"action"` // such as key.create
	Target   string          `json:"target"` // the id of what was changed; empty: of several
	Keyspace string          `json:"keyspace,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Before   json.RawMessage `json:"before,omitempty"` // what was changed, as it was
	After    json.RawMessage `json:"after,omitempty"`  // and as it is
}

// Actor is who made a change.
type Actor struct {
	Kind string `json:"kind"` // KindClient, KindOperator or KindServer
	ID   string `json:"id,omitempty"`
	From string `json:"from,omitempty"` // an address, or a host
}

// Kinds of actors.
const (
	KindClient   = "client"   // over HTTP; ID is its client_id
	KindOperator = "operator" // at a command line; ID is the user of the operating system
	KindServer   = "server"   // by itself, as the timetable says
)

type actorKey struct{}

// By returns a context for changes that the actor makes, for what takes no actor
// by another way.
func By(ctx context.Context, a Actor) context.Context { return context.WithValue(ctx, actorKey{}, a) }

// From returns the actor of a context: the server, if none was said.
func From(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return Actor{Kind: KindServer}
}

// Hash is the SHA-256 of an entry and all before it.
type Hash [sha256.Size]byte

// String is base64url, without padding.
func (h Hash) String() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

// Row is an entry as it is stored.
type Row struct {
	Entry        // as the columns say, in a row that was read; At in microseconds
	JSON  []byte // of the entry, as it was hashed
	Hash  Hash
}

// Stored is a row as a store read it. What its columns say goes before what its JSON
// says, which somebody may have damaged: that is for Verify to find out.
func Stored(columns Entry, asJSON []byte, hash Hash) Row {
	r := Row{JSON: asJSON, Hash: hash}
	_ = json.Unmarshal(asJSON, &r.Entry)
	r.Seq, r.At, r.Actor.ID, r.Action = columns.Seq, columns.At, columns.Actor.ID, columns.Action
	r.Target, r.Keyspace = columns.Target, columns.Keyspace
	return r
}

// Line is the entry byte for byte as it was hashed, with its hash as one more member at
// its end: whoever takes that away can compute it.
func (r Row) Line() []byte {
	return fmt.Appendf(nil, `%s,"hash":%q}`, bytes.TrimSuffix(r.JSON, []byte("}")), r.Hash)
}

// Head is where a log ends.
type Head struct {
	Seq  int64
	Hash Hash
}

// String is the form that ParseHead reads: 42:vGVy….
func (h Head) String() string {
	return strconv.FormatInt(h.Seq, 10) + ":" + h.Hash.String()
}

// ErrHead is returned by ParseHead.
var ErrHead = errors.New("a head is SEQ:HASH, as audit verify prints it")

// ParseHead reads what String wrote.
func ParseHead(s string) (h Head, err error) {
	seq, hash, found := strings.Cut(s, ":")
	h.Seq, err = strconv.ParseInt(seq, 10, 64)
	sum, hashErr := base64.RawURLEncoding.Strict().DecodeString(hash)
	if !found || err != nil || hashErr != nil || len(sum) != len(h.Hash) || h.Seq < 0 {
		return Head{}, ErrHead
	}
	h.Hash = Hash(sum)
	return h, nil
}

// Append seals e as the entry that follows h, and returns the new head. At is cut
// to microseconds, which every database keeps.
func (h Head) Append(e Entry) (Row, Head, error) {
	e.Seq, e.At = h.Seq+1, e.At.UTC().Truncate(time.Microsecond)
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return Row{}, h, fmt.Errorf("encoding an audit entry: %w", err)
	}
	row := Row{Entry: e, JSON: bytes.TrimSuffix(text.Bytes(), []byte("\n"))}
	row.Hash = h.hash(row.JSON)
	return row, Head{e.Seq, row.Hash}, nil
}

func (h Head) hash(entry []byte) Hash {
	sum := sha256.New()
	sum.Write(h.Hash[:])
	sum.Write(entry)
	return Hash(sum.Sum(nil))
}
