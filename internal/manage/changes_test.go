package manage_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

func ptr[T any](v T) *T { return &v }

func TestPatchKeyChangesWhatItNamesAndNothingElse(t *testing.T) {
	m, _, now := newManager(t)
	made := mustKey(t, m, manage.NewKey{
		Owner: "ann", Name: "laptop", Permissions: verifier.Permissions{"a": {"r"}}, Audiences: []string{"x"},
		Metadata: json.RawMessage(`{"plan":"pro"}`), Remaining: ptr(int64(5)), Rate: verifier.Rate{Limit: 5, Window: time.Minute, Burst: 5},
	})
	*now = noon.Add(time.Hour)
	tests := map[string]struct {
		patch manage.KeyPatch
		check func(manage.KeyView) bool
	}{
		"its name":               {manage.KeyPatch{Name: ptr("phone")}, func(k manage.KeyView) bool { return k.Key.Name == "phone" }},
		"its permissions":        {manage.KeyPatch{Permissions: &verifier.Permissions{"b": {"w"}}}, func(k manage.KeyView) bool { return k.Key.Permissions["b"][0] == "w" && k.Key.Permissions["a"] == nil }},
		"its permissions, away":  {manage.KeyPatch{Permissions: new(verifier.Permissions)}, func(k manage.KeyView) bool { return len(k.Key.Permissions) == 0 }},
		"its audiences":          {manage.KeyPatch{Audiences: &[]string{"y", "y"}}, func(k manage.KeyView) bool { return strings.Join(k.Key.Audiences, " ") == "y" }},
		"its metadata":           {manage.KeyPatch{Metadata: ptr(json.RawMessage(` {"a" : 1}`))}, func(k manage.KeyView) bool { return string(k.Key.Metadata) == `{"a":1}` }},
		"its metadata, away":     {manage.KeyPatch{Metadata: new(json.RawMessage)}, func(k manage.KeyView) bool { return len(k.Key.Metadata) == 0 }},
		"its expiry":             {manage.KeyPatch{ExpiresAt: ptr(noon.Truncate(time.Second).AddDate(1, 0, 0))}, func(k manage.KeyView) bool { return k.Key.ExpiresAt.Equal(noon.Truncate(time.Second).AddDate(1, 0, 0)) }},
		"its expiry, away":       {manage.KeyPatch{ExpiresAt: new(time.Time)}, func(k manage.KeyView) bool { return k.Key.ExpiresAt.IsZero() }},
		"its rate":               {manage.KeyPatch{Budget: manage.BudgetChange{Rate: &verifier.Rate{Limit: 1, Window: time.Hour, Burst: 1}}}, func(k manage.KeyView) bool { return k.Budget.Rate.Window == time.Hour }},
		"its rate, away":         {manage.KeyPatch{Budget: manage.BudgetChange{Rate: new(verifier.Rate)}}, func(k manage.KeyView) bool { return k.Budget.Rate == verifier.Rate{} }},
		"its refill":             {manage.KeyPatch{Budget: manage.BudgetChange{Refill: &verifier.Refill{Amount: 7, Interval: verifier.Daily}}}, func(k manage.KeyView) bool { return k.Budget.Refill.Amount == 7 && k.Budget.Remaining == 5 }},
		"what remains of it":     {manage.KeyPatch{Budget: manage.BudgetChange{Remaining: ptr(int64(9))}}, func(k manage.KeyView) bool { return k.Budget.Remaining == 9 }},
		"that it has a limit":    {manage.KeyPatch{Budget: manage.BudgetChange{Unlimited: true}}, func(k manage.KeyView) bool { return !k.Budget.Counted && k.Budget.Refill == verifier.Refill{} }},
		"and it has one again":   {manage.KeyPatch{Budget: manage.BudgetChange{Refill: &verifier.Refill{Amount: 3, Interval: verifier.Every(time.Hour)}}}, func(k manage.KeyView) bool { return k.Budget.Counted && k.Budget.Remaining == 3 }},
		"nothing, which is fine": {manage.KeyPatch{}, func(manage.KeyView) bool { return true }},
	}
	version := made.Version
	for _, name := range []string{
		"its name", "its permissions", "its permissions, away", "its audiences", "its metadata", "its metadata, away", "its expiry", "its expiry, away",
		"its rate", "its rate, away", "its refill", "what remains of it", "that it has a limit", "and it has one again", "nothing, which is fine",
	} {
		test := tests[name]
		got, err := m.PatchKey(t.Context(), made.Key.ID, test.patch)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		version++
		if !test.check(got) || got.Version != version || !got.ChangedAt.Equal(*now) {
			t.Errorf("%s: version %d, want %d; %+v", name, got.Version, version, got.KeyRecord)
		}
		if got.Key.Owner != "ann" || got.Key.Digest != made.Key.Digest || got.Budget.ID != made.Budget.ID {
			t.Errorf("%s: changed more than that", name)
		}
	}
}

