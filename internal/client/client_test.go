package client_test

import (
	"testing"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/verifier"
)

func TestAuthenticate(t *testing.T) {
	first, second, other := verifier.NewSecret("first"), verifier.NewSecret("second"), verifier.NewSecret("other")
	both := []client.Secret{{Digest: first.Digest()}, {Digest: second.Digest()}}
	tests := map[string]struct {
		client *client.Client
		secret verifier.Secret
		want   bool
	}{
		"its secret is right":                          {&client.Client{Secrets: both[:1]}, first, true},
		"each of two live secrets is right":            {&client.Client{Secrets: both}, second, true},
		"another secret is wrong":                      {&client.Client{Secrets: both}, other, false},
		"a disabled client has no right secret":        {&client.Client{Secrets: both, Disabled: true}, first, false},
		"a client that nobody registered has none":     {nil, first, false},
		"a client without secrets has none":            {&client.Client{}, first, false},
		"no secret is wrong":                           {&client.Client{Secrets: both}, verifier.Secret{}, false},
		"the digest of nothing does not open the door": {&client.Client{}, verifier.Secret{}, false},
		"a third secret is not live": {&client.Client{Secrets: []client.Secret{{Digest: other.Digest()}, both[1], both[0]}},
			first, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.client.Authenticate(test.secret); got != test.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestAnAllowanceIsWhatTheClientHolds(t *testing.T) {
	c := &client.Client{Audiences: []string{"a"}, Keyspaces: []string{"k", client.AnyKeyspace}, ImportedKeys: true}
	got := c.Allowance()
	if !got.AllKeyspaces || !got.ImportedKeys || len(got.Audiences) != 1 || got.Permissions != nil {
		t.Errorf("%+v", got)
	}
	c.Audiences = []string{client.AnyAudience, "a"}
	if got := c.Allowance().Audiences; len(got) != 1 || got[0] != "a" {
		t.Errorf("to give any is not to use any: %v", got)
	}
	c.Keyspaces = []string{"k"}
	if c.Allowance().AllKeyspaces {
		t.Error("one keyspace is not all")
	}
}

func TestRightsAreDistinct(t *testing.T) {
	seen := map[client.Right]bool{}
	for _, r := range client.Rights() {
		if seen[r] {
			t.Errorf("%s twice", r)
		}
		seen[r] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d rights", len(seen))
	}
}
