package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

// fullEntry has every field set that is not the store's.
var fullEntry = audit.Entry{
	Actor:  audit.Actor{Kind: audit.KindClient, ID: "orders ☃", From: "192.0.2.1"},
	Action: "key.change", Target: "key_1'", Keyspace: "default", Reason: "<leaked> & \"found\"\n",
	Before: json.RawMessage(`{"z":1.0,"a":"\u0000☃"}`), After: json.RawMessage(`{"a":[12345678901234567890]}`),
}

var auditPromises = []promise{
	{"a new database has an empty log that ends at nothing", func(t *testing.T, db *database) {
		head, err := db.AuditHead(t.Context())
		must(t, err)
		same(t, head, audit.Head{})
		same(t, entries(t, db, audit.Query{}), nil)
	}},
	{"an entry comes back as it was made, in every field, with its number and time", func(t *testing.T, db *database) {
		var now time.Time
		var heads [2]audit.Head
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) (err error) {
			now = tx.Now().Truncate(time.Microsecond)
			made := fullEntry
			made.Seq, made.At = 77, noon // which the store sets
			heads[0], err = tx.Log(ctx, made)
			must(t, err)
			heads[1], err = tx.Log(ctx, audit.Entry{Action: "test"})
			return err
		})
		want := []audit.Entry{fullEntry, {Action: "test"}}
		for i, row := range entries(t, db.again(), audit.Query{}) {
			want[i].Seq, want[i].At = int64(i+1), now
			same(t, row.Entry, want[i])
			same(t, audit.Head{Seq: row.Seq, Hash: row.Hash}, heads[i])
		}
		whole(t, db, 2)
	}},
	{"the log has no gap and no fork, however many change at once", func(t *testing.T, db *database) {
		stores := [3]store.Store{db.Store, db.again(), db.again()}
		const callers, each = 12, 5
		heads := make([][]audit.Head, callers)
		for range callers {
			db.key(nil)
		}
		race(t, callers, never, func(i int) error {
			for n := range each {
				head, err := changeAndLog(t.Context(), stores[i%3], i, n%2 == 1)
				if err != nil {
					return err
				}
				if n%2 == 0 {
					heads[i] = append(heads[i], head)
				}
			}
			return nil
		})
		rows := whole(t, db, callers*3)
		for i := range heads {
			for _, head := range heads[i] {
				if row := rows[head.Seq-1]; row.Hash != head.Hash || row.Target != fmt.Sprintf("key_%04d", i+1) {
					t.Errorf("caller %d was told %v, and there is %v of %s", i, head, row.Hash, row.Target)
				}
			}
		}
	}},
	{"a query narrows by every field", auditQueries},
	{"a log is paged through, forth and back", func(t *testing.T, db *database) {
		logged(t, db, make([]audit.Entry, 20)...)
		var forth, back []int64
		for q := (audit.Query{Limit: 7}); ; q.After = forth[len(forth)-1] {
			rows := entries(t, db, q)
			if len(rows) == 0 {
				break
			}
			forth = append(forth, seqs(rows)...)
		}
		for q := (audit.Query{Limit: 7, Newest: true}); ; q.Before = back[len(back)-1] {
			rows := entries(t, db, q)
			if len(rows) == 0 {
				break
			}
			back = append(back, seqs(rows)...)
		}
		if len(forth) != 20 || len(back) != 20 {
			t.Fatalf("%d forth, %d back", len(forth), len(back))
		}
		for i := range forth {
			if forth[i] != int64(i+1) || back[i] != int64(20-i) {
				t.Errorf("entry %d is %d forth and %d back", i, forth[i], back[i])
			}
		}
		same(t, seqs(entries(t, db, audit.Query{After: 3, Before: 6})), []int64{4, 5})
	}},
	{"a query without a limit is a mistake", func(t *testing.T, db *database) {
		if _, err := db.Audit(t.Context(), audit.Query{}); err == nil {
			t.Error("no error")
		}
	}},
	{"refusals add up by hour, client and address, and keep when the last was", func(t *testing.T, db *database) {
		hour := noon.Truncate(time.Hour)
		add := func(client, remote string, attempts int64, at time.Time) audit.Refusal {
			return audit.Refusal{Hour: at.Truncate(time.Hour), Client: client, Remote: remote, Attempts: attempts, LastAt: at}
		}
		must(t, db.AddRefusals(t.Context(), []audit.Refusal{
			add("orders", "192.0.2.1", 3, noon.Add(2)), add("", "", 1, noon), add("orders", "192.0.2.1", 1, noon.Add(time.Minute)),
		}))
		must(t, db.again().AddRefusals(t.Context(), []audit.Refusal{
			add("orders", "192.0.2.1", 2, noon.Add(time.Second)), add("orders", "", 1<<40, noon), add("", "", 1, noon.Add(time.Hour)),
		}))
		must(t, db.AddRefusals(t.Context(), nil))
		all := []audit.Refusal{
			add("", "", 1, noon.Add(time.Hour)),
			add("orders", "", 1<<40, noon), add("orders", "192.0.2.1", 6, noon.Add(time.Minute)), add("", "", 1, noon),
		}
		sameRefusals(t, db, hour, hour.Add(2*time.Hour), 9, all...)
		sameRefusals(t, db, hour, hour.Add(2*time.Hour), 2, all[:2]...)
		sameRefusals(t, db, hour, hour.Add(time.Hour), 9, all[1:]...)
		sameRefusals(t, db, hour.Add(1), hour.Add(time.Hour+1), 9, all[0])
		sameRefusals(t, db, hour.Add(2*time.Hour), hour.Add(3*time.Hour), 9)
	}},
	{"refusals that are added at once are all counted", func(t *testing.T, db *database) {
		stores := [2]store.Store{db.Store, db.again()}
		one := audit.Refusal{Hour: noon.Truncate(time.Hour), Client: "orders", Attempts: 1, LastAt: noon}
		two := audit.Refusal{Hour: noon.Truncate(time.Hour), Client: "billing", Attempts: 1, LastAt: noon}
		race(t, 30, never, func(i int) error {
			refusals := []audit.Refusal{one, two}
			if i/2%2 == 0 {
				refusals = []audit.Refusal{two, one}
			}
			return stores[i%2].AddRefusals(t.Context(), refusals)
		})
		got, err := db.Refusals(t.Context(), noon.Add(-time.Hour), noon.Add(time.Hour), 9)
		must(t, err)
		if len(got) != 2 || got[0].Attempts != 30 || got[1].Attempts != 30 {
			t.Errorf("%+v, want 30 of each", got)
		}
	}},
}

