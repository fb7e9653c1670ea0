// Package importer reads keys that were made elsewhere, and has them stored so that
// they go on working with what was left of their limits. It decides what each member
// of another system's row means here; manage decides which keys are good and stores
// them.
//
// A key is never guessed at: a row holds a digest or the key itself, and which of
// them is declared by its format, its member or the caller. Errors and notes name
// members, and values that are no secrets; they never hold a key or a digest.
//
// # Why rows and not files
//
// A file of a million rows has a few bad ones. Each row stands for itself: it is
// mapped, with notes about what has no counterpart here, or it is refused with the
// member that is wrong, and the rows after it go on. Nothing holds more than a batch
// of them in memory, but for 16 bytes of every digest, to find keys that come twice.
package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
)

// Row is one row of a source.
type Row struct {
	Number int // of its line in a file of lines, else of the row, from 1
	Key    manage.ImportKey
	Notes  []string // what is not as it was
	Err    error    // why there is no Key
}

// Source yields rows until it ends, or once with an error that ends it: what it
// reads from is broken, or ctx is done.
type Source iter.Seq2[Row, error]

// Rules are the caller's part in what rows mean.
type Rules struct {
	Keyspace         string   // of every key; empty: the one its row names
	PlaintextConfigs []string // configurations of Better Auth whose rows hold the key itself
	AllowWeak        bool     // accept keys under 20 characters, which can be guessed

	// Now decides what is left of limits. Zero is no time.
	Now time.Time
}

// plaintext reports whether rows of this configuration hold keys and not digests.
func (r Rules) plaintext(config string) bool { return slices.Contains(r.PlaintextConfigs, config) }

// text is a row as it was read.
type text struct {
	number int
	json   []byte
	err    error // why it could not be read, if it could be passed over
}

// mapped makes a source of rows that were read.
func mapped(rows iter.Seq2[text, error], rules Rules, fold bool, key func(*fields) manage.ImportKey) Source {
	return func(yield func(Row, error) bool) {
		for t, err := range rows {
			if err != nil {
				yield(Row{}, err)
				return
			}
			if !yield(mapRow(t, rules, fold, key), nil) {
				return
			}
		}
	}
}

func mapRow(t text, rules Rules, fold bool, key func(*fields) manage.ImportKey) Row {
	row := Row{Number: t.number, Err: t.err}
	if row.Err != nil {
		return row
	}
	members, err := parseObject(t.json, fold)
	if err != nil {
		row.Err = err
		return row
	}
	f := &fields{members: members, fold: fold, rules: rules, found: &findings{}}
	row.Key = key(f)
	row.Key.Weak = f.found.weak
	row.Notes = f.found.notes
	if bad := f.found.bad; len(bad) > 0 {
		row.Err = errors.New(strings.Join(bad, "; "))
	}
	return row
}

// findings are what there is to say about a row.
type findings struct {
	notes, bad []string
	weak       bool // its key can be guessed
}

// fields reads the members of an object, and collects what is wrong with them.
type fields struct {
	members map[string]json.RawMessage // without those that are null
	fold    bool                       // members are named as foldName writes it
	path    string                     // of the object in its row, with a point at its end
	rules   Rules
	found   *findings
}

func (f *fields) note(format string, args ...any) {
	f.found.notes = append(f.found.notes, fmt.Sprintf(format, args...))
}

func (f *fields) refuse(name, format string, args ...any) {
	f.found.bad = append(f.found.bad, f.path+name+": "+fmt.Sprintf(format, args...))
}
