package postgres_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/verifier"
)

// The tables that a charge writes are on a small disk of their own, which fills.
func TestAFullDiskChargesNothingAndIsSurvived(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Durable: true})
	disk := filepath.Join(t.TempDir(), "disk")
	must(t, os.Mkdir(disk, 0o700))
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	lend(t, server, disk)

	url := server.URL("postgres")
	s := open(t, url)
	conn := connect(t, url)
	run(t, conn, `CREATE TABLESPACE small LOCATION '`+disk+`/space'`,
		`ALTER TABLE usage SET TABLESPACE small`, `ALTER TABLE usage SET (autovacuum_enabled = off)`)
	const keys = 4000 // their rows of usage need more than the disk has
	digests := addKeys(t, s, keys, 5)
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}

	charged := int64(0)
	var err error
	for from := 0; err == nil && from < keys; from += 100 {
		if err = update(t.Context(), s, digests[from:from+100], use(1)); err == nil {
			charged += 100
		}
	}
	if err == nil || errors.Is(err, verifier.ErrOutcomeUnknown) || errors.Is(err, verifier.ErrBadRecord) || !strings.Contains(err.Error(), "No space left") {
		t.Errorf("error is %v after %d charges, want a certain one that says why", err, charged)
	}
	taken := func() int64 { return keys*5 - ask[int64](t, conn, `SELECT sum(remaining)::bigint FROM budgets`) }
	counted := func() int64 { return ask[int64](t, conn, `SELECT coalesce(sum(cost), 0)::bigint FROM usage`) }
	if taken() != charged || counted() != charged {
		t.Errorf("%d charges, but %d taken and %d counted", charged, taken(), counted())
	}

	must(t, os.Remove(filler))
	must(t, update(t.Context(), s, digests[keys-100:], use(1)))
	if taken() != charged+100 || counted() != charged+100 {
		t.Errorf("after making room: %d charges, but %d taken and %d counted", charged+100, taken(), counted())
	}
}

// use takes n uses from every key, and counts them.
func use(n int64) func(time.Time, []*verifier.Record) {
	return func(_ time.Time, found []*verifier.Record) {
		for _, rec := range found {
			rec.Budget.Remaining -= n
			rec.Uses = append(rec.Uses, verifier.Use{Client: "orders", Audience: "https://orders.example.com", Grants: 1, Cost: n})
		}
	}
}

// lend gives a directory on disk to the user that server runs as.
func lend(t *testing.T, server *pgtest.Server, disk string) {
	t.Helper()
	who, err := os.Stat(filepath.Join("/proc", strconv.Itoa(server.PID())))
	must(t, err)
	owner := who.Sys().(*syscall.Stat_t)
	space := filepath.Join(disk, "space")
	must(t, os.Mkdir(space, 0o700))
	for _, dir := range []string{disk, space} {
		must(t, os.Chown(dir, int(owner.Uid), int(owner.Gid)))
	}
	for dir := filepath.Dir(disk); strings.HasPrefix(dir, os.TempDir()) && dir != os.TempDir(); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o711))
	}
}
