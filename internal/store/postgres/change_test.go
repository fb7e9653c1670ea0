package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/internal/store/storetest"
	"github.com/cambio-auth/cambio/verifier"
)

func TestAKeyThatWasWaitedForComesWithAllThatIsNewest(t *testing.T) {
	url := database(t)
	s := open(t, url)
	addKeys(t, s, 1, 5)
	rival, watch := connect(t, url), connect(t, url)
	run(t, rival, `BEGIN`, `UPDATE keys SET name = 'new'`, `UPDATE budgets SET remaining = 3`, `UPDATE keyspaces SET prefix = 'new'`)
	var changing sync.WaitGroup
	changing.Go(func() {
		err := s.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			found, err := tx.LockKeys(ctx, []verifier.KeyID{id(0)})
			if err != nil {
				return err
			}
			if rec := found[0]; rec.Key.Name != "new" || rec.Budget.Remaining != 3 || rec.Keyspace.Prefix != "new" {
				t.Errorf("name %q, %d left and prefix %q, which are old", rec.Key.Name, rec.Budget.Remaining, rec.Keyspace.Prefix)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	until(t, watch, waiting)
	run(t, rival, `COMMIT`)
	changing.Wait()
}

// Whichever is first, the version that a client has then is not the one that it had
// when it knew nothing of imported keys.
func TestAClientAndAKeyspaceOfImportedKeysThatComeAtOnceTakeTurns(t *testing.T) {
	addKeyspace := func(ctx context.Context, tx manage.Tx) error {
		return tx.AddKeyspace(ctx, verifier.Keyspace{Name: "old", ImportedKeys: true})
	}
	markKeyspace := func(ctx context.Context, tx manage.Tx) error {
		ks, err := tx.LockKeyspace(ctx, "plain")
		if err != nil {
			return err
		}
		ks.ImportedKeys = true
		return tx.SaveKeyspace(ctx, ks.Keyspace)
	}
	addClient := func(ctx context.Context, tx manage.Tx) error {
		return tx.AddClient(ctx, client.Client{ID: "orders", Keyspaces: []string{"*"}})
	}
	for what, steps := range map[string][2]func(context.Context, manage.Tx) error{
		"a keyspace is added, then the client":  {addKeyspace, addClient},
		"the client is added, then a keyspace":  {addClient, addKeyspace},
		"a keyspace is marked, then the client": {markKeyspace, addClient},
		"the client is added, then it is":       {addClient, markKeyspace},
	} {
		t.Run(what, func(t *testing.T) {
			url := database(t)
			s, watch := open(t, url), connect(t, url)
			must(t, storetest.AddKeyspace(t.Context(), s, verifier.Keyspace{Name: "plain"}))
			var second sync.WaitGroup
			var first int64
			must(t, s.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
				must(t, steps[0](ctx, tx))
				c, err := tx.Client(ctx, "orders")
				if c != nil {
					first = c.Version
				}
				second.Go(func() {
					if err := s.Change(t.Context(), steps[1]); err != nil {
						t.Error(err)
					}
				})
				until(t, watch, waiting)
				return err
			}))
			second.Wait()
			c, err := s.Client(t.Context(), "orders")
			must(t, err)
			if c.Version <= first || !c.ImportedKeys {
				t.Errorf("version %d after %d, imported keys: %t", c.Version, first, c.ImportedKeys)
			}
		})
	}
}

func TestAChangeThatWritesNothingIsNotCommittedAndAnotherIsUnknownWhenItIsCut(t *testing.T) {
	_, url, _ := withoutItsStandby(t, 5) // where a commit never ends
	s := open(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, s.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
		_, err := tx.LockKeys(ctx, []verifier.KeyID{id(0)})
		if err != nil {
			return err
		}
		_, err = tx.Done(ctx, [32]byte{1})
		return err
	}))
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := s.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
		_, err := tx.Log(ctx, audit.Entry{Action: "test"})
		return err
	})
	if !errors.Is(err, verifier.ErrOutcomeUnknown) {
		t.Errorf("error is %v, want an unknown outcome", err)
	}
	until(t, connect(t, local(url)), `SELECT count(*) = 1 FROM audit`) // it had committed, here
}

