package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/verifier"
)

func TestACommitThatIsAnsweredRollbackIsACertainError(t *testing.T) {
	s := open(t, database(t))
	err := s.CommitAborted(t.Context())
	if err == nil || errors.Is(err, verifier.ErrOutcomeUnknown) {
		t.Errorf("error is %v, want one that is certain", err)
	}
	addKeys(t, s, 1, 5) // the connection is as good as new
}

func TestOnlyErrorsOfTheServerItselfAreCertain(t *testing.T) {
	for sent, certain := range map[pgconn.PgError]bool{
		{Code: "23514", SeverityUnlocalized: "ERROR"}: true,
		{Code: "40001", SeverityUnlocalized: "ERROR"}: true,
		{Code: "40P01", SeverityUnlocalized: "ERROR"}: true,
		{Code: "25006", SeverityUnlocalized: "ERROR"}: true,
		{Code: "57014", SeverityUnlocalized: "ERROR"}: true,
		{Code: "57P01", SeverityUnlocalized: "FATAL"}: false, // while it waited for a standby
		{Code: "57P02", SeverityUnlocalized: "FATAL"}: false,
		{Code: "57P03", SeverityUnlocalized: "ERROR"}: false,
		{Code: "XX000", SeverityUnlocalized: "PANIC"}: false,
		{Code: "08P01", SeverityUnlocalized: "ERROR"}: false, // a pooler has lost its server
		{Code: "40003", SeverityUnlocalized: "ERROR"}: false, // statement completion unknown
		{Code: "23514"}: false, // not what PostgreSQL sends
	} {
		if postgres.SurelyUncommitted(fmt.Errorf("wrapped: %w", &sent)) != certain {
			t.Errorf("%s %s: certain is %t, want %t", sent.SeverityUnlocalized, sent.Code, !certain, certain)
		}
	}
	if postgres.SurelyUncommitted(errors.New("unexpected EOF")) {
		t.Error("a broken connection is certain")
	}
}

// A standby that never comes: every COMMIT that has written something waits.
func withoutItsStandby(t *testing.T, uses int64) (server *pgtest.Server, url string, digests []verifier.Digest) {
	server = pgtest.Start(t, pgtest.Options{Durable: true, Conf: map[string]string{"synchronous_standby_names": "nobody"}})
	url = server.URL("postgres")
	return server, url, addKeys(t, open(t, local(url)), 1, uses)
}

// local does not wait for a standby.
func local(url string) string { return url + "&synchronous_commit=local" }

func TestARefusalWaitsForNoFlushAndACommitCutByItsDeadlineIsUnknown(t *testing.T) {
	_, url, digests := withoutItsStandby(t, 5)
	s := open(t, url)
	must(t, update(t.Context(), s, digests, take(0)))
	must(t, update(t.Context(), s, []verifier.Digest{{}}, func(time.Time, []*verifier.Record) {}))

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := update(ctx, s, digests, take(1))
	if !errors.Is(err, verifier.ErrOutcomeUnknown) {
		t.Errorf("error is %v, want an unknown outcome", err)
	}
	conn := connect(t, local(url))
	until(t, conn, `SELECT remaining = 4 FROM budgets`) // it had committed, here
	until(t, conn, `SELECT sum(requests) = 1 FROM usage`)
}

