package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	weakKey   = 20  // characters; a shorter key can be guessed
	maxName   = 255 // bytes
	startable = 6   // characters of a key that are kept when its row names none
)

// keyspace reads the name of a group of keys; rows that name none are in default.
func (f *fields) keyspace(names ...string) string {
	name := f.rules.Keyspace
	if name == "" {
		name = f.text(names...)
	}
	if name == "" {
		name = "default"
	}
	if err := verifier.ValidateKeyspace(name); err != nil {
		_, member := f.get(names...)
		f.refuse(member, "%v; --keyspace names another", err)
		return ""
	}
	return name
}

// owner is kept or refused: a changed one would be somebody else.
func (f *fields) owner(names ...string) string {
	owner := f.text(names...)
	if err := verifier.ValidateOwner(owner); err != nil {
		_, member := f.get(names...)
		f.refuse(member, "%v", err)
		return ""
	}
	return owner
}

// externalID is kept or refused: it is there to be found by.
func (f *fields) externalID(names ...string) string {
	id := f.text(names...)
	if verifier.ValidateName(id) != nil {
		_, member := f.get(names...)
		f.refuse(member, "must be at most 255 bytes of printable text")
		return ""
	}
	return id
}

// name is for people, so what does not print is left out of it.
func (f *fields) name() string {
	text := f.text("name")
	name := cut(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, text), maxName)
	if name != text {
		f.note("name: was cut to %d bytes that print", len(name))
	}
	return name
}

// start is what people recognise a key by. Of a key that is known, and whose row
// names no start, it is a part that gives nothing away.
func (f *fields) start(digest verifier.Digest, key *verifier.Secret) string {
	start := f.text("start")
	if verifier.NewSecret(start).Digest() == digest {
		f.note("start: is left out, since it is the key")
		return ""
	}
	if start == "" && key != nil {
		whole := key.Reveal()
		start = cut(whole, min(startable, len(whole)/4))
	}
	if key != nil && len(start) > len(key.Reveal())/2 {
		f.note("start: is left out, since it is most of the key")
		return ""
	}
	if verifier.ValidateName(start) != nil || len(start) > manage.MaxStart {
		f.note("start: is left out, since it is more than %d bytes or does not print", manage.MaxStart)
		return ""
	}
	return start
}

// cut shortens s to at most n bytes of whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// plain reads a key itself; nil if it is not one, which is said.
func (f *fields) plain(name string) *verifier.Secret {
	raw, _ := f.get(name)
	var key string
	if json.Unmarshal(raw, &key) != nil {
		f.refuse(name, "must be a string")
		return nil
	}
	switch n := utf8.RuneCountInString(key); {
	case key == "" || len(key) > verifier.MaxKey:
		f.refuse(name, "must be a key of 1 to %d bytes", verifier.MaxKey)
		return nil
	case n < weakKey && !f.rules.AllowWeak:
		f.refuse(name, "has %d characters, and under %d a key can be guessed; --allow-weak takes it all the same", n, weakKey)
		return nil
	case n < weakKey:
		f.found.weak = true
		f.note("%s: has %d characters, so it can be guessed", f.path+name, n)
	}
	secret := verifier.NewSecret(key)
	return &secret
}

// digest reads the SHA-256 of a key in any of its forms.
func (f *fields) digest(name string) verifier.Digest {
	raw, _ := f.get(name)
	var text string
	err := errDigest
	var digest verifier.Digest
	if json.Unmarshal(raw, &text) == nil {
		digest, err = parseDigest(text)
	}
	if err != nil {
		f.refuse(name, "%v", err)
	}
	return digest
}

