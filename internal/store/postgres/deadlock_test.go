package postgres_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/internal/store/storetest"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// noDeadlock closes the stores, because a connection says what it has met when it
// ends, and wants none to have met a deadlock.
func noDeadlock(t *testing.T, conn *pgx.Conn, stores ...*postgres.Store) {
	t.Helper()
	for _, s := range stores {
		must(t, s.Close())
	}
	until(t, conn, `SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'cambio'`)
	if n := ask[int64](t, conn, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
}

// racer is one of several that change what they share, each in its own order.
type racer struct {
	*postgres.Store
	*rand.Rand
	name    string // of what it adds; nobody else's
	digests []verifier.Digest
}

const racedKeys = 10

// Lists of statuses are small, so that two often draw the same entry.
func TestChangesOfAllKindsNeverDeadlock(t *testing.T) {
	url := database(t)
	var replicas []*postgres.Store
	for range 2 {
		replicas = append(replicas, openWith(t, url, postgres.Options{StatusListSize: 32, MaxConns: 6}))
	}
	digests := addKeys(t, replicas[0], racedKeys, 1<<40)
	for _, name := range []string{"a", "z"} {
		must(t, storetest.AddKeyspace(t.Context(), replicas[0], verifier.Keyspace{Name: name}))
		must(t, storetest.AddClient(t.Context(), replicas[0], client.Client{ID: name, Keyspaces: []string{"*"}}))
	}
	kinds := []func(racer, context.Context) error{
		racer.charge, racer.rotate, racer.void, racer.voidAll, racer.disable, racer.addKeys,
		racer.addKeyspace, racer.saveKeyspace, racer.deleteKeyspace, racer.addClient, racer.saveClient, racer.signingKeys,
	}
	var racing sync.WaitGroup
	for worker := range 12 {
		racing.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(worker)))
			for n := range 40 {
				r := racer{replicas[worker%2], random, fmt.Sprintf("more_%d_%d", worker, n), digests}
				if err := kinds[random.IntN(len(kinds))](r, t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	racing.Wait()
	noDeadlock(t, connect(t, url), replicas...)
}

// ids are those of several keys, in any order.
func (r racer) ids() (ids []verifier.KeyID) {
	for _, k := range r.Perm(racedKeys)[:1+r.IntN(racedKeys)] {
		ids = append(ids, id(k))
	}
	return ids
}

// log ends a change as all of them do.
func (r racer) log(ctx context.Context, tx manage.Tx, action string) error {
	if _, err := tx.Log(ctx, audit.Entry{Action: action}); err != nil {
		return err
	}
	return tx.Remember(ctx, manage.Done{ID: sha256.Sum256([]byte(r.name)), Answer: []byte("{}"), Until: tx.Now().Add(time.Hour)})
}

// logged is a Change of one step.
func (r racer) logged(ctx context.Context, step func(ctx context.Context, tx manage.Tx) error) error {
	return r.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
		if err := step(ctx, tx); err != nil {
			return err
		}
		return r.log(ctx, tx, "test")
	})
}

func (r racer) charge(ctx context.Context) error {
	var some []verifier.Digest
	for _, k := range r.Perm(racedKeys)[:1+r.IntN(racedKeys)] {
		some = append(some, r.digests[k])
	}
	return update(ctx, r.Store, some, take(1))
}

// rotate gives a key a successor on the same budget, which it adds to.
func (r racer) rotate(ctx context.Context) error {
	old := id(r.IntN(racedKeys))
	return r.logged(ctx, func(ctx context.Context, tx manage.Tx) error {
		found, err := tx.LockKeys(ctx, []verifier.KeyID{old})
		if err != nil {
			return err
		}
		budget, err := tx.LockBudget(ctx, found[0].Budget.ID)
		if err != nil {
			return err
		}
		budget.Remaining++
		if err := tx.SaveBudget(ctx, budget); err != nil {
			return err
		}
		successor := r.newKey(r.name, &budget)
		successor.Replaces = old
		if err := tx.AddKeys(ctx, []manage.KeyRecord{successor}); err != nil {
			return err
		}
		found[0].ReplacedBy = successor.Key.ID
		found[0].Key.State = []verifier.State{verifier.Active, verifier.Disabled}[r.IntN(2)]
		if err := tx.SaveKey(ctx, found[0]); err != nil {
			return err
		}
		_, err = tx.VoidKeys(ctx, []verifier.KeyID{old})
		return err
	})
}

