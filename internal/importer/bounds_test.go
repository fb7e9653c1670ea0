package importer_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

func goodKey() manage.ImportKey {
	return manage.ImportKey{Digest: verifier.NewSecret(secret).Digest(), Keyspace: "default", State: verifier.Active}
}

// What a mapping lets through, manage still refuses.
func TestKeysThatAreNotGoodAreNotStored(t *testing.T) {
	p := openPlace(t, "sqlite:"+filepath.Join(t.TempDir(), "cambio.db"))
	prepare(t, p, "default")
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("https://%d.example.com", i)
	}
	tests := map[string]struct {
		change func(*manage.ImportKey)
		field  string // empty: it is good
	}{
		"a plain key":                   {func(*manage.ImportKey) {}, ""},
		"a keyspace that is none":       {func(k *manage.ImportKey) { k.Keyspace = "no spaces" }, "keyspace"},
		"a keyspace that is not there":  {func(k *manage.ImportKey) { k.Keyspace = "gone" }, "keyspace"},
		"an owner like a key":           {func(k *manage.ImportKey) { k.Owner = "key_1" }, "owner"},
		"a name that does not print":    {func(k *manage.ImportKey) { k.Name = "\x00" }, "name"},
		"an id that is too long":        {func(k *manage.ImportKey) { k.ExternalID = strings.Repeat("i", 256) }, "external_id"},
		"a start that is too long":      {func(k *manage.ImportKey) { k.Start = strings.Repeat("s", 33) }, "start"},
		"a start that does not print":   {func(k *manage.ImportKey) { k.Start = "\t" }, "start"},
		"a resource without actions":    {func(k *manage.ImportKey) { k.Permissions = verifier.Permissions{"a": nil} }, "permissions"},
		"permissions that are no text":  {func(k *manage.ImportKey) { k.Permissions = verifier.Permissions{"a": {"\xff"}} }, "permissions"},
		"permissions that are too long": {func(k *manage.ImportKey) { k.Permissions = verifier.Permissions{"a": {strings.Repeat("x", 3840)}} }, "permissions"},
		"permissions of other names":    {func(k *manage.ImportKey) { k.Permissions = verifier.Permissions{"my files": {"read\n"}} }, ""},
		"more audiences than a hundred": {func(k *manage.ImportKey) { k.Audiences = many }, "audiences"},
		"metadata of 16 KiB":            {func(k *manage.ImportKey) { k.Metadata = []byte(`{"a":"` + strings.Repeat("x", 16<<10-8) + `"}`) }, ""},
		"metadata of a byte more":       {func(k *manage.ImportKey) { k.Metadata = []byte(`{"a":"` + strings.Repeat("x", 16<<10-7) + `"}`) }, "metadata"},
		"metadata that is a list":       {func(k *manage.ImportKey) { k.Metadata = []byte(`[]`) }, "metadata"},
		"metadata with a name twice":    {func(k *manage.ImportKey) { k.Metadata = []byte(`{"a":1,"a":2}`) }, "metadata"},
		"no state":                      {func(k *manage.ImportKey) { k.State = "" }, "state"},
		"a creation before 1970":        {func(k *manage.ImportKey) { k.CreatedAt = time.Unix(-1, 0) }, "created_at"},
		"an expiry after 2200":          {func(k *manage.ImportKey) { k.ExpiresAt = time.Date(2200, 1, 1, 0, 0, 1, 0, time.UTC) }, "expires_at"},
		"an expiry within a second":     {func(k *manage.ImportKey) { k.ExpiresAt = noon.Add(1) }, "expires_at"},
		"more uses than can be told":    {func(k *manage.ImportKey) { k.Budget = verifier.Budget{Counted: true, Remaining: 1e15} }, "remaining"},
		"a refill of nothing":           {func(k *manage.ImportKey) { k.Budget.Refill = verifier.Refill{Interval: verifier.Daily} }, "refill"},
		"a refill from before 1970": {func(k *manage.ImportKey) {
			k.Budget.Refill = verifier.Refill{Amount: 1, Interval: verifier.Daily, Anchor: time.Unix(-1, 0)}
		}, "refill_anchor"},
		"a rate without a burst":          {func(k *manage.ImportKey) { k.Budget.Rate = verifier.Rate{Limit: 1, Window: time.Hour} }, "rate"},
		"an audience that no request has": {func(k *manage.ImportKey) { k.Audiences = []string{"a#b"} }, "audiences"},
	}
	n := 0
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k := goodKey()
			n++
			k.Digest[0], k.Digest[1] = byte(n), 0
			test.change(&k)
			results, err := p.ImportKeys(t.Context(), []manage.ImportKey{k}, false)
			if err != nil {
				t.Fatal(err)
			}
			var invalid *manage.InvalidError
			switch got := results[0]; {
			case test.field == "" && (got.Outcome != manage.ImportNew || got.ID == ""):
				t.Errorf("%+v", got)
			case test.field != "" && (got.Outcome != manage.ImportInvalid || !errors.As(got.Err, &invalid) || invalid.Field != test.field):
				t.Errorf("%+v", got)
			}
		})
	}
}

