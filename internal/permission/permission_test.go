package permission_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cambio-auth/cambio/internal/permission"
)

type perms = map[string][]string

func TestCovers(t *testing.T) {
	held := perms{"projects": {"read", "write"}, "*": {"*"}, "empty": {}}
	tests := map[string]struct {
		asked perms
		want  bool
	}{
		"nothing asked is covered":                       {nil, true},
		"one held action is covered":                     {perms{"projects": {"write"}}, true},
		"all asked must be held":                         {perms{"projects": {"read", "delete"}}, false},
		"every resource must be held":                    {perms{"projects": {"read"}, "files": {"read"}}, false},
		"order and repetition do not matter":             {perms{"projects": {"write", "read", "read"}}, true},
		"case matters":                                   {perms{"projects": {"Read"}}, false},
		"a star held covers nothing but a star":          {perms{"files": {"read"}}, false},
		"a star asked is covered by a star held":         {perms{"*": {"*"}}, true},
		"a star asked is not covered by everything else": {perms{"projects": {"*"}}, false},
		"a resource held with no action covers none":     {perms{"empty": {"read"}}, false},
		"constructor is a plain name":                    {perms{"constructor": {"name"}}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := permission.Covers(held, test.asked); got != test.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	long := strings.Repeat("x", 128)
	for name, p := range map[string]perms{
		"none at all":                nil,
		"plain":                      {"projects": {"read"}},
		"an action may hold a colon": {"projects": {"members:invite"}},
		"128 bytes":                  {long: {long}},
		"all printable":              {"!#[]~": {"!#[:]~"}},
		"a star":                     {"*": {"*"}},
	} {
		if err := permission.Validate(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, p := range map[string]perms{
		"no actions":            {"projects": {}},
		"nil actions":           {"projects": nil},
		"an empty resource":     {"": {"read"}},
		"an empty action":       {"projects": {""}},
		"a colon in a resource": {"a:b": {"read"}},
		"a space":               {"projects": {"read write"}},
		"a quote":               {"projects": {`re"ad`}},
		"a backslash":           {`pro\jects`: {"read"}},
		"a newline":             {"projects": {"read\n"}},
		"not ASCII":             {"projekte": {"löschen"}},
		"DEL":                   {"a\x7f": {"read"}},
		"129 bytes":             {long + "x": {"read"}},
	} {
		if err := permission.Validate(p); !errors.Is(err, permission.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScope(t *testing.T) {
	t.Run("is sorted, each token once", func(t *testing.T) {
		p := perms{"projects": {"write", "read", "read"}, "files": {"read"}}
		if got := permission.Scope(p); got != "files:read projects:read projects:write" {
			t.Error(got)
		}
	})
	t.Run("leaves out what no token can carry", func(t *testing.T) {
		p := perms{"a:b": {"c"}, "pro jects": {"read"}, "files": {"re ad", "write"}}
		if got := permission.Scope(p); got != "files:write" {
			t.Error(got)
		}
	})
	t.Run("splits a token at its first colon", func(t *testing.T) {
		p, err := permission.FromScope("projects:members:invite  files:read ")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(perms{"projects": {"members:invite"}, "files": {"read"}}, p); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("refuses tokens that are no permission", func(t *testing.T) {
		for _, scope := range []string{"openid", ":read", "projects:", "a:b\tc:d", `a:"`, "a:\u00e4"} {
			if _, err := permission.FromScope(scope); !errors.Is(err, permission.ErrMalformed) {
				t.Errorf("%q: %v", scope, err)
			}
		}
	})
}

func TestIntersectIsCoveredByBothAndLosesNothingShared(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "c", "*"})
	gen := rapid.MapOf(names, rapid.SliceOfDistinct(names, rapid.ID[string]))
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		both := permission.Intersect(a, b)
		if !permission.Covers(a, both) || !permission.Covers(b, both) {
			t.Fatalf("%v of %v and %v", both, a, b)
		}
		for resource, actions := range a {
			for _, action := range actions {
				one := perms{resource: {action}}
				if permission.Covers(b, one) != permission.Covers(both, one) {
					t.Fatalf("%v of %v and %v", both, a, b)
				}
			}
		}
	})
}

func FuzzScopeReadsWhatItWrites(f *testing.F) {
	f.Add("projects:read files:a:b")
	f.Add("  a:b ")
	f.Fuzz(func(t *testing.T, scope string) {
		p, err := permission.FromScope(scope)
		if err != nil {
			return
		}
		if err := permission.Validate(p); err != nil {
			t.Fatalf("%q was read, but %v", scope, err)
		}
		again, err := permission.FromScope(permission.Scope(p))
		if err != nil || !permission.Covers(p, again) || !permission.Covers(again, p) {
			t.Fatalf("%q: %v and %v, %v", scope, p, again, err)
		}
	})
}
