package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// jail runs the image's binary as a container would: as its user, on its settings,
// with a root of nothing else that cannot be written to, apart from /data.
type jail struct {
	t    *testing.T
	root string
	env  []string
}

// enter is what a container engine does, as far as it can be done in a line. Of
// its arguments, the first is the root, and the rest is for cambio.
const enter = `mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" &&
mount --bind "$1/../data" "$1/data" && root=$1 && shift &&
exec chroot --userspec=65532:65532 "$root" /usr/local/bin/cambio "$@"`

func newJail(t *testing.T) *jail {
	t.Helper()
	if os.Getuid() != 0 || exec.Command("unshare", "--mount", "true").Run() != nil {
		t.Skip("only root may make a jail, where it may mount")
	}
	dir, err := os.MkdirTemp("", "jail") // t.TempDir is for this user alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	j := &jail{t: t, root: filepath.Join(dir, "root")}
	for _, path := range []string{dir + "/data", j.root + "/data", j.root + "/tmp", j.root + "/usr/local/bin"} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fromImage(t, j.root+"/usr/local/bin/cambio")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir+"/data", 65532, 65532)); err != nil {
		t.Fatal(err)
	}
	j.env = strings.Fields(strings.Join(dockerfile(t, true, "ENV"), " "))
	return j
}

// command is cambio in the jail.
func (j *jail) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(j.t.Context(), "unshare", append([]string{"--mount", "sh", "-c", enter, "sh", j.root}, args...)...)
	cmd.Env = append(slices.Clone(j.env), "PATH="+os.Getenv("PATH"), "CAMBIO_LOG_FORMAT=json")
	cmd.Stderr = j.t.Output()
	return cmd
}

func (j *jail) run(args ...string) string {
	j.t.Helper()
	out, err := j.command(args...).Output()
	if err != nil {
		j.t.Errorf("cambio %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

func TestTheImageServesOnItsOwnDefaultsAndWritesToItsDataOnly(t *testing.T) {
	j := newJail(t)
	if got := j.run("doctor", "--ops-listen", "127.0.0.1:1"); !strings.Contains(got, "there is no database /data/cambio.db yet") {
		t.Errorf("the settings are not what they should be: %s", got)
	}
	if out, err := j.command("client", "create", "x", "--store", "sqlite:/tmp/cambio.db").Output(); err == nil {
		t.Errorf("something was written beside /data: %s", out)
	}
	public, ops := freeAddress(t), freeAddress(t)
	serve := j.command("serve", "--listen", public, "--ops-listen", ops)
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = serve.Process.Signal(syscall.SIGTERM)
		if err := serve.Wait(); err != nil {
			t.Errorf("the server did not end well: %v", err)
		}
	}()
	until := time.Now().Add(time.Minute)
	for !answers(t, "http://"+ops+"/readyz") && time.Now().Before(until) {
		time.Sleep(20 * time.Millisecond) // between two looks, not for the outcome
	}
	if got := j.run("health", "--ops-listen", ops); got != "ready\n" {
		t.Errorf("health says %q", got)
	}
	secret := j.run("client", "create", "orders", "--audience", "https://orders.example.com")
	key := j.run("key", "create", "--permission", "projects:read,write")
	dir := t.TempDir()
	for name, text := range map[string]string{"client-secret.txt": secret, "key.txt": key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := newcomer{readme: readReadme(t), dir: dir, public: public, ops: ops}
	if answer := n.exchange(t); answer.AccessToken == "" {
		t.Errorf("%+v", answer)
	}
	owned(t, filepath.Join(j.root, "../data"), "cambio.db", "cambio.key")
}

// owned holds files to their owner, who is the image's user, and their mode.
func owned(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != 65532 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %+v", name, info.Mode(), info.Sys())
		}
	}
}
