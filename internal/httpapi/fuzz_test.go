package httpapi

import (
	"net/url"
	"testing"
	"unicode/utf8"
)

func FuzzForm(f *testing.F) {
	for _, seed := range []string{
		"", "&", "=", "a", "a=b", "a=b&a=c", "audience=x&audience=y", "a=%zz", "a=%2", "a=%ff", "a+b=c+d", "%61=1&a=2",
		"scope=&scope=x", "a=b;c=d", "\xff=1", "a=\x00", "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := parseForm(body)
		if err != nil {
			return
		}
		values := url.Values{}
		for name, list := range got {
			if len(list) == 0 || (len(list) > 1 && name != "audience" && name != "resource") {
				t.Errorf("%d values of %q", len(list), name)
			}
			for _, value := range list {
				if value == "" || !utf8.ValidString(value) || !utf8.ValidString(name) {
					t.Errorf("%q=%q", name, value)
				}
				values.Add(name, value)
			}
		}
		again, err := parseForm(values.Encode())
		if err != nil || len(again) != len(got) {
			t.Errorf("what was read does not read again: %v, %q, %q", err, got, again)
		}
	})
}

func FuzzBasic(f *testing.F) {
	for _, seed := range []string{
		"", "Basic", "Basic ", "Basic Og==", "Basic YTpi", "basic YTpi", "Basic YTpi\n", "Bearer YTpi", "Basic $$", "Basic JXp6OmE=",
		"Basic b3JkZXJzJTJEYTpjc18x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		id, secret, ok := parseBasic(header)
		if ok && (!utf8.ValidString(id) || !utf8.ValidString(secret)) {
			t.Errorf("%q, %q", id, secret)
		}
	})
}
