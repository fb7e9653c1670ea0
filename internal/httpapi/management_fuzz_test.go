package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"pgregory.net/rapid"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

// Whatever is sent, described or not, is answered as the document says and never by a
// fault of ours. What is described is never called unreadable.
func TestEveryRequestIsAnsweredAsDescribed(t *testing.T) {
	for _, op := range managementOperations() {
		if op.id == "verifyKey" {
			continue // has tests of its own
		}
		t.Run(op.id, func(t *testing.T) {
			w := newWorld(t)
			secret := w.newClient(manage.NewClient{ID: "fuzzer", Rights: client.Rights(), Keyspaces: []string{"*"}, Audiences: []string{"*"}})
			described := operationOf(op)
			n := 0
			var th things
			rapid.Check(t, func(t *rapid.T) {
				w := *w
				if n%20 == 0 { // what is left of the others may be past all changes
					th = w.things(fmt.Sprint("shop", n))
				}
				n++
				r, body := drawRequest(t, described, op, th)
				r.SetBasicAuth("fuzzer", secret)
				asked := r.Clone(t.Context())
				got := w.managed(r)
				if got.code >= 500 || got.code == http.StatusBadRequest && asDescribed(asked, []byte(body)) {
					t.Fatalf("%s %s %v %s: %v", r.Method, r.URL, r.Header, body, got)
				}
			})
		})
	}
}

func operationOf(op describedOperation) *openapi3.Operation {
	doc, _ := described()
	return doc.Paths.Value(op.path).GetOperation(op.method)
}

// drawRequest draws a request that is more or less as described.
func drawRequest(t *rapid.T, op *openapi3.Operation, of describedOperation, th things) (r *http.Request, body string) {
	path := of.path
	if rapid.IntRange(0, 9).Draw(t, "path") > 0 {
		path = th.in(of.path)
	}
	path = parameter.ReplaceAllStringFunc(path, func(string) string {
		return url.PathEscape(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"key_0", "..", "default", "%"})).Draw(t, "id"))
	})
	query := url.Values{}
	for _, p := range op.Parameters {
		if p.Value.In == "query" && rapid.IntRange(0, 3).Draw(t, p.Value.Name) == 0 {
			query.Add(p.Value.Name, drawText(t, p.Value.Schema.Value))
		}
	}
	if rapid.IntRange(0, 19).Draw(t, "more") == 0 {
		query.Add(rapid.String().Draw(t, "name"), rapid.String().Draw(t, "value"))
	}
	if op.RequestBody != nil && rapid.IntRange(0, 9).Draw(t, "body") > 0 {
		body = drawBody(t, op.RequestBody.Value.Content[wire.MediaJSON].Schema.Value)
	}
	r = httptest.NewRequest(of.method, "http://keys.example.com", strings.NewReader(body))
	r.URL.Path, r.URL.RawPath = mustUnescape(path), path
	r.URL.RawQuery = query.Encode()
	if body != "" {
		r.Header.Set("Content-Type", wire.MediaJSON)
	}
	for header, values := range map[string][]string{
		"If-Match":                {`"1"`, `"2"`, `W/"1"`, `"1", "2"`, "*", "1", ""},
		wire.HeaderIdempotencyKey: {"a", `"b"`, `"`, ""},
		"Accept":                  {"*/*", "text/csv", wire.MediaLines, "text/html", ";"},
	} {
		if rapid.IntRange(0, 5).Draw(t, header) == 0 {
			r.Header.Set(header, rapid.SampledFrom(values).Draw(t, header))
		}
	}
	return r, body
}

func mustUnescape(path string) string {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return plain
}