func (r racer) newKey(name string, budget *verifier.Budget) manage.KeyRecord {
	return manage.KeyRecord{Record: verifier.Record{Budget: budget, Key: verifier.Key{
		ID: verifier.KeyID(name), Digest: verifier.NewSecret(name).Digest(),
		Keyspace: []string{"default", "a", "z"}[r.IntN(3)], State: verifier.Active,
	}}}
}

func (r racer) addKeys(ctx context.Context) error {
	var recs []manage.KeyRecord
	for i := range 1 + r.IntN(20) {
		name := fmt.Sprint(r.name, "_", i)
		recs = append(recs, r.newKey(name, &verifier.Budget{ID: verifier.BudgetID(name)}))
	}
	return r.logged(ctx, func(ctx context.Context, tx manage.Tx) error { return tx.AddKeys(ctx, recs) })
}

func (r racer) void(ctx context.Context) error {
	ids := r.ids()
	return r.logged(ctx, func(ctx context.Context, tx manage.Tx) error {
		_, err := tx.VoidKeys(ctx, ids)
		return err
	})
}

func (r racer) voidAll(ctx context.Context) error {
	return r.logged(ctx, func(ctx context.Context, tx manage.Tx) error {
		_, err := tx.VoidKeyspaces(ctx, "")
		return err
	})
}

// disable turns several keys into what they were not.
func (r racer) disable(ctx context.Context) error {
	ids := r.ids()
	return r.logged(ctx, func(ctx context.Context, tx manage.Tx) error {
		found, err := tx.LockKeys(ctx, ids)
		for i := 0; i < len(found) && err == nil; i++ {
			state := &found[i].Key.State
			*state = map[verifier.State]verifier.State{verifier.Active: verifier.Disabled, verifier.Disabled: verifier.Active}[*state]
			err = tx.SaveKey(ctx, found[i])
		}
		return err
	})
}

func (r racer) addKeyspace(ctx context.Context) error {
	ks := verifier.Keyspace{Name: r.name, ImportedKeys: r.IntN(2) == 0}
	return r.logged(ctx, func(ctx context.Context, tx manage.Tx) error { return tx.AddKeyspace(ctx, ks) })
}

func (r racer) saveKeyspace(ctx context.Context) error {
	name := []string{"default", "a", "z"}[r.IntN(3)]
	return r.logged(ctx, func(ctx context.Context, tx manage.Tx) error {
		ks, err := tx.LockKeyspace(ctx, name)
		if err != nil {
			return err
		}
		ks.ImportedKeys = !ks.ImportedKeys
		if err := tx.SaveKeyspace(ctx, ks.Keyspace); err != nil {
			return err
		}
		_, err = tx.VoidKeyspaces(ctx, name)
		return err
	})
}

func (r racer) deleteKeyspace(ctx context.Context) error {
	if err := r.addKeyspace(ctx); err != nil {
		return err
	}
	name := r.name
	r.name += "_gone"
	return r.logged(ctx, func(ctx context.Context, tx manage.Tx) error {
		if _, err := tx.LockKeyspace(ctx, name); err != nil {
			return err
		}
		return tx.DeleteKeyspace(ctx, name)
	})
}

func (r racer) addClient(ctx context.Context) error {
	return r.logged(ctx, func(ctx context.Context, tx manage.Tx) error {
		return tx.AddClient(ctx, client.Client{ID: r.name, Keyspaces: []string{r.name}, Secrets: []client.Secret{{}}})
	})
}

func (r racer) saveClient(ctx context.Context) error {
	name := []string{"a", "z"}[r.IntN(2)]
	return r.logged(ctx, func(ctx context.Context, tx manage.Tx) error {
		c, err := tx.LockClient(ctx, name)
		if err != nil {
			return err
		}
		c.Secrets = []client.Secret{{Digest: verifier.NewSecret(r.name).Digest()}}
		return tx.SaveClient(ctx, c)
	})
}

func (r racer) signingKeys(ctx context.Context) error {
	return r.ChangeSigningKeys(ctx, func(_ time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error) {
		next := int64(0)
		if len(keys) > 0 {
			next = keys[len(keys)-1].Generation + 1
		}
		return append(keys[len(keys)/2:], issuer.SealedKey{KID: r.name, Algorithm: "EdDSA", Generation: next, PublicKey: []byte{1}, Sealed: []byte{1}}), nil
	})
}
