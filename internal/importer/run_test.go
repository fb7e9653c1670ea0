package importer_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/importer"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/verifier"
)

// place is a store to import into.
type place struct {
	*manage.Manager
	store store.Store
}

// onEachStore runs test with an empty store of each kind.
func onEachStore(t *testing.T, test func(t *testing.T, p place)) {
	t.Run("SQLite", func(t *testing.T) { test(t, openPlace(t, "sqlite:"+filepath.Join(t.TempDir(), "cambio.db"))) })
	t.Run("PostgreSQL", func(t *testing.T) {
		test(t, openPlace(t, pgtest.Database(t, "importer", func(ctx context.Context, url string) error {
			s, err := store.Open(ctx, url)
			if err != nil {
				return err
			}
			return s.Close()
		})))
	})
}

func openPlace(t *testing.T, url string) place {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return place{manage.New(s), s}
}

// key is the n-th key of a test.
func key(n int) string { return fmt.Sprintf("%s%06d", secret, n) }

func lines(rows ...row) importer.Source {
	text := make([]string, len(rows))
	for i, r := range rows {
		text[i] = r.String()
	}
	return importer.JSONLines(strings.NewReader(strings.Join(text, "\n")), importer.Rules{Now: time.Now(), AllowWeak: true})
}

// imported runs an import that must not break, and returns what was reported.
func imported(t *testing.T, p place, source importer.Source, opts importer.Options) (importer.Summary, []importer.Outcome) {
	t.Helper()
	var outcomes []importer.Outcome
	opts.Report = func(o importer.Outcome) { outcomes = append(outcomes, o) }
	summary, err := importer.Run(t.Context(), source, p, opts)
	if err != nil {
		t.Fatal(err)
	}
	return summary, outcomes
}