// drawBody draws an object of a schema, in which something may be wrong.
func drawBody(t *rapid.T, s *openapi3.Schema) string {
	v := draw(t, s, 0)
	if members, ok := v.(map[string]any); ok && rapid.IntRange(0, 4).Draw(t, "wrong") == 0 {
		name := rapid.SampledFrom(append(slices.Sorted(maps.Keys(s.Properties)), "unknown", "")).Draw(t, "member")
		members[name] = rapid.SampledFrom([]any{nil, -1, 1e300, "", "\u0000", []any{nil}, map[string]any{"": nil}, true, strings.Repeat("x", 5000)}).Draw(t, "value")
	}
	text, _ := json.Marshal(v)
	text = bytes.ReplaceAll(text, []byte("\uFFFD"), nil) // which stands for what is no Unicode
	if rapid.IntRange(0, 19).Draw(t, "broken") == 0 {
		text = text[:rapid.IntRange(0, len(text)).Draw(t, "cut")]
	}
	return string(text)
}

// draw draws a value of a schema.
func draw(t *rapid.T, s *openapi3.Schema, depth int) any {
	if s.Type.Includes("null") && rapid.IntRange(0, 4).Draw(t, "null") == 0 {
		return nil
	}
	switch {
	case len(s.Enum) > 0:
		return rapid.SampledFrom(s.Enum).Draw(t, "of few")
	case s.Type.Includes("boolean"):
		return rapid.Bool().Draw(t, "flag")
	case s.Type.Includes("integer"):
		return drawInteger(t, s)
	case s.Type.Includes("string"):
		return drawText(t, s)
	case s.Type.Includes("array"):
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) any { return draw(t, s.Items.Value, depth+1) }), int(s.MinItems), int(s.MinItems)+3).Draw(t, "list")
	}
	return drawObject(t, s, depth)
}

func drawInteger(t *rapid.T, s *openapi3.Schema) int64 {
	least, most := int64(-1<<40), int64(1<<40)
	if s.Min != nil {
		least = int64(*s.Min)
	}
	if s.Max != nil {
		most = int64(*s.Max)
	}
	return rapid.OneOf(rapid.Int64Range(least, most), rapid.Int64Range(least, min(most, least+100)), rapid.Just(most)).Draw(t, "number")
}

func drawText(t *rapid.T, s *openapi3.Schema) string {
	switch {
	case len(s.Enum) > 0:
		return fmt.Sprint(rapid.SampledFrom(s.Enum).Draw(t, "of few"))
	case s.Type.Includes("integer"):
		return fmt.Sprint(drawInteger(t, s))
	case s.Type.Includes("array"):
		return drawText(t, s.Items.Value)
	case s.Format == "date-time":
		return rapid.SampledFrom([]string{"2026-03-10T12:00:00Z", "2030-01-01T00:00:00+02:00", "1969-12-31T23:59:59Z", "2026-03-10T12:00:00.5Z"}).Draw(t, "time")
	case len(s.Examples) > 0 && rapid.Bool().Draw(t, "as in the examples"):
		return fmt.Sprint(rapid.SampledFrom(s.Examples).Draw(t, "example"))
	case s.Pattern != "":
		return rapid.StringMatching(s.Pattern).Draw(t, "pattern")
	}
	return rapid.OneOf(rapid.StringN(int(s.MinLength), 20, -1), rapid.SampledFrom([]string{"default", orders, "*", "=1", "key_x", "\u2028", strings.Repeat("ä", 128)})).Draw(t, "text")
}

func drawObject(t *rapid.T, s *openapi3.Schema, depth int) any {
	members := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if slices.Contains(s.Required, name) || rapid.Bool().Draw(t, name) {
			members[name] = draw(t, s.Properties[name].Value, depth+1)
		}
	}
	if more := s.AdditionalProperties.Schema; more != nil {
		for range rapid.IntRange(0, 3).Draw(t, "entries") {
			members[rapid.StringMatching(`[!#-9;-~]{1,8}`).Draw(t, "name")] = draw(t, more.Value, depth+1)
		}
	} else if len(s.Properties) == 0 && depth > 0 {
		members[rapid.String().Draw(t, "name")] = rapid.SampledFrom([]any{nil, 1, "a", []any{map[string]any{"b": nil}}}).Draw(t, "value")
	}
	return members
}
