package manage_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

// as returns a manager for a client that is made so.
func as(t *testing.T, m *manage.Manager, n manage.NewClient) *manage.Manager {
	t.Helper()
	made, err := m.CreateClient(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return m.As(manage.By{Client: &made.Client, From: "192.0.2.1"})
}

func TestAClientGivesNobodyMoreThanItHolds(t *testing.T) {
	m, _, _ := newManager(t)
	mustKeyspace(t, m, manage.NewKeyspace{Name: "live"})
	mustKeyspace(t, m, manage.NewKeyspace{Name: "other"})
	powers := manage.NewClient{
		ID: "boss", Rights: []client.Right{client.KeysWrite, client.ClientsWrite, client.TokensExchange}, Keyspaces: []string{"live"},
		Audiences: []string{"a", "b"}, Permissions: verifier.Permissions{"files": {"read", "write"}},
	}
	boss := as(t, m, powers)
	held := verifier.Permissions{"files": {"read"}}
	more := verifier.Permissions{"files": {"read", "delete"}}
	mighty := mustKey(t, m, manage.NewKey{Keyspace: "live", Permissions: more})
	weak := mustKey(t, m, manage.NewKey{Keyspace: "live"})
	foreign := mustKey(t, m, manage.NewKey{Keyspace: "live", Audiences: []string{"c"}, ExpiresIn: time.Hour})
	ending := mustKey(t, m, manage.NewKey{Keyspace: "live", Permissions: more, ExpiresIn: time.Hour})
	off := mustKey(t, m, manage.NewKey{Keyspace: "live", Permissions: more})
	if _, err := m.DisableKey(t.Context(), off.Key.ID); err != nil {
		t.Fatal(err)
	}
	second := noon.Truncate(time.Second)
	expires := func(key manage.CreatedKey, at time.Time) func() error {
		return func() error {
			_, err := boss.PatchKey(t.Context(), key.Key.ID, manage.KeyPatch{ExpiresAt: &at})
			return err
		}
	}
	for id, change := range map[string]func(*manage.NewClient){
		"equal":   func(*manage.NewClient) {},
		"mighty":  func(n *manage.NewClient) { n.Rights = append(n.Rights, client.AuditRead) },
		"foreign": func(n *manage.NewClient) { n.Keyspaces = []string{"live", "other"} },
	} {
		n := powers
		n.ID = id
		change(&n)
		as(t, m, n)
	}
	create := func(change func(*manage.NewClient)) error {
		n := powers
		n.ID = "made"
		change(&n)
		_, err := boss.CreateClient(t.Context(), n)
		if err == nil {
			err = m.DeleteClient(t.Context(), "made")
		}
		return err
	}
	patch := func(p manage.ClientPatch) error { _, err := boss.PatchClient(t.Context(), "equal", p); return err }
	key := func(n manage.NewKey) error { n.Keyspace = "live"; _, err := boss.CreateKey(t.Context(), n); return err }
	for name, test := range map[string]struct {
		do   func() error
		want error
	}{
		"a key with what it holds":   {func() error { return key(manage.NewKey{Permissions: held, Audiences: []string{"a"}}) }, nil},
		"a key with more":            {func() error { return key(manage.NewKey{Permissions: more}) }, manage.ErrForbidden},
		"a key for another audience": {func() error { return key(manage.NewKey{Audiences: []string{"c"}}) }, manage.ErrForbidden},
		"a key in another keyspace":  {func() error { _, err := boss.CreateKey(t.Context(), manage.NewKey{Keyspace: "other"}); return err }, manage.ErrNotFound},
		"more to a key": {func() error {
			_, err := boss.PatchKey(t.Context(), weak.Key.ID, manage.KeyPatch{Permissions: &more})
			return err
		}, manage.ErrForbidden},
		"an audience to a key": {func() error {
			_, err := boss.PatchKey(t.Context(), weak.Key.ID, manage.KeyPatch{Audiences: &[]string{"c"}})
			return err
		}, manage.ErrForbidden},
		"another secret of a mighty key": {func() error {
			_, err := boss.RotateKey(t.Context(), mighty.Key.ID, manage.Rotation{Overlap: time.Hour})
			return err
		}, manage.ErrForbidden},
		"another secret of a key for another audience": {func() error {
			_, err := boss.RotateKey(t.Context(), foreign.Key.ID, manage.Rotation{Overlap: time.Hour})
			return err
		}, manage.ErrForbidden},
		"every audience to a key for another one": {func() error {
			_, err := boss.PatchKey(t.Context(), foreign.Key.ID, manage.KeyPatch{Audiences: &[]string{}})
			return err
		}, manage.ErrForbidden},
		"a mighty key back its life":     {func() error { _, err := boss.EnableKey(t.Context(), off.Key.ID); return err }, manage.ErrForbidden},
		"a mighty key more time":         {expires(ending, second.Add(2*time.Hour)), manage.ErrForbidden},
		"a mighty key all the time":      {expires(ending, time.Time{}), manage.ErrForbidden},
		"a key for another audience so":  {expires(foreign, time.Time{}), manage.ErrForbidden},
		"a mighty key less time":         {expires(mighty, second.Add(time.Hour)), nil},
		"a mighty key its rest":          {func() error { _, err := boss.DisableKey(t.Context(), ending.Key.ID); return err }, nil},
		"a client like itself":           {func() error { return create(func(*manage.NewClient) {}) }, nil},
		"a client with another right":    {func() error { return create(func(n *manage.NewClient) { n.Rights = []client.Right{client.UsageRead} }) }, manage.ErrForbidden},
		"a client for another audience":  {func() error { return create(func(n *manage.NewClient) { n.Audiences = []string{"c"} }) }, manage.ErrForbidden},
		"a client for any audience":      {func() error { return create(func(n *manage.NewClient) { n.Audiences = []string{"*"} }) }, manage.ErrForbidden},
		"a client without bound":         {func() error { return create(func(n *manage.NewClient) { n.Permissions = nil }) }, manage.ErrForbidden},
		"a client with more permissions": {func() error { return create(func(n *manage.NewClient) { n.Permissions = more }) }, manage.ErrForbidden},
		"a client of another keyspace":   {func() error { return create(func(n *manage.NewClient) { n.Keyspaces = []string{"other"} }) }, manage.ErrNotFound},
		"a client of every keyspace":     {func() error { return create(func(n *manage.NewClient) { n.Keyspaces = []string{"*"} }) }, manage.ErrNotFound},
		"another right to a client":      {func() error { return patch(manage.ClientPatch{Rights: &[]client.Right{client.UsageRead}}) }, manage.ErrForbidden},
		"no bound to a client":           {func() error { return patch(manage.ClientPatch{Permissions: new(verifier.Permissions)}) }, manage.ErrForbidden},
		"another keyspace to a client":   {func() error { return patch(manage.ClientPatch{Keyspaces: &[]string{"other"}}) }, manage.ErrNotFound},
		"a secret of an equal client":    {func() error { _, err := boss.AddSecret(t.Context(), "equal"); return err }, nil},
		"a secret of a mighty client":    {func() error { _, err := boss.AddSecret(t.Context(), "mighty"); return err }, manage.ErrForbidden},
		"a secret of a foreign client":   {func() error { _, err := boss.AddSecret(t.Context(), "foreign"); return err }, manage.ErrNotFound},
		"a mighty client less": {func() error {
			_, err := boss.PatchClient(t.Context(), "mighty", manage.ClientPatch{Rights: &[]client.Right{}})
			return err
		}, manage.ErrForbidden},
		"a mighty client its end":         {func() error { return boss.DeleteClient(t.Context(), "mighty") }, manage.ErrForbidden},
		"a keyspace":                      {func() error { _, err := boss.CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "new"}); return err }, manage.ErrForbidden},
		"void tokens everywhere":          {func() error { _, err := boss.VoidAll(t.Context()); return err }, manage.ErrForbidden},
		"void tokens of its own keyspace": {func() error { return boss.VoidKeyspace(t.Context(), "live") }, nil},
	} {
		if err := test.do(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestWhoMayGiveAnyAudienceMayExchangeForNoneByIt(t *testing.T) {
	m, _, _ := newManager(t)
	admin := as(t, m, manage.NewClient{ID: "admin", Rights: client.Rights(), Keyspaces: []string{"*"}, Audiences: []string{"*"}})
	made, err := admin.CreateClient(t.Context(), manage.NewClient{ID: "orders", Audiences: []string{"https://orders.example.com"}})
	if err != nil || len(made.Audiences) != 1 {
		t.Fatalf("%v, %v", made.Audiences, err)
	}
	c, err := m.Client(t.Context(), "admin")
	if err != nil || len(c.Allowance().Audiences) != 0 {
		t.Errorf("%v, %v", c.Allowance().Audiences, err)
	}
}

func TestWhatIsInOtherKeyspacesDoesNotExist(t *testing.T) {
	m, _, _ := newManager(t)
	mustKeyspace(t, m, manage.NewKeyspace{Name: "live"})
	theirs := mustKey(t, m, manage.NewKey{Owner: "ann"})
	mine := mustKey(t, m, manage.NewKey{Keyspace: "live", Owner: "ann"})
	ops := as(t, m, manage.NewClient{ID: "ops", Rights: client.Rights(), Keyspaces: []string{"live"}})
	nobody := as(t, m, manage.NewClient{ID: "nobody", Rights: client.Rights(), Keyspaces: []string{"live"}})
	if _, err := nobody.PatchClient(t.Context(), "nobody", manage.ClientPatch{Keyspaces: &[]string{}}); err != nil {
		t.Fatal(err)
	}
	none, err := m.Client(t.Context(), "nobody")
	if err != nil {
		t.Fatal(err)
	}
	nobody = m.As(manage.By{Client: &none})

	for name, do := range map[string]func(*manage.Manager) error{
		"show":    func(m *manage.Manager) error { _, err := m.Key(t.Context(), theirs.Key.ID); return err },
		"disable": func(m *manage.Manager) error { _, err := m.DisableKey(t.Context(), theirs.Key.ID); return err },
		"void":    func(m *manage.Manager) error { _, err := m.VoidKey(t.Context(), theirs.Key.ID); return err },
		"delete":  func(m *manage.Manager) error { _, err := m.DeleteKey(t.Context(), theirs.Key.ID); return err },
		"rotate": func(m *manage.Manager) error {
			_, err := m.RotateKey(t.Context(), theirs.Key.ID, manage.Rotation{})
			return err
		},
		"budget": func(m *manage.Manager) error {
			_, err := m.ChangeBudget(t.Context(), theirs.Key.ID, manage.BudgetChange{Remaining: ptr(int64(1))})
			return err
		},
		"keyspace": func(m *manage.Manager) error { _, err := m.Keyspace(t.Context(), "default"); return err },
		"keyspaces": func(m *manage.Manager) error {
			_, err := m.PatchKeyspace(t.Context(), "default", manage.KeyspacePatch{})
			return err
		},
		"void all": func(m *manage.Manager) error { return m.VoidKeyspace(t.Context(), "default") },
	} {
		for who, m := range map[string]*manage.Manager{"ops": ops, "nobody": nobody} {
			if err := do(m); !errors.Is(err, manage.ErrNotFound) {
				t.Errorf("%s, %s: %v", who, name, err)
			}
		}
	}
	lists := func(m *manage.Manager) (n [5]int) {
		keys, _ := m.Keys(t.Context(), manage.KeyFilter{})
		named, _ := m.Keys(t.Context(), manage.KeyFilter{Keyspaces: []string{"default"}})
		spaces, _ := m.Keyspaces(t.Context())
		used, _ := m.Usage(t.Context(), usage.Query{Keyspaces: []string{"default"}})
		logged, _ := m.Audit(t.Context(), audit.Query{})
		return [5]int{len(keys), len(named), len(spaces), len(used), len(logged)}
	}
	if got, want := lists(ops), [5]int{1, 0, 1, 0, 2}; got != want { // the log: its keyspace and its key
		t.Errorf("ops sees %v, want %v", got, want)
	}
	if got := lists(nobody); got != [5]int{} {
		t.Errorf("nobody sees %v", got)
	}
	if n, err := ops.VoidOwner(t.Context(), "ann"); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	for _, k := range []manage.CreatedKey{mine, theirs} {
		got, err := m.Key(t.Context(), k.Key.ID)
		if err != nil || (got.Status != k.Status) != (k.Key.Keyspace == "live") {
			t.Errorf("%s: %v, %v", k.Key.Keyspace, got.Status, err)
		}
	}
}

func TestAClientThatChangedSinceItWasAuthenticatedChangesNothing(t *testing.T) {
	for name, change := range map[string]func(m *manage.Manager) error{
		"disabled": func(m *manage.Manager) error { _, err := m.DisableClient(t.Context(), "ops"); return err },
		"narrowed": func(m *manage.Manager) error {
			_, err := m.PatchClient(t.Context(), "ops", manage.ClientPatch{Keyspaces: &[]string{}})
			return err
		},
		"deleted": func(m *manage.Manager) error { return m.DeleteClient(t.Context(), "ops") },
		"made anew": func(m *manage.Manager) error {
			if err := m.DeleteClient(t.Context(), "ops"); err != nil {
				return err
			}
			_, err := m.CreateClient(t.Context(), manage.NewClient{ID: "ops"})
			return err
		},
	} {
		m, _, now := newManager(t)
		ops := as(t, m, manage.NewClient{ID: "ops", Rights: client.Rights(), Keyspaces: []string{"*"}})
		*now = noon.Add(time.Millisecond)
		if err := change(m); err != nil {
			t.Fatal(err)
		}
		if _, err := ops.CreateKey(t.Context(), manage.NewKey{}); !errors.Is(err, verifier.ErrClientChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAClientHasTwoSecretsAtMostAndOneAtLeast(t *testing.T) {
	m, _, now := newManager(t)
	first, err := m.CreateClient(t.Context(), manage.NewClient{ID: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	*now = noon.Add(time.Hour)
	second, err := m.AddSecret(t.Context(), "orders")
	if err != nil || !second.Authenticate(first.Secret) || !second.Authenticate(second.Secret) || !second.Secrets[1].CreatedAt.Equal(*now) {
		t.Fatalf("%+v, %v", second.Secrets, err)
	}
	if _, err := m.AddSecret(t.Context(), "orders"); !errors.Is(err, manage.ErrTwoSecrets) {
		t.Errorf("a third: %v", err)
	}
	if _, err := m.RevokeSecret(t.Context(), "orders", "sec_none"); !errors.Is(err, manage.ErrNotFound) {
		t.Errorf("an unknown one: %v", err)
	}
	left, err := m.RevokeSecret(t.Context(), "orders", second.Secrets[0].ID())
	if err != nil || left.Authenticate(first.Secret) || !left.Authenticate(second.Secret) {
		t.Errorf("%v", err)
	}
	if _, err := m.RevokeSecret(t.Context(), "orders", left.Secrets[0].ID()); !errors.Is(err, manage.ErrLastSecret) {
		t.Errorf("the last: %v", err)
	}
}

func TestPatchClientRefuses(t *testing.T) {
	m, _, _ := newManager(t)
	if _, err := m.CreateClient(t.Context(), manage.NewClient{ID: "orders"}); err != nil {
		t.Fatal(err)
	}
	for field, p := range map[string]manage.ClientPatch{
		"rights":      {Rights: &[]client.Right{"root"}},
		"audiences":   {Audiences: &[]string{"a b"}},
		"keyspaces":   {Keyspaces: &[]string{"none"}},
		"permissions": {Permissions: &verifier.Permissions{"a": {}}},
		"algorithm":   {Algorithm: ptr("HS256")},
	} {
		var invalid *manage.InvalidError
		if _, err := m.PatchClient(t.Context(), "orders", p); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := m.PatchClient(t.Context(), "none", manage.ClientPatch{}); !errors.Is(err, manage.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
