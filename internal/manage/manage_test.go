package manage_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/verifier"
)

var noon = time.Date(2026, time.March, 10, 12, 0, 0, 500, time.UTC)

// newManager manages an empty store whose clock stands at noon, until moved.
func newManager(t *testing.T) (*manage.Manager, *sqlite.Store, *time.Time) {
	t.Helper()
	now := noon
	clock := func() time.Time { return now }
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cambio.db"), sqlite.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return manage.New(s), s, &now
}

func TestCreateKey(t *testing.T) {
	m, _, _ := newManager(t)
	mustKeyspace(t, m, manage.NewKeyspace{Name: "live", Prefix: "acme_live", KeyLifetime: 48 * time.Hour})

	t.Run("makes a well-formed key of the keyspace's prefix, of which only the digest is kept", func(t *testing.T) {
		key := mustKey(t, m, manage.NewKey{Keyspace: "live"})
		if !verifier.WellFormed(key.Secret) || !strings.HasPrefix(key.Secret.Reveal(), "acme_live_") {
			t.Errorf("starts %s", key.Key.Start)
		}
		if key.Key.Digest != key.Secret.Digest() {
			t.Error("another digest")
		}
		if !strings.HasPrefix(key.Secret.Reveal(), key.Key.Start) || len(key.Key.Start) != len("acme_live_")+4 {
			t.Errorf("start %q", key.Key.Start)
		}
	})
	t.Run("gives it the keyspace's lifetime, unless told otherwise, in whole seconds", func(t *testing.T) {
		if k := mustKey(t, m, manage.NewKey{Keyspace: "live"}); !k.Key.ExpiresAt.Equal(noon.Truncate(time.Second).Add(48 * time.Hour)) {
			t.Errorf("%v", k.Key.ExpiresAt)
		}
		if k := mustKey(t, m, manage.NewKey{Keyspace: "live", ExpiresIn: time.Hour}); !k.Key.ExpiresAt.Equal(noon.Truncate(time.Second).Add(time.Hour)) {
			t.Errorf("%v", k.Key.ExpiresAt)
		}
		if k := mustKey(t, m, manage.NewKey{}); !k.Key.ExpiresAt.IsZero() {
			t.Errorf("%v", k.Key.ExpiresAt)
		}
	})
	t.Run("starts a refilled key with the amount of a refill, unless told otherwise", func(t *testing.T) {
		refill := verifier.Refill{Amount: 1000, Interval: verifier.Monthly}
		k := mustKey(t, m, manage.NewKey{Refill: refill})
		if !k.Budget.Counted || k.Budget.Remaining != 1000 || !k.Budget.Refilled.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%+v", k.Budget)
		}
		five := int64(5)
		k = mustKey(t, m, manage.NewKey{Refill: refill, Remaining: &five})
		if k.Budget.Remaining != 5 {
			t.Errorf("remaining %d", k.Budget.Remaining)
		}
	})
	t.Run("makes a key without limits unlimited", func(t *testing.T) {
		if k := mustKey(t, m, manage.NewKey{}); k.Budget.Counted || k.Budget.Rate != (verifier.Rate{}) {
			t.Errorf("%+v", k.Budget)
		}
	})
	t.Run("may make a key with nothing left", func(t *testing.T) {
		none := int64(0)
		if k := mustKey(t, m, manage.NewKey{Remaining: &none}); !k.Budget.Counted || k.Budget.Remaining != 0 {
			t.Errorf("%+v", k.Budget)
		}
	})
	t.Run("keeps metadata without its spaces", func(t *testing.T) {
		k := mustKey(t, m, manage.NewKey{Metadata: json.RawMessage(` { "plan" : "pro", "n": 12345678901234567890 } `)})
		if string(k.Key.Metadata) != `{"plan":"pro","n":12345678901234567890}` {
			t.Errorf("%s", k.Key.Metadata)
		}
	})
	t.Run("in a keyspace that is not there fails", func(t *testing.T) {
		if _, err := m.CreateKey(t.Context(), manage.NewKey{Keyspace: "nowhere"}); !errors.Is(err, manage.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestCreateKeyRefuses(t *testing.T) {
	m, _, _ := newManager(t)
	minus, huge := int64(-1), int64(1e15)
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("https://%d.example.com", i)
	}
	wide := verifier.Permissions{strings.Repeat("r", 128): nil}
	for i := range 100 {
		wide[strings.Repeat("r", 128)] = append(wide[strings.Repeat("r", 128)], fmt.Sprint(i))
	}
	deep := json.RawMessage(`{"a":` + strings.Repeat(`[`, 16) + strings.Repeat(`]`, 16) + `}`)
	tests := map[string]struct {
		key   manage.NewKey
		field string
	}{
		"an owner that looks like a key's id": {manage.NewKey{Owner: "key_1"}, "owner"},
		"a name that does not print":          {manage.NewKey{Name: "a\x00"}, "name"},
		"a resource without actions":          {manage.NewKey{Permissions: verifier.Permissions{"a": nil}}, "permissions"},
		"permissions too long as a scope":     {manage.NewKey{Permissions: wide}, "permissions"},
		"more audiences than a hundred":       {manage.NewKey{Audiences: many}, "audiences"},
		"an audience with a fragment":         {manage.NewKey{Audiences: []string{"https://a.example.com/#x"}}, "audiences"},
		"an audience with a space":            {manage.NewKey{Audiences: []string{"a b"}}, "audiences"},
		"an empty audience":                   {manage.NewKey{Audiences: []string{""}}, "audiences"},
		"metadata that is no object":          {manage.NewKey{Metadata: json.RawMessage(`[1]`)}, "metadata"},
		"metadata that is no JSON":            {manage.NewKey{Metadata: json.RawMessage(`{"a":1`)}, "metadata"},
		"metadata with a name twice":          {manage.NewKey{Metadata: json.RawMessage(`{"a":{"b":1,"\u0062":2}}`)}, "metadata"},
		"metadata nested too deep":            {manage.NewKey{Metadata: deep}, "metadata"},
		"metadata of more than 2 KiB":         {manage.NewKey{Metadata: json.RawMessage(`{"a":"` + strings.Repeat("x", 2048) + `"}`)}, "metadata"},
		"metadata that is not UTF-8":          {manage.NewKey{Metadata: json.RawMessage("{\"a\":\"\xff\"}")}, "metadata"},
		"metadata with half a surrogate pair": {manage.NewKey{Metadata: json.RawMessage(`{"a":"\ud800"}`)}, "metadata"},
		"a negative lifetime":                 {manage.NewKey{ExpiresIn: -time.Hour}, "expires_in"},
		"a lifetime of half a second":         {manage.NewKey{ExpiresIn: time.Second / 2}, "expires_in"},
		"a lifetime of a thousand years":      {manage.NewKey{ExpiresIn: 250 * 366 * 24 * time.Hour}, "expires_in"},
		"fewer uses than none":                {manage.NewKey{Remaining: &minus}, "remaining"},
		"more uses than JSON counts exactly":  {manage.NewKey{Remaining: &huge}, "remaining"},
		"a refill above what JSON counts":     {manage.NewKey{Refill: verifier.Refill{Amount: huge, Interval: verifier.Daily}}, "refill"},
		"a refill of nothing":                 {manage.NewKey{Refill: verifier.Refill{Interval: verifier.Daily}}, "refill"},
		"a refill without an interval":        {manage.NewKey{Refill: verifier.Refill{Amount: 1}}, "refill"},
		"a rate without a window":             {manage.NewKey{Rate: verifier.Rate{Limit: 5, Burst: 5}}, "rate"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := m.CreateKey(t.Context(), test.key)
			var invalid *manage.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != test.field || !errors.Is(err, manage.ErrInvalid) {
				t.Errorf("%v, want a fault in %s", err, test.field)
			}
		})
	}
	t.Run("and tells everything at once", func(t *testing.T) {
		_, err := m.CreateKey(t.Context(), manage.NewKey{Owner: "key_1", Name: "\n", ExpiresIn: -1})
		for _, field := range []string{"owner: ", "name: ", "expires_in: "} {
			if err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%v does not tell %s", err, field)
			}
		}
	})
	if keys, err := m.Keys(t.Context(), manage.KeyFilter{}); err != nil || len(keys) != 0 {
		t.Errorf("%d keys were made, %v", len(keys), err)
	}
}

