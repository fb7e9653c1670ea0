package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// maxNest is how deep the JSON of a body may be nested: as deep as metadata may be,
// with some to spare.
const maxNest = 24

var errJSON = errors.New("it is no JSON object, of valid Unicode and not nested too deep")

// members are those of a JSON object, read one by one by their exact names. What is
// wrong with them is collected, so that a caller learns all of it at once; what was
// not read is unknown.
type members struct {
	left   map[string]json.RawMessage
	faults []wire.FieldProblem // of the form: 400
	values []error             // InvalidErrors: 422
}

// parseMembers reads an object. No bytes are an object without members. It fails for
// what is no JSON, or has a name twice in one object.
func parseMembers(body []byte) (*members, error) {
	m := &members{left: map[string]json.RawMessage{}}
	if len(bytes.TrimSpace(body)) == 0 {
		return m, nil
	}
	if !utf8.Valid(body) {
		return nil, formError("", errJSON)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	start, err := dec.Token()
	if err != nil || start != json.Delim('{') {
		return nil, formError("", errJSON)
	}
	if err := walkObject(dec, 1); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, formError("", errJSON)
	}
	return m, json.Unmarshal(body, &m.left)
}

// walkObject reads the rest of an object and fails on what two parsers might read in
// two ways.
func walkObject(dec *json.Decoder, depth int) error {
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		switch {
		case err != nil || !ok || broken(name):
			return formError("", errJSON)
		case seen[name]:
			return formError(name, errors.New("is there twice"))
		}
		seen[name] = true
		if err := walkValue(dec, depth); err != nil {
			return err
		}
	}
	return closing(dec)
}

func walkValue(dec *json.Decoder, depth int) error {
	t, err := dec.Token()
	text, _ := t.(string)
	if err != nil || broken(text) || depth == maxNest {
		return formError("", errJSON)
	}
	switch t {
	case json.Delim('{'):
		return walkObject(dec, depth+1)
	case json.Delim('['):
		for dec.More() {
			if err := walkValue(dec, depth+1); err != nil {
				return err
			}
		}
		return closing(dec)
	}
	return nil
}

func closing(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return formError("", errJSON)
	}
	return nil
}

// broken reports what the decoder writes for half a surrogate pair: U+FFFD.
func broken(text string) bool { return strings.ContainsRune(text, utf8.RuneError) }

// given reads a member that must not be null; nil: it is not there.
func given[T any](m *members, name string) *T {
	raw, ok := m.left[name]
	delete(m.left, name)
	if !ok {
		return nil
	}
	value := new(T)
	if decode(raw, value) != nil {
		m.faults = append(m.faults, wire.FieldProblem{Field: name, Detail: "must be " + kindOf(value)})
		return nil
	}
	return value
}

// nullable reads a member of which null says the same as nothing.
func nullable[T any](m *members, name string) *T {
	if m.null(name) {
		delete(m.left, name)
	}
	return given[T](m, name)
}

// patched reads a member of which null is none (RFC 7396): the zero T. nil: what it
// is about stays.
func patched[T any](m *members, name string) *T {
	if m.null(name) {
		delete(m.left, name)
		return new(T)
	}
	return given[T](m, name)
}

// parsed reads a text that has a form of its own, such as 1000/month; null is none.
func parsed[T any](m *members, name string, parse func(string) (T, error)) *T {
	if m.null(name) {
		return patched[T](m, name)
	}
	text := given[string](m, name)
	if text == nil {
		return nil
	}
	value, err := parse(*text)
	if err != nil {
		m.values = append(m.values, &manage.InvalidError{Field: name, Reason: err})
	}
	return &value
}

func (m *members) null(name string) bool { return string(m.left[name]) == "null" }

// wrong tells all that is wrong with an object whose members were read: with its
// form, or else with its values, of which invalid knows more.
func (m *members) wrong(invalid error) error {
	for _, name := range slices.Sorted(maps.Keys(m.left)) {
		m.faults = append(m.faults, wire.FieldProblem{Field: clip(name), Detail: "is not known here"})
	}
	if len(m.faults) > 0 {
		return &fieldsError{http.StatusBadRequest, m.faults}
	}
	return errors.Join(errors.Join(m.values...), invalid)
}

// decode refuses null, also within a list: a list of what?
func decode(raw json.RawMessage, into any) error {
	if _, asIs := into.(*json.RawMessage); !asIs && hasNull(raw) {
		return errJSON
	}
	return json.Unmarshal(raw, into)
}

func hasNull(raw json.RawMessage) bool {
	dec := json.NewDecoder(bytes.NewReader(raw))
	for {
		t, err := dec.Token()
		if err != nil {
			return false
		}
		if t == nil {
			return true
		}
	}
}

func kindOf(value any) string {
	switch value.(type) {
	case *string:
		return "a string"
	case *bool:
		return "true or false"
	case *int64:
		return "a whole number"
	case *verifier.Permissions:
		return "an object of lists of strings"
	}
	return "a list of strings"
}

// or returns what a member says, or what holds without it.
func or[T any](said *T, otherwise T) T {
	if said == nil {
		return otherwise
	}
	return *said
}

func zero[T any](said *T) T { return or(said, *new(T)) }

// seconds never overflows: what is too long stays too long, and is refused as such.
func seconds(n int64) time.Duration {
	if n > math.MaxInt64/int64(time.Second) {
		return math.MaxInt64
	}
	if n < 0 {
		return -1
	}
	return time.Duration(n) * time.Second
}

// instant reads RFC 3339. The zero time is refused: it stands for none, such as no
// expiry, which is not what whoever sent it has meant.
func instant(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.IsZero() {
		return time.Time{}, errors.New("must be a time such as 2026-11-01T00:00:00Z")
	}
	return at, nil
}

// formError refuses a whole body; name is the member that is at fault, if it is one.
func formError(name string, what error) error {
	if name == "" {
		return &requestError{http.StatusBadRequest, "", fmt.Sprintf("the body cannot be read: %v", what)}
	}
	return &fieldsError{http.StatusBadRequest, []wire.FieldProblem{{Field: clip(name), Detail: what.Error()}}}
}

// clip keeps what is repeated of a caller's own words short.
func clip(name string) string {
	const most = 64
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return name
}
