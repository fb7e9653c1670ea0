package importer_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/importer"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

var noon = time.Date(2026, time.November, 24, 12, 0, 0, 0, time.UTC)

// secret is a key as Better Auth makes them: 64 letters.
const secret = "QuiteLongKeyOfSixtyFourLettersLikeThoseThatBetterAuthHandsOutABC"

func sum(key string) []byte {
	digest := sha256.Sum256([]byte(key))
	return digest[:]
}

func base64url(key string) string { return base64.RawURLEncoding.EncodeToString(sum(key)) }

// row is a JSON object; a member that is Absent is left out.
type row map[string]any

type absent struct{}

var Absent absent

// with returns r with the members of changes instead of its own.
func (r row) with(changes row) row {
	changed := maps.Clone(r)
	maps.Copy(changed, changes)
	maps.DeleteFunc(changed, func(_ string, v any) bool { return v == Absent })
	return changed
}

func (r row) String() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// mapping is a test of one row: what its members make of the key.
type mapping struct {
	row   row
	rules importer.Rules
	want  func(*manage.ImportKey) // changes what the usual row makes
	note  string                  // a part of the only note; empty: there is none
	err   string                  // a part of the error; empty: there is none
}

type format struct {
	read func(text string, rules importer.Rules) importer.Source
	row  row
	key  manage.ImportKey
}

func (f format) run(t *testing.T, tests map[string]mapping) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.rules.Now = noon
			got := only(t, f.read(f.row.with(test.row).String(), test.rules))
			if test.err != "" {
				if got.Err == nil || !strings.Contains(got.Err.Error(), test.err) {
					t.Fatalf("error %v", got.Err)
				}
				noSecret(t, got.Err.Error())
				return
			}
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			want := f.key
			if test.want != nil {
				test.want(&want)
			}
			if diff := diff(want, got.Key); diff != "" {
				t.Error(diff)
			}
			if notes := strings.Join(got.Notes, "\n"); (test.note == "") != (notes == "") || !strings.Contains(notes, test.note) {
				t.Errorf("notes %q", got.Notes)
			} else {
				noSecret(t, notes)
			}
		})
	}
}

func diff(want, got any) string {
	return cmp.Diff(want, got, cmp.Comparer(func(a, b verifier.Interval) bool { return a == b }))
}

// noSecret fails for text that holds more of a key or a digest than its start.
// secrets are parts of keys and digests, long enough to be told by no chance.
var secrets = []string{secret[:12], base64url(secret)[:12], base64.StdEncoding.EncodeToString(sum(secret))[:12], "tooshortakey"}

func noSecret(t *testing.T, text string) {
	t.Helper()
	for _, part := range secrets {
		if strings.Contains(text, part) {
			t.Errorf("holds a part of a key: %s", text)
		}
	}
}

func only(t *testing.T, source importer.Source) importer.Row {
	t.Helper()
	all := rows(t, source)
	if len(all) != 1 {
		t.Fatalf("%d rows", len(all))
	}
	return all[0]
}

func rows(t *testing.T, source importer.Source) (all []importer.Row) {
	t.Helper()
	for row, err := range source {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

func TestRowsAreReadFromLinesAndArrays(t *testing.T) {
	one, two := `{"key":"`+secret+`1"}`, `{"key":"`+secret+`2"}`
	tests := map[string]struct {
		text    string
		numbers []int
	}{
		"a line for each":                      {one + "\n" + two + "\n", []int{1, 2}},
		"the last line may lack its end":       {one + "\n" + two, []int{1, 2}},
		"empty lines count and are no rows":    {"\n" + one + "\n\n \r\n" + two, []int{2, 5}},
		"lines may end as on Windows":          {one + "\r\n" + two + "\r\n", []int{1, 2}},
		"a byte order mark is no part of them": {"\ufeff" + one, []int{1}},
		"an array counts its elements":         {"[" + one + ",\n" + two + "]", []int{1, 2}},
		"an array may be spread over lines":    {"\n [\n{\n\"key\":\n\"" + secret + "\"}\n]\n", []int{1}},
		"an empty array has none":              {"[]", nil},
		"an empty file has none":               {"", nil},
		"space alone has none":                 {" \n\t\n", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var numbers []int
			for _, row := range rows(t, importer.JSONLines(strings.NewReader(test.text), importer.Rules{Now: noon})) {
				if row.Err != nil {
					t.Error(row.Err)
				}
				numbers = append(numbers, row.Number)
			}
			if diff := cmp.Diff(test.numbers, numbers); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestABadRowDoesNotStopTheOthers(t *testing.T) {
	good := `{"key":"` + secret + `"}`
	tests := map[string]struct{ bad, err string }{
		"no JSON":                       {`key=` + secret, "is not a JSON object on one line: syntax, at byte 1"},
		"a line of an object":           {`"key": "` + secret + `",`, "is not a JSON object on one line"},
		"an object without an end":      {`{"key":"` + secret, "syntax, at byte"},
		"two objects":                   {good + good, "is not a JSON object on one line"},
		"a list":                        {`["` + secret + `"]`, "is not a JSON object"},
		"null":                          {`null`, "is not a JSON object"},
		"a member twice":                {`{"key":"` + secret + `","key":"x"}`, "has a member twice"},
		"bytes that are no text":        {"{\"key\":\"" + secret + "\xff\"}", "is not UTF-8"},
		"a line that is much too long":  {`{"name":"` + strings.Repeat("x", 1<<20) + `"}`, "is longer than 1048576 bytes"},
		"an odd character in an object": {`{"key":"` + secret + `" x}`, "syntax, at byte"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			all := rows(t, importer.JSONLines(strings.NewReader(good+"\n"+test.bad+"\n"+good+"\n"), importer.Rules{Now: noon}))
			if len(all) != 3 || all[0].Err != nil || all[1].Err == nil || all[2].Err != nil || all[2].Number != 3 {
				t.Fatalf("%d rows", len(all))
			}
			if !strings.Contains(all[1].Err.Error(), test.err) {
				t.Error(all[1].Err)
			}
			noSecret(t, all[1].Err.Error())
		})
	}
}

func TestAnArrayEndsAtAMistake(t *testing.T) {
	for name, text := range map[string]string{
		"in its syntax":  `[{"key":"` + secret + `"}, ` + secret + `]`,
		"at its end":     `[{"key":"` + secret + `"}`,
		"in the element": `[{"key":"` + secret + `"},{"key":"` + secret,
	} {
		t.Run(name, func(t *testing.T) {
			good, failed := 0, error(nil)
			for row, err := range importer.JSONLines(strings.NewReader(text), importer.Rules{Now: noon}) {
				if failed = err; err == nil && row.Err == nil {
					good++
				}
			}
			if good != 1 || failed == nil {
				t.Fatalf("%d rows, %v", good, failed)
			}
			noSecret(t, failed.Error())
		})
	}
}

func TestRowsFollowTheirReader(t *testing.T) {
	source := importer.JSONLines(strings.NewReader(strings.Repeat(`{"key":"`+secret+`"}`+"\n", 10)), importer.Rules{Now: noon})
	n := 0
	for range source {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d rows", n)
	}
}
