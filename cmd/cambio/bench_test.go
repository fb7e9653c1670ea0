package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/load"
	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/store"
)

// bench runs cambio bench in this process; its servers are processes of their own.
func bench(ctx context.Context, t *testing.T, args ...string) (code int, out, failed string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p := process{stdout: &stdout, stderr: &stderr, name: "cambio"}
	code = run(ctx, append([]string{"bench", "--ops-listen", freeAddress(t)}, args...), p)
	return code, stdout.String(), stderr.String()
}

func TestBenchOnPostgreSQLIsApartFromTheRealStore(t *testing.T) {
	url := pgtest.Start(t, pgtest.Options{}).URL("postgres")
	err := load.WithStore(t.Context(), url, func(ctx context.Context, real store.Store) error {
		code, out, failed := bench(ctx, t, "--time", "1s", "--store", url)
		if code != 1 || out != "" || !strings.Contains(failed, "connected to this database") || !strings.Contains(failed, "--yes") {
			t.Errorf("beside a server it exits with %d, %q, %q", code, out, failed)
		}
		nothingLeft(t, url)
		code, out, failed = bench(ctx, t, "--time", "1s", "--store", url, "--yes", "--json")
		if code != 0 || failed != "" {
			t.Fatalf("it exits with %d: %s", code, failed)
		}
		wholeBenchmark(t, out, "PostgreSQL ")
		wantSchema(t, out)
		nothingLeft(t, url)
		clients, err := real.Clients(ctx)
		if len(clients) != 0 {
			t.Errorf("the real store has got the clients %v", clients)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestBenchThatIsInterruptedLeavesNothingInPostgreSQL(t *testing.T) {
	url := pgtest.Start(t, pgtest.Options{}).URL("postgres")
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		code, out, failed := bench(ctx, t, "--time", "10s", "--store", url)
		if code != 1 || out != "" || failed != "cambio: "+errInterrupted.Error()+"\n" {
			t.Errorf("it exits with %d, %q, %q", code, out, failed)
		}
	}()
	charged := `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cambio' AND query LIKE '%budgets%'`
	for count := 0; count == 0; time.Sleep(20 * time.Millisecond) { // until it is in the midst of exchanges
		select {
		case <-ended:
			t.Fatal("it ended before it was interrupted")
		default:
			count = ask(t, url, charged)
		}
	}
	interrupt()
	<-ended
	nothingLeft(t, url)
}

func ask(t *testing.T, url, query string) (n int) {
	t.Helper()
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	if err := db.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func nothingLeft(t *testing.T, url string) {
	t.Helper()
	if n := ask(t, url, `SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'cambio%'`); n != 0 {
		t.Errorf("%d schemas are left", n)
	}
}

// wantSchema holds what was printed to what programs read, and to what the help says.
func wantSchema(t *testing.T, out string) {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(out), &object); err != nil {
		t.Fatal(err)
	}
	help := (*benchCmd)(nil).Help()
	for field := range maps.Keys(object) {
		if !strings.Contains(help, field) {
			t.Errorf("the help does not tell of %s", field)
		}
	}
	wantFields(t, json.RawMessage(out), "check", "exchange", "granted", "machine", "ratios", "recorded", "spent", "store")
	wantFields(t, object["machine"], "cambio", "cores", "cpu", "go", "gomaxprocs", "platform")
	wantFields(t, object["store"], "commit_ms", "version")
	wantFields(t, first(t, object["exchange"]), "conns", "keys", "name", "p50_ms", "p99_ms", "per_second", "server_cpu_us", "times_echo", "times_signature")
	wantFields(t, first(t, object["check"]), "algorithm", "first_times_verify", "first_us", "seen_times_verify", "seen_us", "sign_us", "verify_us")
	wantFields(t, first(t, object["ratios"]), "conns", "keys", "times", "what")
}

func first(t *testing.T, array json.RawMessage) json.RawMessage {
	t.Helper()
	var all []json.RawMessage
	if err := json.Unmarshal(array, &all); err != nil || len(all) == 0 {
		t.Fatalf("%s: %v", array, err)
	}
	return all[0]
}

func wantFields(t *testing.T, text json.RawMessage, want ...string) {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(object)); !slices.Equal(got, want) {
		t.Errorf("fields are %v, want %v", got, want)
	}
}

// wholeBenchmark holds what was printed to have everything, and sums that agree.
func wholeBenchmark(t *testing.T, out, version string) {
	t.Helper()
	var b benchmark
	if err := json.Unmarshal([]byte(out), &b); err != nil {
		t.Fatal(err)
	}
	if b.Granted == 0 || b.Recorded != b.Granted || b.Spent != b.Granted {
		t.Errorf("granted %d, recorded %d, spent %d", b.Granted, b.Recorded, b.Spent)
	}
	if b.Machine.Cores < 1 || b.Machine.GOMAXPROCS < 1 || b.Store.CommitMS <= 0 || !strings.HasPrefix(b.Store.Version, version) {
		t.Errorf("%+v, %+v", b.Machine, b.Store)
	}
	type row struct {
		name, keys string
		conns      int
	}
	seen := map[row]bool{}
	for _, e := range b.Exchange {
		seen[row{e.Name, e.Keys, e.Conns}] = true
		if e.PerSecond <= 0 || e.P50 <= 0 || e.P99 < e.P50 {
			t.Errorf("measured %+v", e)
		}
	}
	if len(b.Exchange) != 15 || len(seen) != 15 || len(b.Ratios) != 6 || len(b.Check) != 3 {
		t.Errorf("%d rows of which %d differ, %d ratios, %d checks", len(b.Exchange), len(seen), len(b.Ratios), len(b.Check))
	}
	for _, c := range b.Check {
		if c.Sign <= 0 || c.Verify <= 0 || c.First <= 0 || c.Seen <= 0 {
			t.Errorf("measured %+v", c)
		}
	}
}

func TestBenchFailsUnlessWhatWasAnsweredIsRecordedAndCharged(t *testing.T) {
	for b, good := range map[*benchmark]bool{
		{Granted: 5, Recorded: 5, Spent: 5}: true,
		{Granted: 5, Recorded: 4, Spent: 5}: false,
		{Granted: 5, Recorded: 6, Spent: 5}: false,
		{Granted: 5, Recorded: 5, Spent: 4}: false,
		{Granted: 5, Recorded: 5, Spent: 6}: false,
	} {
		if err := b.sums(); (err == nil) != good {
			t.Errorf("%+v: %v", *b, err)
		}
	}
}

func TestABenchmarkTakesAsLongAsItIsGiven(t *testing.T) {
	const members = 5
	for _, d := range []time.Duration{benchLeast, benchQuick, benchTime, benchMost} {
		p := planFor(d, members)
		all := time.Duration(len(p.Conns)*members) * (p.Turn*time.Duration(p.Rounds) + p.Turn/4)
		if p.Rounds < 1 || p.Turn > time.Second || all > d || all < d*9/10 {
			t.Errorf("%v: %+v take %v", d, p, all)
		}
	}
}

func TestProgressIsForWhoeverWatches(t *testing.T) {
	var seen, hidden bytes.Buffer
	for _, p := range []*progress{{w: &seen, shown: true}, {w: &hidden}} {
		p.say("%d %% done", 5)
		p.end()
	}
	if seen.String() != clearLine+"5 % done"+clearLine || hidden.Len() != 0 {
		t.Errorf("%q and %q", seen.String(), hidden.String())
	}
}

func TestNobodyIsOfferedAHiddenCommand(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if script := completionOf(t, shell); strings.Contains(script, "bench-server") || !strings.Contains(script, "bench") {
			t.Errorf("%s offers what is hidden, or hides what is not", shell)
		}
	}
}