func TestPatchKeyRefuses(t *testing.T) {
	m, _, _ := newManager(t)
	key := mustKey(t, m, manage.NewKey{})
	for field, patch := range map[string]manage.KeyPatch{
		"name":        {Name: ptr("\n")},
		"permissions": {Permissions: &verifier.Permissions{"a": nil}},
		"audiences":   {Audiences: &[]string{"a#b"}},
		"metadata":    {Metadata: ptr(json.RawMessage(`[]`))},
		"expires_at":  {ExpiresAt: ptr(noon)},
		"remaining":   {Budget: manage.BudgetChange{Remaining: ptr(int64(-1))}},
		"refill":      {Budget: manage.BudgetChange{Refill: &verifier.Refill{Amount: 1}}},
		"rate":        {Budget: manage.BudgetChange{Rate: &verifier.Rate{Limit: 1}}},
		"add":         {Budget: manage.BudgetChange{Add: 5}},
	} {
		_, err := m.PatchKey(t.Context(), key.Key.ID, patch)
		var invalid *manage.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%v, want a fault in %s", err, field)
		}
	}
	if got, err := m.Key(t.Context(), key.Key.ID); err != nil || got.Version != 1 {
		t.Errorf("version %d, %v", got.Version, err)
	}
}

func TestWhatTokensSayTooMuchAfterAPatchIsVoid(t *testing.T) {
	soon, later := noon.Truncate(time.Second).Add(10*time.Minute), noon.Truncate(time.Second).Add(time.Hour)
	had := manage.NewKey{Permissions: verifier.Permissions{"a": {"r", "w"}}, Audiences: []string{"x", "y"}, ExpiresIn: 24 * time.Hour}
	for name, test := range map[string]struct {
		key   manage.NewKey
		patch manage.KeyPatch
		void  bool
	}{
		"fewer actions":                       {had, manage.KeyPatch{Permissions: &verifier.Permissions{"a": {"r"}}}, true},
		"other permissions":                   {had, manage.KeyPatch{Permissions: &verifier.Permissions{"b": {"r"}}}, true},
		"more permissions":                    {had, manage.KeyPatch{Permissions: &verifier.Permissions{"a": {"w", "r"}, "b": {"r"}}}, false},
		"an audience less":                    {had, manage.KeyPatch{Audiences: &[]string{"x"}}, true},
		"an audience more":                    {had, manage.KeyPatch{Audiences: &[]string{"y", "x", "z"}}, false},
		"any audience":                        {had, manage.KeyPatch{Audiences: &[]string{}}, false},
		"an audience in place of any":         {manage.NewKey{}, manage.KeyPatch{Audiences: &[]string{"x"}}, true},
		"an expiry within the life of tokens": {had, manage.KeyPatch{ExpiresAt: &soon}, true},
		"an expiry after them":                {had, manage.KeyPatch{ExpiresAt: &later}, false},
		"an expiry for the first time":        {manage.NewKey{}, manage.KeyPatch{ExpiresAt: &soon}, true},
		"an expiry that was there":            {manage.NewKey{ExpiresIn: 10 * time.Minute}, manage.KeyPatch{ExpiresAt: &soon}, false},
		"another name":                        {had, manage.KeyPatch{Name: ptr("n")}, false},
		"another limit":                       {had, manage.KeyPatch{Budget: manage.BudgetChange{Remaining: ptr(int64(1))}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			m, _, _ := newManager(t)
			key := mustKey(t, m, test.key)
			got, err := m.PatchKey(t.Context(), key.Key.ID, test.patch)
			if err != nil {
				t.Fatal(err)
			}
			if void := got.Status != key.Status; void != test.void {
				t.Errorf("void: %v, want %v", void, test.void)
			}
		})
	}
}

