package sdk

import (
	"encoding/json"
	"strings"
	"testing"
)

func readAny(doc string) error {
	var r jsonReader
	r.read(doc)
	r.skip()
	return r.end()
}

func TestJSONIsReadStrictly(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	elements := func(n int) string { return "[" + strings.Repeat("0,", n-1) + "0]" }
	objects := func(n int) string { return "[" + strings.Repeat(`{"a":1},`, n-1) + `{"a":1}]` }
	var wide []string
	for i := range 100 {
		wide = append(wide, `"`+strings.Repeat("n", i+1)+`":1`)
	}
	for text, ok := range map[string]bool{
		`{}`: true, `[]`: true, `""`: true, `0`: true, `-0.5e+10`: true, ` {"a" : [true,false,null] } `: true,
		`{"a":1,"A":2}`: true, `"\ud83d\ude00 \u00e9 \" \\ \/ \b\f\n\r\t"`: true,
		nested(32): true, `{` + strings.Join(wide, ",") + `}`: true, elements(4096): true, objects(1024): true,
		`{"a":{"a":{"a":1},"b":2},"b":{"a":3}}`: true,

		``: false, ` `: false, `{`: false, `}`: false, `{"a"}`: false, `{"a":}`: false, `{"a":1,}`: false, `[1,]`: false,
		`[1 2]`: false, `{a:1}`: false, `'a'`: false, `"a`: false, `"\`: false, `"\"`: false, "\"\n\"": false, `tru`: false, `nul`: false,
		`01`: false, `1.`: false, `.5`: false, `1e`: false, `+1`: false, `-`: false, `NaN`: false, `1 1`: false, `{}x`: false, "{}\x00": false,
		elements(4097): false, objects(1025): false,
		`{"a":{"b":1},"b":{"a":2},"a":3}`: false, `{"a":{"b":{"c":1},"b":2}}`: false,
		`{"a":1,"a":2}`: false, `{"a":1,"\u0061":2}`: false, `[{"b":{"a":1,"a":1}}]`: false,
		`{` + strings.Join(wide, ",") + `,"nnn":1}`: false,
		`"\ud800"`: false, `"\udc00"`: false, `"\ud800\u0041"`: false, `"\ud800\ud800"`: false, `"\u12"`: false, `"\x"`: false, `"\u00zz"`: false,
		"\"\xff\"": false, "\"\xed\xa0\x80\"": false, "\ufeff{}": false, nested(33): false, strings.Repeat(`{"a":`, 100_000): false,
	} {
		if err := readAny(text); (err == nil) != ok {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

func TestStringsAreUnescaped(t *testing.T) {
	for text, want := range map[string]string{
		`"plain"`: "plain", `"\u0061\u00e9\ud83d\ude00"`: "aé😀", `"\"\\\/\b\f\n\r\t"`: "\"\\/\b\f\n\r\t", `"\ufffd"`: "\ufffd",
	} {
		var r jsonReader
		r.read(text)
		if got := r.text(); got != want || r.end() != nil {
			t.Errorf("%s: got %q, %v", text, got, r.end())
		}
	}
}

// Whatever our reader accepts, encoding/json accepts, and says the same.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e3,"\u00e9",null,true]}`, `{"a":1,"\u0061":2}`, `"\ud83d\ude00"`, `[[[]]]`, `{"`, "\"\xff\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if readAny(string(data)) != nil {
			return
		}
		lax := &jsonReader{doc: string(data), lax: true}
		if lax.skip(); lax.end() != nil {
			t.Fatal("lax is stricter")
		}
		if !json.Valid(data) {
			t.Fatal("accepted what is no JSON")
		}
		var text string
		if json.Unmarshal(data, &text) == nil && data[0] == '"' {
			var r jsonReader
			r.read(string(data))
			if got := r.text(); got != text {
				t.Fatalf("got %q, want %q", got, text)
			}
		}
	})
}
