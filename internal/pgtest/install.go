package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// createCluster keeps Debian's package from starting a server of its own.
const createCluster = "/etc/postgresql-common/createcluster.conf"

func install(ctx context.Context) (binaries, error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return binaries{}, err
	}
	if os.Geteuid() == 0 {
		return installPackage(ctx, createCluster, systemPlaces().debian)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return binaries{}, err
	}
	return extract(ctx, filepath.Join(cache, "cambio-pgtest"))
}

// installPackage is for root: the server will be below debian. What the file
// confPath says, if it says anything, stays. Test processes that start together wait for the first.
func installPackage(ctx context.Context, confPath, debian string) (bin binaries, err error) {
	if err := os.MkdirAll(filepath.Dir(confPath), 0o755); err != nil { //nolint:gosec // as the package has it
		return bin, err
	}
	conf, err := lockedFile(confPath)
	if err != nil {
		return bin, err
	}
	defer func() { err = errors.Join(err, conf.Close()) }()
	if dir := newest(debian); dir != "" {
		return binaries{dir: dir}, nil
	}
	if size, err := conf.Seek(0, io.SeekEnd); err != nil {
		return bin, err
	} else if size == 0 {
		if _, err := conf.WriteString("create_main_cluster = false\n"); err != nil {
			return bin, err
		}
	}
	if _, err := apt(ctx, "", "update"); err != nil {
		return bin, err
	}
	if _, err := apt(ctx, "", "install", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold", "postgresql"); err != nil {
		return bin, err
	}
	if bin.dir = newest(debian); bin.dir == "" {
		return bin, errors.New("the package postgresql has no server")
	}
	return bin, nil
}

// extract is for everybody else: the packages that an installation would add
// are downloaded with apt lists of our own, and unpacked below cache. The
// server finds its files from where its binary lies.
func extract(ctx context.Context, cache string) (bin binaries, err error) {
	root := filepath.Join(cache, "root")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return bin, err
	}
	held, err := lockedFile(filepath.Join(cache, "lock"))
	if err != nil {
		return bin, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	debian := filepath.Join(root, "usr/lib/postgresql")
	if bin.dir = newest(debian); bin.dir == "" {
		if err := download(ctx, cache, root); err != nil {
			return bin, err
		}
		bin.dir = newest(debian)
	}
	if bin.dir == "" {
		return bin, errors.New("the package postgresql has no server")
	}
	libs, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*")) // the pattern is well formed
	bin.lib = strings.Join(libs, string(filepath.ListSeparator))
	return bin, nil
}

func download(ctx context.Context, cache, root string) (err error) {
	own := filepath.Join(cache, "apt")
	defer func() { err = errors.Join(err, os.RemoveAll(own)) }()
	debs, lists := filepath.Join(own, "debs"), filepath.Join(own, "lists")
	for _, dir := range []string{debs, filepath.Join(lists, "partial"), filepath.Join(own, "archives/partial")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	private := []string{"-o", "Dir::State::Lists=" + lists, "-o", "Dir::Cache=" + own}
	if _, err := apt(ctx, debs, append(private, "update")...); err != nil {
		return err
	}
	plan, err := apt(ctx, debs, append(private, "--simulate", "--no-install-recommends", "install", "postgresql")...)
	if err != nil {
		return err
	}
	if _, err := apt(ctx, debs, append(append(private, "download"), planned(plan)...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	for _, deb := range files {
		if _, err := run(exec.CommandContext(ctx, "dpkg-deb", "-x", deb, root)); err != nil { //nolint:gosec // our own download
			return err
		}
	}
	return err
}

// planned are the packages that apt-get --simulate would install.
func planned(output string) []string {
	var names []string
	for line := range strings.Lines(output) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Inst" {
			names = append(names, f[1])
		}
	}
	return names
}

func apt(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-o", "DPkg::Lock::Timeout=120"}, args...)...) //nolint:gosec // our own arguments
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	return run(cmd)
}

// run returns what cmd printed; its error ends with that.
func run(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, tail(out))
	}
	return string(out), nil
}

// tail is the end of what a program wrote: enough to see why it failed.
func tail(out []byte) []byte {
	return out[max(0, len(out)-2000):]
}

// lockedFile opens path, made if need be, and waits for its flock, which ends
// when the file is closed.
func lockedFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // a constant, or in our cache
	if err != nil {
		return nil, err
	}
	if _, err := lock(f, true); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