func prepare(t *testing.T, p place, keyspaces ...string) {
	t.Helper()
	if _, err := p.PrepareImport(t.Context(), keyspaces, false); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyThatComesTwiceAtOnceIsStoredOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, p place) {
		prepare(t, p, "default")
		results, err := p.ImportKeys(t.Context(), []manage.ImportKey{goodKey(), goodKey()}, false)
		if err != nil || results[0].Outcome != manage.ImportNew || results[1].Outcome != manage.ImportConflict {
			t.Errorf("%+v, %v", results, err)
		}
	})
}

func TestAClientImportsWhatItManages(t *testing.T) {
	p := openPlace(t, "sqlite:"+filepath.Join(t.TempDir(), "cambio.db"))
	prepare(t, p, "default", "partners")
	holds := verifier.Permissions{"files": {"read"}}
	_, err := p.CreateClient(t.Context(), manage.NewClient{
		ID: "ops", Rights: []client.Right{client.KeysWrite}, Keyspaces: []string{"partners"}, Audiences: []string{backend}, Permissions: holds,
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.store.Client(t.Context(), "ops")
	if err != nil {
		t.Fatal(err)
	}
	there := goodKey()
	if _, err := p.ImportKeys(t.Context(), []manage.ImportKey{there}, false); err != nil {
		t.Fatal(err)
	}
	acting := p.As(manage.By{Client: c})
	tests := map[string]struct {
		change func(*manage.ImportKey)
		want   string
	}{
		"a key with what it holds":   {func(k *manage.ImportKey) { k.Permissions = holds }, manage.ImportNew},
		"no other permissions":       {func(k *manage.ImportKey) { k.Permissions = verifier.Permissions{"files": {"write"}} }, manage.ImportInvalid},
		"no other audiences":         {func(k *manage.ImportKey) { k.Audiences = []string{"https://billing.example.com"} }, manage.ImportInvalid},
		"into no other keyspace":     {func(k *manage.ImportKey) { k.Keyspace = "default" }, manage.ImportInvalid},
		"and not a key of another's": {func(k *manage.ImportKey) { k.Digest = there.Digest }, manage.ImportConflict},
	}
	n := 0
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k := goodKey()
			n++
			k.Keyspace, k.Digest[0], k.Digest[1] = "partners", byte(n), 0
			test.change(&k)
			results, err := acting.ImportKeys(t.Context(), []manage.ImportKey{k}, false)
			if err != nil || results[0].Outcome != test.want || (results[0].ID != "") != (test.want == manage.ImportNew) {
				t.Errorf("%+v, %v", results, err)
			}
		})
	}
	if _, err := acting.PrepareImport(t.Context(), []string{"unmarked"}, false); !errors.Is(err, manage.ErrForbidden) {
		t.Error(err)
	}
}
