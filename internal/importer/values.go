package importer

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// get returns the first of these members that is there, and its name.
func (f *fields) get(names ...string) (json.RawMessage, string) {
	for _, name := range names {
		key := name
		if f.fold {
			key = foldName(name)
		}
		if value, ok := f.members[key]; ok {
			return value, name
		}
	}
	return nil, names[0]
}

func (f *fields) has(names ...string) bool {
	value, _ := f.get(names...)
	return value != nil
}

// sub returns the members of a member that is an object, or its JSON text; no
// members if it is not there.
func (f *fields) sub(name string) *fields {
	sub := &fields{fold: f.fold, path: f.path + name + ".", rules: f.rules, found: f.found}
	if object := f.jsonText(name); object != nil {
		var err error
		if sub.members, err = parseObject(object, f.fold); err != nil {
			f.refuse(name, "must be an object")
		}
	}
	return sub
}

// text reads a string, or a number as it is written, as some ids are.
func (f *fields) text(names ...string) string {
	raw, name := f.get(names...)
	if raw == nil {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if _, ok := whole(string(raw)); ok {
		return string(raw)
	}
	f.refuse(name, "must be a string")
	return ""
}

// whole reads a whole number, which may stand in a string; nil if there is none.
func (f *fields) whole(names ...string) *int64 {
	raw, name := f.get(names...)
	if raw == nil {
		return nil
	}
	n, ok := whole(unquoted(raw))
	if !ok {
		f.refuse(name, "must be a whole number of 64 bits")
		return nil
	}
	return &n
}

// whole reads 1000, and 1000.0 and 1e3 too where a float holds that exactly.
func whole(s string) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || x != math.Trunc(x) || math.Abs(x) >= 1<<53 {
		return 0, false
	}
	return int64(x), true
}

func unquoted(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// flag reads a boolean, as JSON or as databases write it. What is not there is true.
func (f *fields) flag(name string) bool {
	raw, _ := f.get(name)
	if raw == nil {
		return true
	}
	switch strings.ToLower(unquoted(raw)) {
	case "true", "t", "1":
		return true
	case "false", "f", "0":
		return false
	}
	f.refuse(name, "must be true or false")
	return true
}

// Times are from 1970 on, and up to what manage takes.
var (
	firstTime = time.Unix(0, 0)
	lastTime  = time.Date(2200, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// instant reads a time: RFC 3339, what psql prints, or milliseconds since 1970. The
// zero time means that there is none.
func (f *fields) instant(names ...string) time.Time {
	t, name := f.anyInstant(names...)
	if t.After(lastTime) {
		f.refuse(name, "must be before 2200")
		return time.Time{}
	}
	return t
}

// expiry reads a time as instant does. Tokens know whole seconds, so what is left of
// one is cut off; one after 2200 is never.
func (f *fields) expiry(names ...string) time.Time {
	t, name := f.anyInstant(names...)
	if t.After(lastTime) {
		f.note("%s: is so late that the key never expires", f.path+name)
		return time.Time{}
	}
	return t.Truncate(time.Second)
}

func (f *fields) anyInstant(names ...string) (time.Time, string) {
	raw, name := f.get(names...)
	if raw == nil {
		return time.Time{}, name
	}
	t, zoned, err := parseTime(unquoted(raw))
	switch {
	case err != nil:
		f.refuse(name, "%v", err)
		return time.Time{}, name
	case t.Before(firstTime):
		f.refuse(name, "must not be before 1970")
		return time.Time{}, name
	case !zoned:
		f.note("%s: names no time zone, so it was read as UTC", f.path+name)
	}
	return t.UTC(), name
}

var errTime = errors.New("must be a time, such as 2026-11-23T09:07:44Z, or milliseconds since 1970")

// parseTime also tells whether s says in which zone it is.
func parseTime(s string) (t time.Time, zoned bool, err error) {
	if ms, ok := whole(s); ok {
		return time.UnixMilli(ms), true, nil
	}
	s = strings.Replace(strings.ToUpper(s), " ", "T", 1)
	const local = "2006-01-02T15:04:05"
	for _, zone := range []string{"Z07:00", "Z07", "Z0700"} {
		if t, err := time.Parse(local+zone, s); err == nil {
			return t, true, nil
		}
	}
	if t, err := time.Parse(local, s); err == nil {
		return t, false, nil
	}
	return time.Time{}, false, errTime
}

// jsonText reads JSON, or text that holds JSON, as deep as it is wrapped; nil if
// there is none, or null.
func (f *fields) jsonText(names ...string) json.RawMessage {
	raw, name := f.get(names...)
	raw, err := unwrap(raw)
	if err != nil {
		f.refuse(name, "%v", err)
		return nil
	}
	return raw
}

var (
	errNotJSON = errors.New("must be JSON")
	errWrapped = errors.New("is JSON in a string in a string, too often")
)

// unwrap returns the JSON that is in raw; beside an error, the innermost text that
// was found.
func unwrap(raw json.RawMessage) (json.RawMessage, error) {
	for range 4 {
		text, is := textOf(raw)
		switch text = strings.TrimSpace(text); {
		case !is:
			return raw, nil
		case text == "", text == "null":
			return nil, nil
		case !json.Valid([]byte(text)):
			return raw, errNotJSON
		}
		raw = json.RawMessage(text)
	}
	return raw, errWrapped
}

// textOf returns the text that raw is, if it is one.
func textOf(raw json.RawMessage) (text string, is bool) {
	is = json.Unmarshal(raw, &text) == nil
	return text, is
}

var errDigest = errors.New("must be a SHA-256 in hexadecimal, base64 or base64url")

// parseDigest reads 32 bytes in hexadecimal, base64 or base64url, with or without
// padding. Their lengths tell them apart.
func parseDigest(s string) (verifier.Digest, error) {
	var sum []byte
	err := errDigest
	switch bare := strings.TrimSuffix(s, "="); {
	case len(s) == 2*len(verifier.Digest{}):
		sum, err = hex.DecodeString(s)
	case len(bare) != base64.RawStdEncoding.EncodedLen(len(verifier.Digest{})):
	case strings.ContainsAny(bare, "-_"):
		sum, err = base64.RawURLEncoding.Strict().DecodeString(bare)
	default:
		sum, err = base64.RawStdEncoding.Strict().DecodeString(bare)
	}
	if err != nil || len(sum) != len(verifier.Digest{}) {
		return verifier.Digest{}, errDigest // and not the decoder's words, which hold a part of it
	}
	return verifier.Digest(sum), nil
}
