package manage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

func entries(t *testing.T, m *manage.Manager) (all []audit.Entry, text string) {
	t.Helper()
	rows, err := m.Audit(t.Context(), audit.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		e, err := row.Rest()
		if err != nil {
			t.Fatal(err)
		}
		all, text = append(all, e), text+string(row.JSON)
	}
	return all, text
}

// everything does every change once, and returns the secrets that it made.
func everything(t *testing.T, m *manage.Manager) (actions []string, secrets []verifier.Secret) {
	t.Helper()
	var key manage.CreatedKey
	var made manage.CreatedClient
	step := func(action string, do func() error) {
		t.Helper()
		actions = append(actions, action)
		if err := do(); err != nil {
			t.Fatalf("%s: %v", action, err)
		}
	}
	var err error
	ctx := t.Context()
	step("keyspace.create", func() error { _, err := m.CreateKeyspace(ctx, manage.NewKeyspace{Name: "live"}); return err })
	step("keyspace.change", func() error {
		_, err := m.PatchKeyspace(ctx, "live", manage.KeyspacePatch{Prefix: ptr("live")})
		return err
	})
	step("key.create", func() error { key, err = m.CreateKey(ctx, manage.NewKey{Keyspace: "live"}); return err })
	id := key.Key.ID
	step("key.change", func() error { _, err := m.PatchKey(ctx, id, manage.KeyPatch{Name: ptr("n")}); return err })
	step("key.budget", func() error {
		_, err := m.ChangeBudget(ctx, id, manage.BudgetChange{Remaining: ptr(int64(1))})
		return err
	})
	step("key.disable", func() error { _, err := m.DisableKey(ctx, id); return err })
	step("key.enable", func() error { _, err := m.EnableKey(ctx, id); return err })
	step("key.void", func() error { _, err := m.VoidKey(ctx, id); return err })
	rotated, err := manage.RotatedKey{}, error(nil)
	step("key.rotate", func() error { rotated, err = m.RotateKey(ctx, id, manage.Rotation{Overlap: time.Hour}); return err })
	step("key.revoke", func() error { _, err := m.RevokeKey(ctx, id); return err })
	step("key.delete", func() error { _, err := m.DeleteKey(ctx, id); return err })
	step("keyspace.void", func() error { return m.VoidKeyspace(ctx, "live") })
	step("client.create", func() error { made, err = m.CreateClient(ctx, manage.NewClient{ID: "orders"}); return err })
	step("client.change", func() error {
		_, err := m.PatchClient(ctx, "orders", manage.ClientPatch{Algorithm: ptr("ES256")})
		return err
	})
	second, err := manage.CreatedClient{}, error(nil)
	step("client.secret.add", func() error { second, err = m.AddSecret(ctx, "orders"); return err })
	step("client.secret.revoke", func() error { _, err := m.RevokeSecret(ctx, "orders", second.Secrets[1].ID()); return err })
	step("client.disable", func() error { _, err := m.DisableClient(ctx, "orders"); return err })
	step("client.enable", func() error { _, err := m.EnableClient(ctx, "orders"); return err })
	step("client.delete", func() error { return m.DeleteClient(ctx, "orders") })
	return actions, []verifier.Secret{key.Secret, rotated.Secret, made.Secret, second.Secret}
}

