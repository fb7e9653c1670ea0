package client_test

import (
	"testing"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/verifier"
)

func TestAuthenticate(t *testing.T) {
	first, second, other := verifier.NewSecret("first"), verifier.NewSecret("second"), verifier.NewSecret("other")
	both := []verifier.Digest{first.Digest(), second.Digest()}
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
		"a third secret is not live": {&client.Client{Secrets: append([]verifier.Digest{other.Digest(), second.Digest()}, first.Digest())},
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