func TestKeyStates(t *testing.T) {
	type step = func(*manage.Manager, *testing.T, verifier.KeyID) (manage.KeyView, error)
	disable := func(m *manage.Manager, t *testing.T, id verifier.KeyID) (manage.KeyView, error) {
		return m.DisableKey(t.Context(), id)
	}
	enable := func(m *manage.Manager, t *testing.T, id verifier.KeyID) (manage.KeyView, error) {
		return m.EnableKey(t.Context(), id)
	}
	revoke := func(m *manage.Manager, t *testing.T, id verifier.KeyID) (manage.KeyView, error) {
		return m.RevokeKey(t.Context(), id)
	}
	tests := map[string]struct {
		steps []step
		want  verifier.State
		err   error
	}{
		"a new key is active":                     {nil, verifier.Active, nil},
		"a disabled key is disabled":              {[]step{disable}, verifier.Disabled, nil},
		"disabling twice is no error":             {[]step{disable, disable}, verifier.Disabled, nil},
		"an enabled key is active again":          {[]step{disable, enable}, verifier.Active, nil},
		"a revoked key is revoked":                {[]step{revoke}, verifier.Revoked, nil},
		"revoking twice is no error":              {[]step{revoke, revoke}, verifier.Revoked, nil},
		"a revoked key stays revoked, if enabled": {[]step{revoke, enable}, verifier.Revoked, manage.ErrRevoked},
		"a revoked key is not merely disabled":    {[]step{revoke, disable}, verifier.Revoked, manage.ErrRevoked},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, _, _ := newManager(t)
			key := mustKey(t, m, manage.NewKey{})
			var err error
			for _, step := range test.steps {
				_, err = step(m, t, key.Key.ID)
			}
			if !errors.Is(err, test.err) {
				t.Errorf("%v, want %v", err, test.err)
			}
			if got, err := m.Key(t.Context(), key.Key.ID); err != nil || got.Key.State != test.want {
				t.Errorf("%s, %v", got.Key.State, err)
			}
		})
	}
	t.Run("a key that is not there has none", func(t *testing.T) {
		m, _, _ := newManager(t)
		if _, err := m.RevokeKey(t.Context(), "key_none"); !errors.Is(err, manage.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestAnOperatorSeesWhatARequestWouldFind(t *testing.T) {
	m, _, now := newManager(t)
	none := int64(0)
	key := mustKey(t, m, manage.NewKey{Remaining: &none, Refill: verifier.Refill{Amount: 10, Interval: verifier.Every(time.Hour)}, ExpiresIn: 2 * time.Hour})
	if key.Budget.Remaining != 0 || key.Expired() {
		t.Errorf("%+v", key.Budget)
	}
	*now = noon.Add(time.Hour)
	if got, err := m.Key(t.Context(), key.Key.ID); err != nil || got.Budget.Remaining != 10 {
		t.Errorf("after an hour: %+v, %v", got.Budget, err)
	}
	*now = noon.Add(2 * time.Hour)
	if got, err := m.Key(t.Context(), key.Key.ID); err != nil || !got.Expired() {
		t.Errorf("after two hours: expired %v, %v", got.Expired(), err)
	}
}

func TestCreateClient(t *testing.T) {
	m, _, _ := newManager(t)
	mustKeyspace(t, m, manage.NewKeyspace{Name: "legacy", ImportedKeys: true})

	t.Run("may exchange keys of the default keyspace and nothing else, unless told otherwise", func(t *testing.T) {
		made, err := m.CreateClient(t.Context(), manage.NewClient{ID: "orders", Audiences: []string{"a", "a"}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Client(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		want := client.Client{
			ID: "orders", Rights: []client.Right{client.TokensExchange}, Audiences: []string{"a"},
			Keyspaces: []string{"default"}, Secrets: []client.Secret{{Digest: made.Secret.Digest(), CreatedAt: noon}}, CreatedAt: noon, Version: got.Version,
		}
		for _, c := range []client.Client{made.Client, got} {
			if diff := cmp.Diff(want, c); diff != "" {
				t.Error(diff)
			}
		}
		if !got.Authenticate(made.Secret) || !strings.HasPrefix(made.Secret.Reveal(), "cs_") {
			t.Error("its secret does not open the door")
		}
	})
	t.Run("knows whether it may meet imported keys", func(t *testing.T) {
		for id, keyspaces := range map[string][]string{"a": {"legacy"}, "b": {"*"}, "c": {"default", "legacy"}} {
			if _, err := m.CreateClient(t.Context(), manage.NewClient{ID: id, Keyspaces: keyspaces}); err != nil {
				t.Fatal(err)
			}
			if c, err := m.Client(t.Context(), id); err != nil || !c.ImportedKeys {
				t.Errorf("%s: %v", keyspaces, err)
			}
		}
		if c, err := m.Client(t.Context(), "orders"); err != nil || c.ImportedKeys {
			t.Errorf("default: %v", err)
		}
	})
	t.Run("twice fails, and the first stays", func(t *testing.T) {
		if _, err := m.CreateClient(t.Context(), manage.NewClient{ID: "orders"}); !errors.Is(err, manage.ErrExists) {
			t.Errorf("%v", err)
		}
		if c, err := m.Client(t.Context(), "orders"); err != nil || len(c.Audiences) != 1 {
			t.Errorf("%+v, %v", c, err)
		}
	})
	for name, test := range map[string]struct {
		client manage.NewClient
		field  string
	}{
		"an empty id is refused":                  {manage.NewClient{}, "client_id"},
		"an id that form-encoding changes is too": {manage.NewClient{ID: "a+b"}, "client_id"},
		"an id with a colon is too":               {manage.NewClient{ID: "a:b"}, "client_id"},
		"an unknown right is too":                 {manage.NewClient{ID: "x", Rights: []client.Right{"root"}}, "rights"},
		"an unknown keyspace is too":              {manage.NewClient{ID: "x", Keyspaces: []string{"nowhere"}}, "keyspaces"},
		"a fragment in an audience is too":        {manage.NewClient{ID: "x", Audiences: []string{"https://a#b"}}, "audiences"},
		"malformed permissions are too":           {manage.NewClient{ID: "x", Permissions: verifier.Permissions{"a": {}}}, "permissions"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := m.CreateClient(t.Context(), test.client)
			var invalid *manage.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != test.field {
				t.Errorf("%v, want a fault in %s", err, test.field)
			}
		})
	}
	t.Run("is not found by another id", func(t *testing.T) {
		if _, err := m.Client(t.Context(), "Orders"); !errors.Is(err, manage.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestCreateKeyspaceRefuses(t *testing.T) {
	m, _, _ := newManager(t)
	for field, ks := range map[string]manage.NewKeyspace{
		"name":           {Name: "*"},
		"prefix":         {Name: "a", Prefix: "A"},
		"key_lifetime":   {Name: "a", KeyLifetime: -1},
		"token_lifetime": {Name: "a", TokenLifetime: 16 * time.Minute},
	} {
		_, err := m.CreateKeyspace(t.Context(), ks)
		var invalid *manage.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%v, want a fault in %s", err, field)
		}
	}
	for _, prefix := range []string{"key", "cs", "bud", "key_live", "cs_", "bud_1"} {
		if _, err := m.CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "a", Prefix: prefix}); !errors.Is(err, manage.ErrInvalid) {
			t.Errorf("prefix %s: %v", prefix, err)
		}
	}
	if _, err := m.CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "default"}); !errors.Is(err, manage.ErrExists) {
		t.Errorf("default: %v", err)
	}
}

func mustKey(t *testing.T, m *manage.Manager, n manage.NewKey) manage.CreatedKey {
	t.Helper()
	k, err := m.CreateKey(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustKeyspace(t *testing.T, m *manage.Manager, n manage.NewKeyspace) {
	t.Helper()
	if _, err := m.CreateKeyspace(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}
