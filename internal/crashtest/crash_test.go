// Package crashtest holds the real binary to the promises of the ledger while
// servers and databases are killed, frozen and replaced under load. It looks
// from outside: HTTP, signals and the command line. What needs no process to die
// is tested beside the code.
//
// After every fault the same must hold, for each key: what callers saw
// acknowledged ≤ what is recorded ≤ that and what they never got an answer for.
//
// CAMBIO_SLOW=1 repeats the faults more often.
package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait. Nothing waits this long unless it has failed.
const patience = time.Minute

// rounds is how often a fault is repeated.
func rounds(usually, slowly int) int {
	if os.Getenv("CAMBIO_SLOW") != "" {
		return slowly
	}
	return usually
}

var scratch string // of the process: where the binary is

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "cambio-crash"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(scratch)
		return m.Run()
	}())
}

// binary builds cambio, once.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "cambio")
	out, err := exec.Command("go", "build", "-o", path, "github.com/cambio-auth/cambio/cmd/cambio").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// installation is a store with a client and keys, as its operator sees it.
type installation struct {
	t      *testing.T
	binary string
	dir    string
	env    []string
	client account
	keys   []*key
	logs   []string // paths, of all servers that ever ran
}

// account is a client and its secret.
type account struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}

// key is one API key, and what its callers were told.
type key struct {
	ID     string `json:"id"`
	Secret string `json:"key"`
	uses   int64
	tally
}

const audience = "https://orders.example.com"

// install makes a client and keys with these uses in a store.
func install(t *testing.T, store string, uses ...int64) *installation {
	t.Helper()
	in := at(t, store)
	in.read(&in.client, "client", "create", "orders", "--audience", audience)
	for _, n := range uses {
		k := &key{uses: n}
		in.read(k, "key", "create", "--remaining", fmt.Sprint(n))
		in.keys = append(in.keys, k)
	}
	return in
}

// at is an installation in which nothing was done yet.
func at(t *testing.T, store string) *installation {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	in := &installation{t: t, binary: path, dir: t.TempDir()}
	in.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + in.dir,
		"CAMBIO_LISTEN=127.0.0.1:0", "CAMBIO_OPS_LISTEN=127.0.0.1:0", "CAMBIO_LOG_FORMAT=json",
		"CAMBIO_MASTER_KEY=" + strings.TrimSpace(in.run("master-key")),
		"CAMBIO_STORE=" + store,
	}
	return in
}

// onSQLite installs in a file.
func onSQLite(t *testing.T, uses ...int64) *installation {
	t.Helper()
	return install(t, "sqlite:"+filepath.Join(t.TempDir(), "cambio.db"), uses...)
}

// command is cambio with args, to be started.
func (in *installation) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, in.binary, args...)
	cmd.Dir, cmd.Env = in.dir, in.env
	return cmd
}

// run returns what a command prints.
func (in *installation) run(args ...string) string {
	in.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := in.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		in.t.Fatalf("cambio %s: %v: %s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

// read decodes what a command prints as JSON.
func (in *installation) read(to any, args ...string) {
	in.t.Helper()
	out := in.run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), to); err != nil {
		in.t.Fatalf("cambio %s printed %s: %v", strings.Join(args, " "), out, err)
	}
}

// recorded is what a key was charged: by its budget and by its usage, which must
// say the same.
func (in *installation) recorded(k *key) int64 {
	in.t.Helper()
	var shown struct{ Remaining int64 }
	var used struct {
		Usage []struct {
			Outcome        string
			Requests, Cost int64
		}
	}
	in.read(&shown, "key", "show", k.ID)
	in.read(&used, "usage", "--key", k.ID)
	var counted int64
	for _, u := range used.Usage {
		if u.Outcome == "granted" {
			counted += u.Cost
		}
	}
	charged := k.uses - shown.Remaining
	if counted != charged || shown.Remaining < 0 {
		in.t.Errorf("%s had %d and has %d, and its usage is %d", k.ID, k.uses, shown.Remaining, counted)
	}
	return charged
}

// total sums up what became of the requests for all keys.
type total struct{ acknowledged, recorded, unknown, lost, refused int64 }

func (in *installation) total() (sum total) {
	in.t.Helper()
	for _, k := range in.keys {
		recorded, acknowledged := in.recorded(k), k.acknowledged.Load()
		sum.recorded += recorded
		sum.acknowledged += acknowledged
		sum.unknown += k.unknown.Load()
		sum.refused += k.spent.Load()
		sum.lost += max(0, acknowledged-recorded)
		if most := acknowledged + k.unknown.Load(); recorded > most {
			in.t.Errorf("%s: %d recorded, %d acknowledged, %d without an answer", k.ID, recorded, acknowledged, k.unknown.Load())
		}
	}
	return sum
}

// balanced fails the test unless the promises hold, and tells the figures. No
// load may run.
func (in *installation) balanced(when string) total {
	in.t.Helper()
	sum := in.total()
	in.t.Logf("%s: %d acknowledged ≤ %d recorded ≤ %d; %d refused as spent",
		when, sum.acknowledged, sum.recorded, sum.acknowledged+sum.unknown, sum.refused)
	if sum.lost > 0 {
		in.t.Errorf("%s: %d acknowledged charges are lost", when, sum.lost)
	}
	return sum
}

// until polls until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}