func TestEveryChangeIsInTheLog(t *testing.T) {
	m, s, _ := newManager(t)
	actions, secrets := everything(t, m.As(manage.By{Operator: "anna", From: "desk", Reason: "a test"}))
	all, text := entries(t, m)
	if len(all) != len(actions) {
		t.Fatalf("%d entries of %d changes", len(all), len(actions))
	}
	for i, e := range all {
		if e.Action != actions[i] || e.Target == "" || e.Reason != "a test" || e.Actor != (audit.Actor{Kind: audit.KindOperator, ID: "anna", From: "desk"}) {
			t.Errorf("%s: %+v", actions[i], e)
		}
		if strings.HasPrefix(e.Action, "key") && e.Keyspace != "live" {
			t.Errorf("%s is of keyspace %q", e.Action, e.Keyspace)
		}
	}
	for _, secret := range secrets {
		digest := secret.Digest()
		if strings.Contains(text, secret.Reveal()) || strings.Contains(text, fmt.Sprintf("%x", digest[:])) {
			t.Error("a secret is in the log")
		}
	}
	if report, err := audit.Verify(t.Context(), s, nil, nil); err != nil || len(report.Faults) > 0 || report.Entries != int64(len(all)) {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestTheLogTellsHowItWasAndHowItIs(t *testing.T) {
	m, _, _ := newManager(t)
	key := mustKey(t, m, manage.NewKey{Name: "laptop", Remaining: ptr(int64(5))})
	if _, err := m.PatchKey(t.Context(), key.Key.ID, manage.KeyPatch{Name: ptr("phone"), Budget: manage.BudgetChange{Remaining: ptr(int64(9))}}); err != nil {
		t.Fatal(err)
	}
	all, _ := entries(t, m)
	var before, after wire.Key
	if err := errors.Join(json.Unmarshal(all[1].Before, &before), json.Unmarshal(all[1].After, &after)); err != nil {
		t.Fatal(err)
	}
	if before.Name != "laptop" || *before.Remaining != 5 || before.Version != 1 || after.Name != "phone" || *after.Remaining != 9 || after.Version != 2 {
		t.Errorf("%+v\n%+v", before, after)
	}
	if all[0].Before != nil || all[0].After == nil {
		t.Errorf("created: %s", all[0].Before)
	}
}

func TestWhatChangesNothingIsNotInTheLog(t *testing.T) {
	m, _, _ := newManager(t)
	key := mustKey(t, m, manage.NewKey{})
	var did manage.Did
	by := m.As(manage.By{Did: &did})
	if _, err := by.EnableKey(t.Context(), key.Key.ID); err != nil || did.Log.Seq != 0 {
		t.Errorf("%+v, %v", did, err)
	}
	_, _ = by.PatchKey(t.Context(), key.Key.ID, manage.KeyPatch{Name: ptr("\n")})
	_, _ = by.RotateKey(t.Context(), "key_none", manage.Rotation{})
	_, _ = by.CreateClient(t.Context(), manage.NewClient{ID: "x", Keyspaces: []string{"none"}})
	if all, _ := entries(t, m); len(all) != 1 {
		t.Errorf("%d entries", len(all))
	}
	if _, err := by.DisableKey(t.Context(), key.Key.ID); err != nil || did.Log.Seq != 2 || did.Replayed {
		t.Errorf("%+v, %v", did, err)
	}
}

func repeat(key, request byte) *manage.Repeat {
	return &manage.Repeat{ID: [32]byte{key}, Request: [32]byte{request}}
}

func TestAChangeIsMadeOnceHoweverOftenItIsSaid(t *testing.T) {
	m, _, now := newManager(t)
	var did manage.Did
	say := func(key, request byte) (manage.CreatedKey, error) {
		return m.As(manage.By{Repeat: repeat(key, request), Did: &did}).CreateKey(t.Context(), manage.NewKey{})
	}
	first, err := say(1, 1)
	if err != nil || did.Replayed || first.Secret.Reveal() == "" {
		t.Fatalf("%+v, %v", did, err)
	}
	again, err := say(1, 1)
	if err != nil || !did.Replayed || again.Secret.Reveal() != "" || again.Key.ID != first.Key.ID {
		t.Errorf("%+v, %v: %s after %s", did, err, again.Key.ID, first.Key.ID)
	}
	if _, err := say(1, 2); !errors.Is(err, manage.ErrRepeat) {
		t.Errorf("another request: %v", err)
	}
	if other, err := say(2, 1); err != nil || other.Key.ID == first.Key.ID {
		t.Errorf("another key: %v", err)
	}
	*now = noon.Add(manage.RepeatWindow)
	if late, err := say(1, 1); err != nil || did.Replayed || late.Key.ID == first.Key.ID {
		t.Errorf("after the window: %+v, %v", did, err)
	}
}

func TestTwinsMakeOneChange(t *testing.T) {
	m, _, _ := newManager(t)
	const twins = 20
	ids := make([]verifier.KeyID, twins)
	secrets := make([]bool, twins)
	var running sync.WaitGroup
	for i := range twins {
		running.Go(func() {
			made, err := m.As(manage.By{Repeat: repeat(1, 1)}).CreateKey(context.Background(), manage.NewKey{})
			if err != nil {
				t.Error(err)
			}
			ids[i], secrets[i] = made.Key.ID, made.Secret.Reveal() != ""
		})
	}
	running.Wait()
	told := 0
	for i := range twins {
		if ids[i] != ids[0] {
			t.Errorf("%s and %s", ids[0], ids[i])
		}
		if secrets[i] {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the secret was told %d times", told)
	}
}

func TestReportLeaksRevokesWhatIsOurs(t *testing.T) {
	m, s, _ := newManager(t)
	mustKeyspace(t, m, manage.NewKeyspace{Name: "live"})
	ours, revoked, theirs := mustKey(t, m, manage.NewKey{Owner: "ann"}), mustKey(t, m, manage.NewKey{}), mustKey(t, m, manage.NewKey{Keyspace: "live"})
	if _, err := m.As(manage.By{Reason: "old"}).RevokeKey(t.Context(), revoked.Key.ID); err != nil {
		t.Fatal(err)
	}
	scanner := as(t, m, manage.NewClient{ID: "scanner", Rights: []client.Right{client.LeaksReport}})
	unknown, err := verifier.GenerateKey("ck")
	if err != nil {
		t.Fatal(err)
	}
	found := []verifier.Secret{verifier.NewSecret("password"), ours.Secret, unknown, revoked.Secret, theirs.Secret, verifier.NewSecret(""), ours.Secret}
	got, err := scanner.ReportLeaks(t.Context(), found)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []wire.Leak{
		{}, {Ours: true, KeyID: string(ours.Key.ID), Keyspace: "default", Owner: "ann", Revoked: true}, {},
		{Ours: true, KeyID: string(revoked.Key.ID), Keyspace: "default"}, {}, {}, {Ours: true, KeyID: string(ours.Key.ID), Keyspace: "default", Owner: "ann"},
	} {
		if got[i] != want {
			t.Errorf("%d: %+v, want %+v", i, got[i], want)
		}
	}
	for id, want := range map[verifier.KeyID]string{ours.Key.ID: "leaked", revoked.Key.ID: "old", theirs.Key.ID: ""} {
		if rec, _, err := s.Key(t.Context(), id); err != nil || rec.Reason != want || (rec.Key.State == verifier.Revoked) != (want != "") {
			t.Errorf("%s: %q, %v", id, rec.Reason, err)
		}
	}
	for _, n := range []int{0, manage.MaxLeaks + 1} {
		if _, err := scanner.ReportLeaks(t.Context(), make([]verifier.Secret, n)); !errors.Is(err, manage.ErrInvalid) {
			t.Errorf("%d: %v", n, err)
		}
	}
}
