package main

import (
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// recordings names the directory where every cambio of the scripts leaves a copy
// of what it printed.
const recordings = "CAMBIO_TEST_RECORDINGS"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cambio": recorded})
}

// recorded is main, with a copy of what it prints.
func recorded() {
	forgetEmpty(os.Environ())
	p := thisProcess()
	if dir := os.Getenv(recordings); dir != "" {
		p.stdout = io.MultiWriter(p.stdout, record(dir, "stdout-*"))
		p.stderr = io.MultiWriter(p.stderr, record(dir, "stderr-*"))
	}
	os.Exit(start(os.Args[1:], p))
}

func record(dir, pattern string) io.Writer {
	file, err := os.CreateTemp(dir, pattern)
	if err != nil {
		panic(err)
	}
	return file
}

// TestScripts runs the real binary through whole stories, and then reads all
// that it ever wrote to stderr, logs included, for the secrets it made.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	t.Run("stories", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir:                 "testdata",
			RequireExplicitExec: true,
			RequireUniqueNames:  true,
			Cmds:                scriptCommands,
			Setup: func(env *testscript.Env) error {
				env.Setenv(recordings, dir)
				env.Setenv("CAMBIO_LISTEN", "127.0.0.1:0")
				env.Setenv("CAMBIO_OPS_LISTEN", "127.0.0.1:0")
				env.Setenv("CAMBIO_LOG_FORMAT", "json")
				env.Defer(func() { keepMasterKeys(t, env.WorkDir, dir) })
				return nil
			},
		})
	})
	noSecretInStderr(t, dir)
}

// keepMasterKeys copies the master keys of a script to where secrets are looked
// for.
func keepMasterKeys(t *testing.T, work, dir string) {
	err := filepath.WalkDir(work, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".key" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = record(dir, "stdout-*").Write(text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// secretPatterns find what must never be logged: keys and the secrets of
// clients, master keys, tokens.
var secretPatterns = []*regexp.Regexp{
	regexp.MustCompile(`\b[a-z0-9_]{1,16}_[0-9A-Za-z]{38}\b`),
	regexp.MustCompile(`[0-9A-Za-z+/]{43}=`),
	regexp.MustCompile(`eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+`),
}

func noSecretInStderr(t *testing.T, dir string) {
	printed, logged := readAll(t, dir, "stdout-*"), readAll(t, dir, "stderr-*")
	secrets := map[string]bool{}
	for _, pattern := range secretPatterns {
		for _, secret := range pattern.FindAllString(printed, -1) {
			secrets[secret] = true
		}
	}
	whole := flag.Lookup("test.run").Value.String() == ""
	if whole && (len(secrets) < 10 || len(logged) == 0) {
		t.Fatalf("%d secrets and %d bytes of stderr were recorded, so this proves nothing", len(secrets), len(logged))
	}
	for secret := range secrets {
		if strings.Contains(logged, secret) {
			t.Errorf("a secret that begins with %.7s was written to stderr", secret)
		}
	}
	if secretPatterns[2].MatchString(logged) {
		t.Error("a token was written to stderr")
	}
}

func readAll(t *testing.T, dir, pattern string) string {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