func TestAReasonStaysWithTheKeyUntilItIsEnabled(t *testing.T) {
	m, _, _ := newManager(t)
	key := mustKey(t, m, manage.NewKey{})
	lost := m.As(manage.By{Reason: "lost"})
	if got, err := lost.DisableKey(t.Context(), key.Key.ID); err != nil || got.Reason != "lost" {
		t.Errorf("%q, %v", got.Reason, err)
	}
	if got, err := m.As(manage.By{Reason: "found"}).EnableKey(t.Context(), key.Key.ID); err != nil || got.Reason != "" {
		t.Errorf("%q, %v", got.Reason, err)
	}
	if got, err := lost.RevokeKey(t.Context(), key.Key.ID); err != nil || got.Reason != "lost" {
		t.Errorf("%q, %v", got.Reason, err)
	}
}

func TestADeletedKeyLeavesATombstone(t *testing.T) {
	m, _, now := newManager(t)
	key := mustKey(t, m, manage.NewKey{Owner: "ann", Name: "laptop", Metadata: json.RawMessage(`{"mail":"ann@example.com"}`), Permissions: verifier.Permissions{"a": {"r"}}})
	*now = noon.Add(time.Minute)
	got, err := m.As(manage.By{Reason: "asked to"}).DeleteKey(t.Context(), key.Key.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !got.DeletedAt.Equal(*now) || got.Key.State != verifier.Revoked || got.Reason != "asked to" || got.Key.Owner != "ann" || got.Key.Digest != key.Key.Digest {
		t.Errorf("%+v", got.KeyRecord)
	}
	if got.Key.Name != "" || got.Key.Metadata != nil || got.Key.Permissions != nil {
		t.Errorf("still known: %+v", got.Key)
	}
	if keys, err := m.Keys(t.Context(), manage.KeyFilter{Owner: "ann"}); err != nil || len(keys) != 0 {
		t.Errorf("%d listed, %v", len(keys), err)
	}
	for name, change := range map[string]func() error{
		"deleted": func() error { _, err := m.DeleteKey(t.Context(), key.Key.ID); return err },
		"enabled": func() error { _, err := m.EnableKey(t.Context(), key.Key.ID); return err },
		"patched": func() error { _, err := m.PatchKey(t.Context(), key.Key.ID, manage.KeyPatch{}); return err },
		"rotated": func() error { _, err := m.RotateKey(t.Context(), key.Key.ID, manage.Rotation{}); return err },
		"refilled": func() error {
			_, err := m.ChangeBudget(t.Context(), key.Key.ID, manage.BudgetChange{Remaining: ptr(int64(1))})
			return err
		},
	} {
		if err := change(); !errors.Is(err, manage.ErrDeleted) || !errors.Is(err, manage.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALostUpdateIsRefused(t *testing.T) {
	m, _, _ := newManager(t)
	key := mustKey(t, m, manage.NewKey{})
	mustKeyspace(t, m, manage.NewKeyspace{Name: "live"})
	if _, err := m.CreateClient(t.Context(), manage.NewClient{ID: "orders"}); err != nil {
		t.Fatal(err)
	}
	c, err := m.Client(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		version int64
		change  func(m *manage.Manager) error
	}{
		"key": {1, func(m *manage.Manager) error {
			_, err := m.PatchKey(t.Context(), key.Key.ID, manage.KeyPatch{Name: ptr("n")})
			return err
		}},
		"keyspace": {1, func(m *manage.Manager) error {
			_, err := m.PatchKeyspace(t.Context(), "live", manage.KeyspacePatch{Prefix: ptr("live")})
			return err
		}},
		"client": {c.Version, func(m *manage.Manager) error {
			_, err := m.PatchClient(t.Context(), "orders", manage.ClientPatch{Audiences: &[]string{"a"}})
			return err
		}},
	} {
		first, second := m.As(manage.By{Version: test.version}), m.As(manage.By{Version: test.version})
		if err := test.change(first); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := test.change(second); !errors.Is(err, manage.ErrChanged) {
			t.Errorf("%s, second: %v", name, err)
		}
	}
}

func TestABudgetIsSetAndAddedTo(t *testing.T) {
	m, _, now := newManager(t)
	key := mustKey(t, m, manage.NewKey{Remaining: ptr(int64(10)), Refill: verifier.Refill{Amount: 100, Interval: verifier.Every(time.Hour)}})
	change := func(c manage.BudgetChange, want int64) {
		t.Helper()
		got, err := m.ChangeBudget(t.Context(), key.Key.ID, c)
		if err != nil || got.Budget.Remaining != want {
			t.Errorf("%d remain, %v, want %d", got.Budget.Remaining, err, want)
		}
	}
	change(manage.BudgetChange{Add: 5}, 15)
	change(manage.BudgetChange{Add: -15}, 0)
	change(manage.BudgetChange{Remaining: ptr(int64(3))}, 3)
	*now = noon.Add(90 * time.Minute)
	change(manage.BudgetChange{Add: 1}, 101) // to what the refill that was due brought
	change(manage.BudgetChange{Refill: &verifier.Refill{Amount: 50, Interval: verifier.Every(time.Hour)}}, 101)
	*now = noon.Add(2 * time.Hour)
	change(manage.BudgetChange{Add: 1}, 51) // the schedule is that of before
	for _, add := range []int64{-52, 1e15} {
		if _, err := m.ChangeBudget(t.Context(), key.Key.ID, manage.BudgetChange{Add: add}); !errors.Is(err, manage.ErrInvalid) {
			t.Errorf("%d: %v", add, err)
		}
	}
	for name, c := range map[string]manage.BudgetChange{
		"set and added to":       {Remaining: ptr(int64(1)), Add: 1},
		"unlimited and set":      {Unlimited: true, Remaining: ptr(int64(1))},
		"unlimited and refilled": {Unlimited: true, Refill: &verifier.Refill{Amount: 1, Interval: verifier.Daily}},
	} {
		if _, err := m.ChangeBudget(t.Context(), key.Key.ID, c); !errors.Is(err, manage.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyspacesChange(t *testing.T) {
	m, _, now := newManager(t)
	mustKeyspace(t, m, manage.NewKeyspace{Name: "live"})
	*now = noon.Add(time.Minute)
	got, err := m.PatchKeyspace(t.Context(), "live", manage.KeyspacePatch{Prefix: ptr("live"), KeyLifetime: ptr(time.Hour), PublishMetadata: ptr(true)})
	if err != nil || got.Prefix != "live" || got.KeyLifetime != time.Hour || !got.PublishMetadata || got.ImportedKeys || got.Version != 2 || !got.ChangedAt.Equal(*now) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := m.PatchKeyspace(t.Context(), "live", manage.KeyspacePatch{Prefix: ptr("cs"), TokenLifetime: ptr(time.Hour)}); !errors.Is(err, manage.ErrInvalid) ||
		!strings.Contains(err.Error(), "prefix: ") || !strings.Contains(err.Error(), "token_lifetime: ") {
		t.Errorf("%v", err)
	}
	if err := m.DeleteKeyspace(t.Context(), "live"); err != nil {
		t.Error(err)
	}
	mustKeyspace(t, m, manage.NewKeyspace{Name: "live"})
	key := mustKey(t, m, manage.NewKey{Keyspace: "live"})
	if _, err := m.DeleteKey(t.Context(), key.Key.ID); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"live": manage.ErrInUse, "default": manage.ErrInUse, "none": manage.ErrNotFound} {
		if err := m.DeleteKeyspace(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