func TestACommitThatStoppedWaitingForItsStandbyIsUnknown(t *testing.T) {
	for _, stop := range []string{"pg_cancel_backend", "pg_terminate_backend"} {
		t.Run(stop, func(t *testing.T) {
			_, url, digests := withoutItsStandby(t, 5)
			s := open(t, url)
			conn := connect(t, local(url))
			var updating sync.WaitGroup
			var err error
			updating.Go(func() { err = update(t.Context(), s, digests, take(1)) })
			until(t, conn, `SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
			run(t, conn, fmt.Sprintf(`SELECT %s(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`, stop))
			updating.Wait()
			if !errors.Is(err, verifier.ErrOutcomeUnknown) {
				t.Errorf("error is %v, want an unknown outcome", err)
			}
			if left := ask[int64](t, conn, `SELECT remaining FROM budgets`); left != 4 {
				t.Errorf("%d left", left)
			}
		})
	}
}

func TestAnUnknownKeyWritesNothingAtAll(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Conf: map[string]string{"autovacuum": "off"}})
	s := open(t, server.URL("postgres"))
	addKeys(t, s, 3, 5)
	conn := connect(t, server.URL("postgres"))
	unknown := []verifier.Digest{verifier.NewSecret("nobody").Digest()}
	for range 10 { // the server's own housekeeping may write in between, but not always
		before := ask[string](t, conn, `SELECT pg_current_wal_insert_lsn()::text`)
		for range 20 {
			must(t, update(t.Context(), s, unknown, func(time.Time, []*verifier.Record) {}))
		}
		if before == ask[string](t, conn, `SELECT pg_current_wal_insert_lsn()::text`) {
			return
		}
	}
	t.Error("the log grew each time")
}

func TestAServerThatHangsIsGivenUpWithTheContext(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	s := open(t, server.URL("postgres"))
	digests := addKeys(t, s, 1, 5)
	hang := func(decide func(time.Time, []*verifier.Record)) error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		return update(ctx, s, digests, decide)
	}
	server.Pause()
	err := hang(func(time.Time, []*verifier.Record) { t.Error("decided") })
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, verifier.ErrOutcomeUnknown) {
		t.Errorf("before the commit: %v", err)
	}
	server.Resume()
	must(t, update(t.Context(), s, digests, take(0)))
	err = hang(func(now time.Time, found []*verifier.Record) {
		take(1)(now, found)
		server.Pause()
	})
	server.Resume()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("during the commit: %v", err)
	}
	must(t, update(t.Context(), s, digests, take(0))) // waits for what is left of the other
	rec, _, keyErr := s.Key(t.Context(), id(0))
	must(t, keyErr)
	if charged := rec.Budget.Remaining == 4; charged && !errors.Is(err, verifier.ErrOutcomeUnknown) {
		t.Errorf("charged, and the error is %v", err)
	}
}

func TestAWaitForAConnectionEndsWithTheContext(t *testing.T) {
	s, err := postgres.Open(t.Context(), database(t), postgres.Options{MaxConns: 1})
	must(t, err)
	defer s.Close()
	digests := addKeys(t, s, 1, 5)
	must(t, update(t.Context(), s, digests, func(time.Time, []*verifier.Record) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err := update(ctx, s, nil, func(time.Time, []*verifier.Record) { t.Error("decided") })
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, verifier.ErrOutcomeUnknown) {
			t.Errorf("error is %v", err)
		}
	}))
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestAServerThatCameBackIsUsedAtOnce(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Durable: true})
	s := open(t, server.URL("postgres"))
	digests := addKeys(t, s, 1, 500)
	for name, ask := range map[string]func() error{
		"an Update": func() error { return update(t.Context(), s, digests, take(1)) },
		"a reader":  func() error { _, _, err := s.Key(t.Context(), id(0)); return err },
		"a list":    func() error { _, err := s.Clients(t.Context()); return err },
		"a ping":    func() error { return s.Ping(t.Context()) },
	} {
		warmUp(t, s) // more connections than there are tries
		server.Kill()
		if err := ask(); err == nil || errors.Is(err, verifier.ErrOutcomeUnknown) {
			t.Errorf("%s: while the server is down the error is %v, want one that is certain", name, err)
		}
		server.Restart(t)
		if err := ask(); err != nil {
			t.Errorf("%s: the server is back: %v", name, err)
		}
		warmUp(t, s)
		server.Stop()
		server.Restart(t)
		if err := ask(); err != nil {
			t.Errorf("%s: the server was away while nobody asked: %v", name, err)
		}
	}
}

// warmUp opens every connection that s may have: all are in use at once.
func warmUp(t *testing.T, s *postgres.Store) {
	t.Helper()
	var warming, met sync.WaitGroup
	met.Add(int(s.MaxConnections()))
	for range s.MaxConnections() {
		warming.Go(func() {
			err := update(t.Context(), s, nil, func(time.Time, []*verifier.Record) {
				met.Done()
				met.Wait()
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	warming.Wait()
}

func TestADemotedServerIsAPlainErrorAndForgotten(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	s := open(t, server.URL("postgres"))
	digests := addKeys(t, s, 1, 5)
	conn := connect(t, server.URL("postgres"))
	readOnly := func(value string) {
		run(t, conn, `BEGIN READ WRITE`, `COMMIT`, `ALTER SYSTEM SET default_transaction_read_only = `+value, `SELECT pg_reload_conf()`)
		until(t, conn, `SELECT setting = '`+value+`' FROM pg_settings WHERE name = 'default_transaction_read_only'`)
	}
	readOnly("on")
	var err error
	for err == nil { // each session reads its settings when it next has nothing to do
		err = update(t.Context(), s, digests, take(0))
	}
	var sent *pgconn.PgError
	if !errors.As(err, &sent) || sent.Code != "25006" || errors.Is(err, verifier.ErrOutcomeUnknown) {
		t.Errorf("error is %v, want 25006", err)
	}
	if s.Ping(t.Context()) == nil {
		t.Error("a server that takes no writes answers a ping")
	}
	readOnly("off")
	for err := errors.New(""); err != nil; err = s.Ping(t.Context()) {
	}
	must(t, update(t.Context(), s, digests, take(1)))
}

func TestADamagedRecordIsToldFromABrokenStore(t *testing.T) {
	url := database(t)
	s := open(t, url)
	digests := addKeys(t, s, 3, 5)
	run(t, connect(t, url), `UPDATE keys SET permissions = '[' WHERE id = '`+string(id(1))+`'`)
	err := update(t.Context(), s, digests, take(1))
	if !errors.Is(err, verifier.ErrBadRecord) || errors.Is(err, verifier.ErrOutcomeUnknown) {
		t.Errorf("what cannot be read: %v", err)
	}
	digests = append(digests[:1], digests[2])
	for what, spoil := range map[string]func(*verifier.Record){
		"a time that no column takes":  func(r *verifier.Record) { r.Budget.TAT = time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a value that no column takes": func(r *verifier.Record) { r.Budget.Remaining = -1 },
	} {
		err := update(t.Context(), s, digests, func(now time.Time, found []*verifier.Record) {
			take(1)(now, found)
			spoil(found[1])
		})
		if !errors.Is(err, verifier.ErrBadRecord) || errors.Is(err, verifier.ErrOutcomeUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, update(t.Context(), s, digests, func(_ time.Time, found []*verifier.Record) {
		if left := found[0].Budget.Remaining; left != 5 {
			t.Errorf("%d left, want 5", left)
		}
	}))
}