func sameRefusals(t *testing.T, s store.Store, from, to time.Time, limit int, want ...audit.Refusal) {
	t.Helper()
	got, err := s.Refusals(t.Context(), from, to, limit)
	must(t, err)
	same(t, got, want)
}

// entries reads a log; all of it, if q has no limit.
func entries(t *testing.T, s store.Store, q audit.Query) []audit.Row {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 10_000
	}
	rows, err := s.Audit(t.Context(), q)
	must(t, err)
	return rows
}

func seqs(rows []audit.Row) (all []int64) {
	for _, row := range rows {
		all = append(all, row.Seq)
	}
	return all
}

// logged logs entries, one after the other.
func logged(t *testing.T, s store.Store, entries ...audit.Entry) {
	t.Helper()
	for _, e := range entries {
		mustChange(t, s, func(ctx context.Context, tx manage.Tx) error {
			_, err := tx.Log(ctx, e)
			return err
		})
	}
}

// changeAndLog changes key i and logs it, and returns the new head; or gives that
// up, if told so.
func changeAndLog(ctx context.Context, s store.Store, i int, giveUp bool) (head audit.Head, err error) {
	id := verifier.KeyID(fmt.Sprintf("key_%04d", i+1))
	err = s.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
		rec, err := lockKey(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := tx.SaveKey(ctx, rec); err != nil {
			return err
		}
		head, err = tx.Log(ctx, audit.Entry{Action: "key.change", Target: string(id)})
		if err == nil && giveUp {
			return errStop
		}
		return err
	})
	if giveUp && errors.Is(err, errStop) {
		err = nil
	}
	return head, err
}

