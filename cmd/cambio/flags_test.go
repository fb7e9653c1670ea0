package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

func TestPermissionFlag(t *testing.T) {
	for name, tt := range map[string]struct {
		flags []string
		want  verifier.Permissions
		bad   bool
	}{
		"none is no permissions":                      {want: nil},
		"actions of one resource are separated":       {flags: []string{"projects:read,write"}, want: verifier.Permissions{"projects": {"read", "write"}}},
		"repeated flags merge, each action once":      {flags: []string{"a:x,y", "b:z", "a:y,w"}, want: verifier.Permissions{"a": {"x", "y", "w"}, "b": {"z"}}},
		"a colon after the first is of the action":    {flags: []string{"repo:branch:main"}, want: verifier.Permissions{"repo": {"branch:main"}}},
		"a star is a name like any other":             {flags: []string{"*:*"}, want: verifier.Permissions{"*": {"*"}}},
		"a resource without a colon is refused":       {flags: []string{"projects"}, bad: true},
		"a resource without actions is refused":       {flags: []string{"projects:"}, bad: true},
		"an empty action is refused":                  {flags: []string{"projects:read,"}, bad: true},
		"an action without a resource is refused":     {flags: []string{":read"}, bad: true},
		"what no scope token can carry, is refused":   {flags: []string{"projects:re ad"}, bad: true},
		"a name that every object has is just a name": {flags: []string{"__proto__:constructor"}, want: verifier.Permissions{"__proto__": {"constructor"}}},
	} {
		t.Run(name, func(t *testing.T) {
			flags := make([]permissionFlag, len(tt.flags))
			var err error
			for i, text := range tt.flags {
				err = errors.Join(err, flags[i].UnmarshalText([]byte(text)))
			}
			if (err != nil) != tt.bad {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, merge(flags)); !tt.bad && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMistakesAreNamedByTheirFlags(t *testing.T) {
	names := map[string]string{"owner": "--owner"}
	owner := &manage.InvalidError{Field: "owner", Reason: errors.New("too long")}
	other := &manage.InvalidError{Field: "other", Reason: errors.New("too short")}
	away := errors.New("store away")
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"one":                          {owner, "--owner: too long"},
		"several":                      {errors.Join(owner, other), "--owner: too long\nother: too short"},
		"a failure that is no mistake": {away, "store away"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := flagsFor(tt.err, names).Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if flagsFor(nil, names) != nil {
		t.Error("no mistake became one")
	}
}

func TestWhatWouldSteerATerminalIsShown(t *testing.T) {
	var out strings.Builder
	if err := table(&out, [][]string{{"a\x1b[2Jb", "c\td\n", "naïve <ok>"}}); err != nil {
		t.Fatal(err)
	}
	if want := "a�[2Jb  c�d�  naïve <ok>\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	if got, want := pretty([]byte("{\"a\":\"\u009b\"}")), "{\n  \"a\": \"�\"\n}"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}
