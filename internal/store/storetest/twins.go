package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
)

// twins are changes that nobody could make a second time, each with what it says of
// the thing that it made or changed.
var twins = map[string]func(t *testing.T, m *manage.Manager, key manage.CreatedKey) (string, error){
	"a client is made": func(t *testing.T, m *manage.Manager, _ manage.CreatedKey) (string, error) {
		c, err := m.CreateClient(t.Context(), manage.NewClient{ID: "made"})
		return c.ID, err
	},
	"a client is deleted": func(t *testing.T, m *manage.Manager, _ manage.CreatedKey) (string, error) {
		return "", m.DeleteClient(t.Context(), "there")
	},
	"a keyspace is made": func(t *testing.T, m *manage.Manager, _ manage.CreatedKey) (string, error) {
		ks, err := m.CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "made"})
		return ks.Name, err
	},
	"a key is rotated": func(t *testing.T, m *manage.Manager, key manage.CreatedKey) (string, error) {
		made, err := m.RotateKey(t.Context(), key.Key.ID, manage.Rotation{Overlap: time.Hour})
		return string(made.Key.ID), err
	},
	"a key is deleted": func(t *testing.T, m *manage.Manager, key manage.CreatedKey) (string, error) {
		v, err := m.DeleteKey(t.Context(), key.Key.ID)
		return string(v.Key.ID), err
	},
	"the last uses of a key are taken": func(t *testing.T, m *manage.Manager, key manage.CreatedKey) (string, error) {
		v, err := m.ChangeBudget(t.Context(), key.Key.ID, manage.BudgetChange{Add: -10})
		if err != nil {
			return "", err
		}
		return fmt.Sprint(v.Budget.Remaining), nil
	},
}

func twinsAtOnce(t *testing.T, db *database) {
	stores := [2]store.Store{db.Store, db.again()}
	_, err := manage.New(db).CreateClient(t.Context(), manage.NewClient{ID: "there"})
	must(t, err)
	for name, twin := range twins {
		t.Run(name, func(t *testing.T) {
			ten := int64(10)
			key, err := manage.New(db).CreateKey(t.Context(), manage.NewKey{Remaining: &ten})
			must(t, err)
			said, did := make([]string, 16), make([]manage.Did, 16)
			race(t, len(said), never, func(i int) (err error) {
				by := manage.By{Repeat: &manage.Repeat{ID: digest(name), Request: digest(name)}, Did: &did[i]}
				said[i], err = twin(t, manage.New(stores[i%2]).As(by), key)
				return err
			})
			if slices.Sort(said); len(slices.Compact(said)) != 1 {
				t.Errorf("they were answered %q", said)
			}
			first := slices.DeleteFunc(did, func(d manage.Did) bool { return d.Replayed })
			if len(first) != 1 {
				t.Errorf("%d did it, want 1", len(first))
			}
		})
	}
}