// Every statement of a change once, with values that are hard to quote.
func TestInTheSimpleProtocolEverythingIsChanged(t *testing.T) {
	s := open(t, database(t)+"&default_query_exec_mode=simple_protocol")
	addKeys(t, s, 1, 5)
	must(t, storetest.AddClient(t.Context(), s, client.Client{ID: "o'"}))
	must(t, storetest.AddKeyspace(t.Context(), s, verifier.Keyspace{Name: "old"}))
	const text = `{"', \ $1 -- `
	var done manage.Done
	must(t, s.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
		done = manage.Done{ID: [32]byte{'\''}, Request: [32]byte{'\\'}, Answer: []byte(text), Until: tx.Now().Add(time.Hour)}
		return errorsOf(
			func() error { return rewrite(ctx, tx, text) },
			func() error { return tx.DeleteClient(ctx, "o'") },
			func() error { _, err := tx.VoidKeyspaces(ctx, "old"); return err },
			func() error { return tx.DeleteKeyspace(ctx, "old") },
			func() error { return tx.Remember(ctx, done) },
			func() error {
				_, err := tx.Log(ctx, audit.Entry{Action: "key.x'", Target: text, Keyspace: "old", Actor: audit.Actor{ID: text}})
				return err
			},
		)
	}))
	filter := manage.KeyFilter{Keyspaces: []string{"default"}, Owner: text, Name: text, ExternalID: text, State: manage.StateActive, Limit: 9}
	keys, now, err := s.Keys(t.Context(), filter)
	must(t, err)
	if len(keys) != 1 || keys[0].Reason != text || keys[0].Budget.Remaining != 6 || !reflect.DeepEqual(keys[0].Key.Audiences, []string{text}) {
		t.Errorf("keys are %+v", keys)
	}
	rows, err := s.Audit(t.Context(), audit.Query{
		Before: 9, Target: text, Actor: text, Action: "key", Keyspaces: []string{"old"}, From: now.Add(-time.Hour), To: now.Add(time.Hour), Newest: true, Limit: 9,
	})
	must(t, err)
	if head, err := s.AuditHead(t.Context()); len(rows) != 1 || head != (audit.Head{Seq: 1, Hash: rows[0].Hash}) || err != nil {
		t.Errorf("the log is %+v and ends at %v; %v", rows, head, err)
	}
	refusal := audit.Refusal{Hour: now.Truncate(time.Hour), Client: "o'", Remote: text, Attempts: 1, LastAt: now}
	must(t, s.AddRefusals(t.Context(), []audit.Refusal{refusal, refusal}))
	refusal.Attempts = 2
	if all, err := s.Refusals(t.Context(), refusal.Hour, now, 9); !reflect.DeepEqual(all, []audit.Refusal{refusal}) || err != nil {
		t.Errorf("refusals are %+v; %v", all, err)
	}
	must(t, s.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
		if again, err := tx.Done(ctx, done.ID); again == nil || !reflect.DeepEqual(*again, done) || err != nil {
			t.Errorf("done was %+v; %v", again, err)
		}
		return nil
	}))
	if n, err := s.ForgetRepeats(t.Context(), 9); n != 0 || err != nil {
		t.Errorf("%d forgotten; %v", n, err)
	}
}

// rewrite gives the first key, its budget, the client o' and the keyspace old other
// values.
func rewrite(ctx context.Context, tx manage.Tx, text string) error {
	ks, err := tx.LockKeyspace(ctx, "old")
	if err != nil {
		return err
	}
	c, err := tx.LockClient(ctx, "o'")
	if err != nil {
		return err
	}
	found, err := tx.DigestsTaken(ctx, []verifier.Digest{verifier.NewSecret("imported-0").Digest()})
	if err != nil {
		return err
	}
	if found, err = tx.LockKeys(ctx, []verifier.KeyID{found[0].Key.ID}); err != nil {
		return err
	}
	budget, err := tx.LockBudget(ctx, found[0].Budget.ID)
	if err != nil {
		return err
	}
	ks.ImportedKeys, ks.Prefix, c.Audiences, c.Secrets = true, text, []string{text}, []client.Secret{{CreatedAt: tx.Now()}, {}}
	rec := found[0]
	rec.Key.Owner, rec.Key.Name, rec.Key.ExternalID, rec.Reason, rec.Key.Audiences = text, text, text, text, []string{text}
	budget.Remaining++
	_, err = tx.VoidKeys(ctx, []verifier.KeyID{rec.Key.ID})
	return errorsOf(
		func() error { return err },
		func() error { return tx.SaveKeyspace(ctx, ks.Keyspace) },
		func() error { return tx.SaveClient(ctx, c) },
		func() error { return tx.SaveBudget(ctx, budget) },
		func() error { return tx.SaveKey(ctx, rec) },
	)
}

// errorsOf stops at the first error.
func errorsOf(steps ...func() error) error {
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

func BenchmarkAddKeys(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			s := openWith(b, database(b), postgres.Options{})
			for made := 0; b.Loop(); made++ {
				recs := make([]manage.KeyRecord, n)
				for i := range recs {
					name := fmt.Sprintf("%d_%d", made, i)
					recs[i].Key = verifier.Key{ID: verifier.KeyID(name), Digest: verifier.NewSecret(name).Digest(), Keyspace: "default", State: verifier.Active}
					recs[i].Budget = &verifier.Budget{ID: verifier.BudgetID(name)}
				}
				must(b, s.Change(b.Context(), func(ctx context.Context, tx manage.Tx) error { return tx.AddKeys(ctx, recs) }))
			}
		})
	}
}