func (p place) count(t *testing.T, keyspace string) int {
	t.Helper()
	total := 0
	for after := verifier.KeyID(""); ; {
		page, err := p.Keys(t.Context(), manage.KeyFilter{Keyspaces: []string{keyspace}, After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if total += len(page); len(page) < 1000 {
			return total
		}
		after = page[999].Key.ID
	}
}

func TestRun(t *testing.T) {
	onEachStore(t, func(t *testing.T, p place) {
		source := func() importer.Source {
			return lines(
				row{"key": key(1), "external_id": "one", "keyspace": "moved", "owner": "user_42", "metadata": []int{1}},
				row{"key": key(2), "keyspace": "moved", "owner": "key_2"},
				row{"key": key(3)},
				row{"key": key(1), "keyspace": "moved"},
				row{"key": key(4), "metadata": row{"a": strings.Repeat("x", 16<<10)}, "audiences": []string{"no spaces"}},
			)
		}
		want := importer.Summary{Rows: 5, Imported: 2, Conflicts: 1, Invalid: 2, Noted: 1, DryRun: true,
			Notes: []string{"keyspace default: takes imported keys from now on", "keyspace moved: new, for imported keys"}}
		t.Run("a dry run tells what would happen and writes nothing", func(t *testing.T) {
			got, outcomes := imported(t, p, source(), importer.Options{DryRun: true})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			tell(t, outcomes, "1 import", "2 invalid owner:", "3 import", "4 conflict key: is that of row 1", "5 invalid audiences:")
			if head, err := p.store.AuditHead(t.Context()); err != nil || head.Seq != 0 || p.count(t, "default") != 0 {
				t.Errorf("log ends at %d, %v", head.Seq, err)
			}
			if _, err := p.Keyspace(t.Context(), "moved"); !errors.Is(err, manage.ErrNotFound) {
				t.Error(err)
			}
		})
		want.DryRun = false
		t.Run("a bad row does not stop the others", func(t *testing.T) {
			got, outcomes := imported(t, p, source(), importer.Options{})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			tell(t, outcomes, "1 import", "2 invalid", "3 import", "4 conflict", "5 invalid audiences: \"no spaces\": must have no space and no #; metadata: must be")
			view, err := p.Key(t.Context(), outcomes[0].ID)
			if err != nil || view.Key.ExternalID != "one" || string(view.Key.Metadata) != `{"value":[1]}` {
				t.Errorf("%+v, %v", view.Key, err)
			}
		})
		t.Run("keyspaces take imported keys, and the log says so before it says which", func(t *testing.T) {
			entries, err := p.Audit(t.Context(), audit.Query{})
			var told []string
			for _, e := range entries {
				told = append(told, e.Action+" "+e.Keyspace)
			}
			if diff := cmp.Diff([]string{"keyspace.change default", "keyspace.create moved", "key.import default", "key.import moved"}, told); diff != "" || err != nil {
				t.Error(diff, err)
			}
			if text := string(entries[3].JSON); !strings.Contains(text, `"after":{"count":1,"keys":["key_`) {
				t.Error(text)
			}
		})
		t.Run("a second run changes nothing", func(t *testing.T) {
			got, outcomes := imported(t, p, source(), importer.Options{})
			want.Imported, want.Unchanged, want.Notes = 0, 2, []string{}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if outcomes[0].ID == "" {
				t.Error("the key that is there is not named")
			}
			if head, err := p.store.AuditHead(t.Context()); err != nil || head.Seq != 4 {
				t.Errorf("log ends at %d, %v", head.Seq, err)
			}
		})
	})
}

// tell compares the outcomes with the beginnings of how they print.
func tell(t *testing.T, outcomes []importer.Outcome, want ...string) {
	t.Helper()
	if len(outcomes) != len(want) {
		t.Fatalf("%d outcomes", len(outcomes))
	}
	for i, o := range outcomes {
		line := fmt.Sprintf("%d %s", o.Number, o.Outcome)
		if o.Err != nil {
			line += " " + o.Err.Error()
		}
		if !strings.HasPrefix(line, want[i]) || strings.Contains(line, "\n") {
			t.Errorf("%q, want %q", line, want[i])
		}
		noSecret(t, line)
	}
}

func TestRunMeetsKeysThatAreThere(t *testing.T) {
	onEachStore(t, func(t *testing.T, p place) {
		mine := row{"key": key(1), "owner": "user_42", "external_id": "one"}
		_, outcomes := imported(t, p, lines(mine), importer.Options{})
		id := outcomes[0].ID
		if _, err := p.DisableKey(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for name, test := range map[string]struct {
			row  row
			want string
		}{
			"as it was, whatever was done to it since": {mine, "1 unchanged"},
			"with another name":                        {mine.with(row{"name": "laptop"}), "1 unchanged"},
			"of another owner":                         {mine.with(row{"owner": "user_43"}), "1 conflict key: is there already"},
			"in another keyspace":                      {mine.with(row{"keyspace": "moved"}), "1 conflict key: is there already"},
			"with another id":                          {mine.with(row{"external_id": "two"}), "1 conflict key: is there already"},
		} {
			t.Run(name, func(t *testing.T) {
				_, outcomes := imported(t, p, lines(test.row), importer.Options{})
				tell(t, outcomes, test.want)
				if outcomes[0].ID != id {
					t.Errorf("names %s", outcomes[0].ID)
				}
			})
		}
		view, err := p.Key(t.Context(), id)
		if err != nil || view.Key.State != verifier.Disabled || view.Key.Name != "" {
			t.Errorf("%+v, %v", view.Key, err)
		}
		t.Run("and not those that were deleted", func(t *testing.T) {
			if _, err := p.DeleteKey(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			_, outcomes := imported(t, p, lines(mine), importer.Options{})
			tell(t, outcomes, "1 conflict key: was imported before, and deleted since")
		})
	})
}

func TestManyRowsAreStoredInBatches(t *testing.T) {
	onEachStore(t, func(t *testing.T, p place) {
		var rows []row
		for n := range 2500 {
			rows = append(rows, row{"key": key(n), "keyspace": fmt.Sprint("moved", n/2000)})
		}
		rows = append(rows, row{"key": key(7), "keyspace": "moved0"})
		var seen []int64
		summary, outcomes := imported(t, p, lines(rows...), importer.Options{Progress: func(s importer.Summary) { seen = append(seen, s.Rows) }})
		if diff := cmp.Diff([]int64{1000, 2000, 2501}, seen); diff != "" {
			t.Error(diff)
		}
		if summary.Imported != 2500 || p.count(t, "moved0") != 2000 || p.count(t, "moved1") != 500 {
			t.Errorf("%+v", summary)
		}
		tell(t, outcomes[2500:], "2501 conflict key: is that of row 8")
	})
}

func TestAStrictRunStopsBeforeTheBatchOfABadRow(t *testing.T) {
	onEachStore(t, func(t *testing.T, p place) {
		imported(t, p, lines(row{"key": key(1500), "owner": "user_42"}), importer.Options{})
		for name, bad := range map[string]row{
			"that cannot be read":   {"key": "x", "owner": 1.5},
			"that no store takes":   {"key": "x", "audiences": []string{"#"}},
			"that is in conflict":   {"key": key(1500)},
			"that was there before": {"key": key(3)},
		} {
			t.Run(name, func(t *testing.T) {
				var rows []row
				for n := range 1200 {
					rows = append(rows, row{"key": key(n)})
				}
				rows[1100] = bad
				summary, err := importer.Run(t.Context(), lines(rows...), p, importer.Options{Strict: true})
				var strict *importer.StrictError
				if !errors.As(err, &strict) || strict.Number != 1101 || !strings.HasPrefix(err.Error(), "row 1101: ") {
					t.Fatal(err)
				}
				if summary.Rows != 1000 || p.count(t, "default") != 1001 {
					t.Errorf("%+v, %d keys", summary, p.count(t, "default"))
				}
			})
		}
	})
}

func TestAStrictRunOfGoodRowsIsARun(t *testing.T) {
	onEachStore(t, func(t *testing.T, p place) {
		summary, _ := imported(t, p, lines(row{"key": key(1), "keyspace": "moved"}), importer.Options{Strict: true})
		if summary.Imported != 1 || p.count(t, "moved") != 1 {
			t.Errorf("%+v", summary)
		}
	})
}

func TestWhatBreaksARunLeavesTheSummary(t *testing.T) {
	p := openPlace(t, "sqlite:"+filepath.Join(t.TempDir(), "cambio.db"))
	broken := errors.New("disk on fire")
	var many []row
	for n := range 1001 {
		many = append(many, row{"key": key(n)})
	}
	source := importer.Source(func(yield func(importer.Row, error) bool) {
		for r, err := range lines(many...) {
			if !yield(r, err) {
				return
			}
		}
		yield(importer.Row{}, broken)
	})
	summary, err := importer.Run(t.Context(), source, p, importer.Options{})
	if !errors.Is(err, broken) || summary.Imported != 1000 || p.count(t, "default") != 1000 {
		t.Errorf("%+v, %v", summary, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if summary, err := importer.Run(ctx, lines(row{"key": key(2)}), p, importer.Options{}); !errors.Is(err, context.Canceled) || summary.Rows != 0 {
		t.Errorf("%+v, %v", summary, err)
	}
}

// Whoever imports the same file at the same time gets the same keys once.
func TestTwoRunsAtOnce(t *testing.T) {
	for name, keyspaces := range map[string][2]string{
		"find each other's keys":                       {"moved", "moved"},
		"into two keyspaces are in conflict, not lost": {"moved", "other"},
	} {
		t.Run(name, func(t *testing.T) {
			onEachStore(t, func(t *testing.T, p place) {
				const n = 3000
				done := make(chan importer.Summary, 2)
				for _, keyspace := range keyspaces {
					var rows []row
					for i := range n {
						rows = append(rows, row{"key": key(i), "keyspace": keyspace})
					}
					go func() {
						summary, err := importer.Run(t.Context(), lines(rows...), p, importer.Options{})
						if err != nil {
							t.Error(err)
						}
						done <- summary
					}()
				}
				a, b := <-done, <-done
				if a.Imported+b.Imported != n || a.Unchanged+b.Unchanged+a.Conflicts+b.Conflicts != n {
					t.Errorf("%+v, %+v", a, b)
				}
				if keyspaces[0] == keyspaces[1] && (p.count(t, "moved") != n || a.Conflicts+b.Conflicts != 0) {
					t.Errorf("%d keys, %+v, %+v", p.count(t, "moved"), a, b)
				}
			})
		})
	}
}

func TestKeysGoOnlyIntoKeyspacesThatWerePrepared(t *testing.T) {
	onEachStore(t, func(t *testing.T, p place) {
		keys := []manage.ImportKey{
			{Digest: verifier.NewSecret(key(1)).Digest(), Keyspace: "default", State: verifier.Active},
			{Digest: verifier.NewSecret(key(2)).Digest(), Keyspace: "moved", State: verifier.Active},
		}
		results, err := p.ImportKeys(t.Context(), keys, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Outcome != manage.ImportInvalid || r.ID != "" || r.Err == nil {
				t.Errorf("%+v", r)
			}
		}
		if p.count(t, "default") != 0 {
			t.Error("a key was stored")
		}
	})
}

func TestKeysWaitUntilServersKnowThatTheyMayComeInAnyForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cambio.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		began := time.Now()
		for i := range 2 { // the second time, the keyspace is ready
			source := importer.JSONLines(strings.NewReader(fmt.Sprintf(`{"key":"a key from elsewhere, number %d"}`, i)), importer.Rules{Now: began})
			summary, err := importer.Run(t.Context(), source, manage.New(s), importer.Options{Settle: time.Minute})
			if err != nil || summary.Bad() > 0 {
				t.Fatalf("%+v, %v", summary, err)
			}
			if waited := time.Since(began); waited != time.Minute {
				t.Errorf("run %d ended after %s", i, waited)
			}
		}
	})
}