// whole wants the log to be n entries whose hashes are those of a chain, as the
// package comment of audit says, and whose columns say what they say.
func whole(t *testing.T, s store.Store, n int) []audit.Row {
	t.Helper()
	rows := entries(t, s, audit.Query{})
	if len(rows) != n {
		t.Fatalf("%d entries, want %d", len(rows), n)
	}
	var end audit.Head
	for _, row := range rows {
		want := audit.Head{Seq: end.Seq + 1, Hash: sha256.Sum256(append(end.Hash[:], row.JSON...))}
		end = audit.Head{Seq: row.Seq, Hash: row.Hash}
		if end != want {
			t.Fatalf("entry %v, want %v", end, want)
		}
		var says audit.Entry
		must(t, json.Unmarshal(row.JSON, &says))
		same(t, row.Entry, says)
	}
	head, err := s.AuditHead(t.Context())
	must(t, err)
	same(t, head, end)
	return rows
}

func auditQueries(t *testing.T, db *database) {
	by := func(id string) audit.Actor { return audit.Actor{Kind: audit.KindClient, ID: id} }
	began := databaseNow(t, db)
	logged(t, db,
		audit.Entry{Actor: by("orders"), Action: "key.create", Target: "key_1", Keyspace: "default"},
		audit.Entry{Actor: by("admin"), Action: "keyspace.create", Target: "live"},
		audit.Entry{Actor: by("admin"), Action: "key.create", Target: "key_2", Keyspace: "live"},
	)
	db.shift(time.Hour)
	logged(t, db,
		audit.Entry{Actor: by("Orders"), Action: "key.createx", Target: "key_1", Keyspace: "Default"},
		audit.Entry{Actor: audit.Actor{Kind: audit.KindServer}, Action: "key", Target: "key_3"},
	)
	for _, test := range []struct {
		query audit.Query
		want  []int64
	}{
		{audit.Query{}, []int64{1, 2, 3, 4, 5}},
		{audit.Query{Target: "key_1"}, []int64{1, 4}},
		{audit.Query{Actor: "admin"}, []int64{2, 3}},
		{audit.Query{Action: "key.create"}, []int64{1, 3}},
		{audit.Query{Action: "key"}, []int64{1, 3, 4, 5}},
		{audit.Query{Action: "ke"}, nil},
		{audit.Query{Action: "key%"}, nil},
		{audit.Query{Keyspaces: []string{"live", "nowhere", "default"}}, []int64{1, 3}},
		{audit.Query{Keyspaces: []string{""}}, []int64{2, 5}},
		{audit.Query{From: began.Add(30 * time.Minute)}, []int64{4, 5}},
		{audit.Query{To: began.Add(30 * time.Minute)}, []int64{1, 2, 3}},
		{audit.Query{From: began.Add(-time.Hour), To: began.Add(30 * time.Minute), Action: "key", Actor: "orders", Target: "key_1", Keyspaces: []string{"default"}}, []int64{1}},
		{audit.Query{Action: "key", Newest: true, Limit: 2}, []int64{5, 4}},
	} {
		if got := seqs(entries(t, db, test.query)); fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%+v: %v, want %v", test.query, got, test.want)
		}
	}
	at := entries(t, db, audit.Query{After: 4})[0].At
	same(t, seqs(entries(t, db, audit.Query{From: at})), []int64{5})
	same(t, seqs(entries(t, db, audit.Query{To: at, After: 3})), []int64{4})
}
