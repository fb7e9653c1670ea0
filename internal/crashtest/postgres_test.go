package crashtest

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/pgtest"
)

func TestThreeReplicasGrantWhatIsOwnedNoLessAndNoMore(t *testing.T) {
	in := install(t, pgtest.Database(t, "", nil), 50, 100, 150, 200, plenty)
	replicas := []*server{in.serve(), in.serve(), in.serve()}
	each := rounds(15, 100)
	in.each(each, replicas...)
	in.each(each, replicas...)
	sum := in.balanced("at the end")
	if sum.unknown > 0 || sum.recorded != sum.acknowledged {
		t.Errorf("%d without an answer, with no fault", sum.unknown)
	}
	if asked := int64(2 * each * callers); sum.acknowledged+sum.refused != asked {
		t.Errorf("%d granted and %d refused, of %d", sum.acknowledged, sum.refused, asked)
	}
	for _, k := range in.keys[:4] {
		if charged := in.recorded(k); charged != k.uses {
			t.Errorf("%s: %d of %d uses were granted", k.ID, charged, k.uses)
		}
	}
}

func TestAKilledReplicaLosesNoAcknowledgedChargeAndTheOthersGoOn(t *testing.T) {
	in := install(t, pgtest.Database(t, "", nil), plenty, plenty, plenty)
	stays := in.serve()
	for round := range rounds(3, 10) {
		dies := in.serve()
		l := in.load(stays, dies)
		l.more(500)
		dies.kill()
		l.more(100)
		l.stop()
		sum := in.balanced(fmt.Sprintf("round %d", round+1))
		if most := int64(callers * (round + 1)); sum.recorded-sum.acknowledged > most {
			t.Errorf("%d charges had no answer, with at most %d in flight", sum.recorded-sum.acknowledged, most)
		}
	}
}

func TestAKilledDatabaseLosesNoAcknowledgedChargeAndServersFindItAgain(t *testing.T) {
	db := pgtest.Start(t, pgtest.Options{Durable: true})
	in := install(t, db.URL("postgres"), plenty, plenty, plenty)
	replicas := []*server{in.serve(), in.serve()}
	for round := range rounds(3, 10) {
		l := in.load(replicas...)
		l.more(int64(300 + 200*round))
		db.Kill()
		db.Restart(t)
		l.more(callers)
		l.stop()
		sum := in.balanced(fmt.Sprintf("round %d", round+1))
		if most := int64(callers * (round + 1)); sum.recorded-sum.acknowledged > most {
			t.Errorf("%d charges had no answer, with at most %d in flight", sum.recorded-sum.acknowledged, most)
		}
	}
}

func TestFailover(t *testing.T) {
	t.Run("to a synchronous standby loses no acknowledged charge", func(t *testing.T) {
		for round := range rounds(1, 2) {
			if sum := failover(t, pgtest.Options{Synchronous: true}, 0); sum.lost > 0 {
				t.Errorf("round %d: %d acknowledged charges are lost", round+1, sum.lost)
			}
		}
	})
	t.Run("to an asynchronous standby loses some: the test above would see it", func(t *testing.T) {
		if sum := failover(t, pgtest.Options{Durable: true}, 300); sum.lost == 0 {
			t.Error("nothing is lost, so this proves nothing")
		}
	})
}

// failover kills a primary whose WAL has not reached its standby for so many
// acknowledged exchanges, and goes on with the standby.
func failover(t *testing.T, opts pgtest.Options, unsent int64) total {
	primary := pgtest.Start(t, opts)
	standby := primary.Standby(t)
	in := install(t, primary.URL("postgres", standby), plenty, plenty, plenty)
	replicas := []*server{in.serve(), in.serve()}
	l := in.load(replicas...)
	l.more(500)
	primary.PauseSenders()
	l.more(unsent)
	primary.Kill()
	standby.Promote(t)
	l.more(callers)
	l.stop()
	sum := in.total()
	t.Logf("%d acknowledged, of these lost %d; %d recorded, %d without an answer", sum.acknowledged, sum.lost, sum.recorded, sum.unknown)
	return sum
}

func TestAServerStartedWhileTheDatabaseIsAwayServesWhenItIsBack(t *testing.T) {
	db := pgtest.Start(t, pgtest.Options{Durable: true})
	in := install(t, db.URL("postgres"), plenty)
	db.Kill()
	s := in.launch()
	until(t, "the server says what it waits for", func() bool {
		text, err := os.ReadFile(s.log)
		return err == nil && strings.Contains(string(text), "waiting for the database")
	})
	db.Restart(t)
	s.await()
	l := in.load(s)
	l.more(callers)
	l.stop()
	in.balanced("at the end")
}

func TestADatabaseThatHangsIsAnsweredWith503AndGoneOnWith(t *testing.T) {
	db := pgtest.Start(t, pgtest.Options{Durable: true})
	in := install(t, db.URL("postgres"), plenty, plenty)
	s := in.serve()
	l := in.load(s)
	l.more(200)
	db.Pause()
	frozen := l.acknowledged.Load()
	client := &http.Client{Timeout: patience / 2} // an exchange gives its database 5 s
	for _, k := range in.keys {
		a := ask(client, exchangeOf(k.Secret, s.public, in.client))
		if a.status != http.StatusServiceUnavailable { // the second finds nothing remembered about its client
			t.Errorf("an exchange was answered %d %s, %v", a.status, a.body, a.err)
		}
		k.book(a.charge())
	}
	if status := s.ready(); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d", status)
	}
	l.stop() // everybody in flight is answered, though nothing moves
	if n := l.acknowledged.Load() - frozen; n > callers {
		t.Errorf("%d exchanges were acknowledged while the database stood still", n)
	}
	db.Resume()
	until(t, "the server is ready again", func() bool { return s.ready() == http.StatusOK })
	l = in.load(s)
	l.more(callers)
	l.stop()
	in.balanced("at the end")
}
