package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/verifier"
)

// chargers is how many goroutines of a child charge at once.
const chargers = 4

const childVariable = "CAMBIO_TEST_CHILD"

// TestMain makes the test binary a second process of the tests below: the
// variable names what it does, its first argument is the database.
func TestMain(m *testing.M) {
	children := map[string]func(*sqlite.Store) error{
		"open":     func(*sqlite.Store) error { return nil },
		"charge":   chargeUntilSpent,
		"io error": failToCommit,
		"back up":  func(s *sqlite.Store) error { return backUp(s, os.Args[1]+".copy") },
		"confirm":  confirmForever,
	}
	child, ok := children[os.Getenv(childVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // the parent says when
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := sqlite.Open(ctx, os.Args[1], sqlite.Options{})
	if err == nil {
		err = errors.Join(child(s), s.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// chargeUntilSpent takes one use at a time from the first key, and writes a line
// for each that is acknowledged.
func chargeUntilSpent(s *sqlite.Store) error {
	v, err := verifier.New(verifier.Config{Store: s, Timeout: time.Minute})
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	var errs [chargers]error
	for i := range errs {
		group.Go(func() {
			for errs[i] == nil {
				_, errs[i] = v.Verify(context.Background(), verifier.Request{
					Key: verifier.NewSecret(secret(0)), Cost: 1,
					Client: verifier.Allowance{Audiences: []string{"a"}, AllKeyspaces: true, ImportedKeys: true},
				})
				if errs[i] == nil {
					_, _ = os.Stdout.WriteString("+\n")
				}
			}
			var spent *verifier.SpentError
			if errors.As(errs[i], &spent) {
				errs[i] = nil
			}
		})
	}
	group.Wait()
	return errors.Join(errs[:]...)
}

// failToCommit lets no file grow, so that writing the log fails at COMMIT with
// an error that is not "disk full", and then lets it grow again.
func failToCommit(s *sqlite.Store) error {
	signal.Ignore(syscall.SIGXFSZ)
	digests := []verifier.Digest{verifier.NewSecret(secret(0)).Digest()}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1, Max: limit.Max}); err != nil {
		return err
	}
	err := update(context.Background(), s, digests, take(1))
	if !errors.Is(err, verifier.ErrOutcomeUnknown) {
		return fmt.Errorf("commit that could not write: %w", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	return update(context.Background(), s, digests, take(1))
}

// child is another process on the database at path.
type child struct {
	*exec.Cmd
	say    io.WriteCloser
	lines  *bufio.Scanner
	stderr strings.Builder
}

func start(t *testing.T, what, path string, change ...func(*exec.Cmd)) *child {
	t.Helper()
	c := &child{Cmd: exec.Command("/proc/self/exe", path)} // also for a user who may not look into the binary's directory
	c.Env = append(os.Environ(), childVariable+"="+what)
	c.Stderr = &c.stderr
	for _, f := range change {
		f(c.Cmd)
	}
	var err error
	if c.say, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// run lets the child go, and waits for it.
func (c *child) run() error {
	_ = c.say.Close()
	for c.lines.Scan() {
	}
	if err := c.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(c.stderr.String()))
	}
	return nil
}

func TestTwoProcessesChargeOneKeyToTheLastUseAndNoFurther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	const uses = 100
	s := open(t, path)
	addKeys(t, s, 1, uses)
	children := []*child{start(t, "charge", path), start(t, "charge", path)}
	var group sync.WaitGroup
	acknowledged := make([]int, len(children))
	for i, c := range children {
		group.Go(func() {
			_ = c.say.Close()
			for c.lines.Scan() {
				acknowledged[i]++
			}
			if err := c.run(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if sum := acknowledged[0] + acknowledged[1]; sum != uses {
		t.Errorf("%v acknowledged, want %d together", acknowledged, uses)
	}
	if left := remaining(t, s, 0); left != 0 {
		t.Errorf("%d uses left, want 0", left)
	}
}

func TestAKilledProcessLosesNoAcknowledgedChargeAndInventsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	const uses = 1 << 40
	setUp := open(t, path)
	addKeys(t, setUp, 1, uses)
	if err := setUp.Close(); err != nil {
		t.Fatal(err)
	}
	recordedBefore := int64(0)
	for round := range 5 {
		c := start(t, "charge", path)
		_ = c.say.Close()
		acknowledged := int64(0)
		for c.lines.Scan() {
			if acknowledged++; acknowledged == int64(25+10*round) {
				_ = c.Process.Kill()
			}
		}
		_ = c.Wait()
		recovered := open(t, path) // from the log that the killed process left
		recorded := uses - remaining(t, recovered, 0) - recordedBefore
		if err := recovered.Close(); err != nil {
			t.Fatal(err)
		}
		if acknowledged > recorded || recorded > acknowledged+chargers {
			t.Errorf("round %d: %d acknowledged, %d recorded, %d in flight", round, acknowledged, recorded, chargers)
		}
		recordedBefore += recorded
	}
	if recordedBefore < 5*25 {
		t.Errorf("%d charges recorded: the children did not get to charge", recordedBefore)
	}
}

func TestACommitThatTheDiskRefusedHasAnUnknownOutcome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	s := open(t, path)
	addKeys(t, s, 1, 5)
	if err := start(t, "io error", path).run(); err != nil {
		t.Fatal(err)
	}
	if left := remaining(t, s, 0); left != 4 {
		t.Errorf("%d uses left, want 4: this time the charge had not happened", left)
	}
}

func TestProcessesThatOpenANewFileAtOnceMigrateItOnce(t *testing.T) {
	for range 3 {
		path := filepath.Join(t.TempDir(), "cambio.db")
		var group sync.WaitGroup
		for range 4 {
			c := start(t, "open", path)
			group.Go(func() {
				if err := c.run(); err != nil {
					t.Error(err)
				}
			})
			group.Go(func() {
				s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := query(t, path, `SELECT count(*) FROM schema_version WHERE version_id = 1`); n != 1 {
			t.Errorf("migrated %d times", n)
		}
	}
}
