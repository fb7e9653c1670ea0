package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// findJose needs node, and npm for the library.
func findJose(t *testing.T) func() *exec.Cmd {
	const version = "6.2.18" // that is installed
	if exec.Command("node", "--eval", "process.exit(globalThis.crypto ? 0 : 1)").Run() != nil {
		t.Skip("there is no node from 20 on, which jose needs")
	}
	dir := installed(t, "jose-"+version, "npm", func(ctx context.Context, dir string) *exec.Cmd {
		return exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--ignore-scripts",
			"--no-audit", "--no-fund", "--fetch-retries=0", "jose@"+version)
	})
	return func() *exec.Cmd {
		cmd := exec.Command("node", "--input-type=module")
		cmd.Dir = dir // where imports are looked for, as the program has no file
		return cmd
	}
}

// findPyJWT takes the library of a Python that has one, be it the first on the
// path or Debian's, from a package.
func findPyJWT(t *testing.T) func() *exec.Cmd {
	const version = "2.15.1" // that is installed, where there is none
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		const usable = `import cryptography, jwt; assert [*map(int, jwt.__version__.split(".")[:2])] >= [2, 6]`
		if exec.Command(python, "-c", usable).Run() == nil {
			return func() *exec.Cmd { return exec.Command(python, "-") }
		}
	}
	python, err := exec.Command("python3", "--version").Output()
	if err != nil {
		t.Skip("there is no python3")
	}
	// Some of it is compiled for one version of Python.
	name := "pyjwt-" + version + "-" + strings.ReplaceAll(strings.TrimSpace(string(python)), " ", "-")
	dir := installed(t, name, "python3", func(ctx context.Context, dir string) *exec.Cmd {
		return exec.CommandContext(ctx, "python3", "-m", "pip", "install", "--quiet", "--target", dir,
			"--only-binary=:all:", "--retries=0", "pyjwt[crypto]=="+version)
	})
	return func() *exec.Cmd {
		cmd := exec.Command("python3", "-")
		cmd.Env = append(os.Environ(), "PYTHONPATH="+dir)
		return cmd
	}
}

// installed is a directory in the user's cache with a library in it. The first
// test to need it fills another, which then takes the name: runs that go on at
// the same time, or that are cut off, leave no half of a library.
func installed(t *testing.T, name, tool string, install func(ctx context.Context, dir string) *exec.Cmd) string {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skip("there is no ", tool)
	}
	dir, err := fill(t.Context(), name, install)
	switch {
	case err == nil:
	case os.Getenv("CAMBIO_SLOW") != "":
		t.Fatalf("installing %s: %v", name, err)
	default:
		t.Skipf("installing %s: %v", name, err)
	}
	return dir
}

func fill(ctx context.Context, name string, install func(ctx context.Context, dir string) *exec.Cmd) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "cambio-test", name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), name+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := install(ctx, fresh)
	cmd.WaitDelay = time.Second // for what it has started itself
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, nil
}