// metadata is an object here; what is something else is kept as its member value. No
// key is lost for what is only written beside it.
func (f *fields) metadata(names ...string) json.RawMessage {
	raw, name := f.get(names...)
	raw, _ = unwrap(raw) // what is no JSON is text
	if raw == nil {
		return nil
	}
	var compact bytes.Buffer
	if json.Compact(&compact, raw) != nil {
		f.refuse(name, "must be JSON")
		return nil
	}
	object := json.RawMessage(compact.Bytes())
	if object[0] != '{' {
		f.note("%s: is no object, so it is kept as {\"value\":…}", f.path+name)
		object = member("value", object)
	}
	if manage.ValidImportedMetadata(object) != nil && len(object) <= manage.MaxImportedMetadata {
		f.note("%s: has a name twice, half a surrogate pair, or is nested too deep, so it is kept as text in {\"value\":…}", f.path+name)
		object = member("value", quoted(compact.String()))
	}
	if len(object) > verifier.MaxTokenMetadata && len(object) <= manage.MaxImportedMetadata {
		f.note("%s: is longer than %d bytes, so it is never published in tokens", f.path+name, verifier.MaxTokenMetadata)
	}
	return object
}

// member is an object with one member.
func member(name string, value json.RawMessage) json.RawMessage {
	return slices.Concat([]byte(`{"`+name+`":`), value, []byte(`}`))
}

// quoted is JSON as a text. U+FFFD, which stands for broken text wherever it comes,
// is written as the escape that it may be anywhere in JSON.
func quoted(raw string) json.RawMessage {
	text, err := json.Marshal(strings.ReplaceAll(raw, "\ufffd", `\ufffd`))
	if err != nil {
		panic(err) // of a string
	}
	return text
}

// permissionMap reads {"resource":["action",…],…}.
func (f *fields) permissionMap(name string) verifier.Permissions {
	raw := f.jsonText(name)
	if raw == nil {
		return nil
	}
	var p verifier.Permissions
	if json.Unmarshal(raw, &p) != nil {
		f.refuse(name, "must be an object of lists of strings")
		return nil
	}
	return f.permissions(p)
}

// permissions drops what allows nothing, and says which names no scope can carry.
func (f *fields) permissions(p verifier.Permissions) verifier.Permissions {
	var kept verifier.Permissions
	for _, resource := range slices.Sorted(maps.Keys(p)) {
		actions := distinct(p[resource])
		if len(actions) == 0 {
			f.note("permissions: resource %.40q allows no action, so it is left out", resource)
			continue
		}
		for _, action := range actions {
			if permission.Validate(map[string][]string{resource: {action}}) != nil {
				f.note("permissions: %.40q of %.40q is kept, but no scope can name it", action, resource)
			}
		}
		if kept == nil {
			kept = verifier.Permissions{}
		}
		kept[resource] = actions
	}
	return kept
}

// distinct keeps the first of each.
func distinct(list []string) []string {
	var kept []string
	for _, s := range list {
		if !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	return kept
}

// counted is a budget with this many uses left; nil is no limit.
func (f *fields) counted(remaining *int64, name string) verifier.Budget {
	switch {
	case remaining == nil:
		return verifier.Budget{}
	case *remaining < 0:
		f.note("%s: is below 0, so it is 0", f.path+name)
		return verifier.Budget{Counted: true}
	}
	return verifier.Budget{Counted: true, Remaining: *remaining}
}

var errTooLong = errors.New("is longer than 292 years")

// milliseconds fails for more than a time.Duration holds.
func milliseconds(ms int64) (time.Duration, error) {
	if ms > math.MaxInt64/int64(time.Millisecond) {
		return 0, errTooLong
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// rate is limit uses in a window of so many milliseconds; without a window there is
// no limit. name is said in notes and errors.
func (f *fields) rate(limit, window int64, name string) verifier.Rate {
	length, err := milliseconds(window)
	if err != nil {
		f.refuse(name, "the window %v", err)
		return verifier.Rate{}
	}
	if length <= 0 {
		return verifier.Rate{}
	}
	if limit > int64(length) {
		f.note("%s: is more than one use a nanosecond, so there is no limit", f.path+name)
		return verifier.Rate{}
	}
	rate := verifier.Rate{Limit: limit, Window: length, Burst: limit}
	if err := rate.Validate(); err != nil {
		f.refuse(name, "%v", err)
		return verifier.Rate{}
	}
	return rate
}
