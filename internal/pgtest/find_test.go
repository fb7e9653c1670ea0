package pgtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree holds made-up installations below a temporary directory.
type tree struct {
	*testing.T
	root string
}

// program makes an executable below root; text is its shell script.
func (t tree) program(path, text string) {
	t.Helper()
	path = filepath.Join(t.root, path)
	must(t.T, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t.T, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700))
}

func (t tree) server(dir string) {
	t.Helper()
	t.program(dir+"/initdb", "")
	t.program(dir+"/postgres", "")
}

func (t tree) places() places {
	return places{debian: t.root + "/debian", path: t.root + "/path1:" + t.root + "/path2"}
}

func TestFind(t *testing.T) {
	tests := map[string]struct {
		make func(tree, *places)
		want string // below the root
	}{
		"nothing is found where nothing is": {func(tree, *places) {}, ""},
		"PGTEST_BIN comes before all else": {func(t tree, p *places) {
			t.server("given")
			t.server("debian/15/bin")
			p.bin = t.root + "/given"
		}, "given"},
		"of Debian's versions the newest is taken, by number": {func(t tree, _ *places) {
			t.server("debian/9.6/bin")
			t.server("debian/9/bin")
			t.server("debian/15/bin")
		}, "debian/15/bin"},
		"a version of which only the client is installed is passed over": {func(t tree, _ *places) {
			t.server("debian/9/bin")
			t.program("debian/16/bin/psql", "")
			t.program("debian/17/bin/postgres", "")
			t.program("debian/18/bin/initdb", "")
		}, "debian/9/bin"},
		"Debian's come before pg_config": {func(t tree, _ *places) {
			t.server("debian/9/bin")
			t.server("built")
			t.program("path1/pg_config", "echo "+t.root+"/built")
		}, "debian/9/bin"},
		"pg_config comes before PATH": {func(t tree, _ *places) {
			t.server("built")
			t.server("path1")
			t.program("path2/pg_config", `[ "$1" = --bindir ] && echo `+t.root+"/built")
		}, "built"},
		"a pg_config without a server, or which fails, is passed over": {func(t tree, _ *places) {
			t.program("path1/pg_config", "echo "+t.root+"/nowhere")
			t.program("path2/pg_config", "exit 1")
			t.server("path2")
		}, "path2"},
		"in PATH both programs are in one directory": {func(t tree, _ *places) {
			t.program("path1/postgres", "")
			t.server("path2")
		}, "path2"},
		"what cannot be executed is none": {func(t tree, _ *places) {
			t.server("path1")
			must(t.T, os.Chmod(t.root+"/path1/initdb", 0o600))
		}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			made := tree{t, t.TempDir()}
			p := made.places()
			tt.make(made, &p)
			got, err := p.find(t.Context())
			must(t, err)
			want := ""
			if tt.want != "" {
				want = filepath.Join(made.root, tt.want)
			}
			if got != want {
				t.Errorf("found %q, want %q", got, want)
			}
		})
	}
}

func TestFindFailsWhenPGTEST_BINIsWrong(t *testing.T) {
	made := tree{t, t.TempDir()}
	made.server("debian/15/bin")
	p := made.places()
	p.bin = made.root
	if _, err := p.find(t.Context()); err == nil || !strings.Contains(err.Error(), "PGTEST_BIN") {
		t.Errorf("error is %v", err)
	}
}

func TestPlannedReadsASimulation(t *testing.T) {
	got := planned("NOTE: a simulation\nInst libpq5 (15.1 Debian:12 [amd64])\nInst postgresql-15 [15.0] (15.1 Debian:12 [amd64])\nConf libpq5 (15.1)\n")
	if !slices.Equal(got, []string{"libpq5", "postgresql-15"}) {
		t.Errorf("got %q", got)
	}
}

// TestExtract stands in for apt and dpkg: two packages, of which one has the server.
func TestExtract(t *testing.T) {
	made := tree{t, t.TempDir()}
	made.program("bin/apt-get", `for last; do :; done
echo "$@" >>`+made.root+`/calls
case "$*" in
*--simulate*) printf 'Inst libpq5 (1)\nInst postgresql-15 (1)\n' ;;
*download*) touch libpq5.deb postgresql-15.deb ;;
esac`)
	made.program("bin/dpkg-deb", `mkdir -p $3/usr/lib/x86_64-linux-gnu
case $2 in *postgresql-15.deb)
	mkdir -p $3/usr/lib/postgresql/15/bin && cd $3/usr/lib/postgresql/15/bin
	touch postgres initdb && chmod +x postgres initdb ;;
esac`)
	t.Setenv("PATH", made.root+"/bin:"+os.Getenv("PATH"))
	cache := made.root + "/cache"
	for range 2 { // the second time it is there
		bin, err := extract(t.Context(), cache)
		must(t, err)
		usr := filepath.Join(cache, "root", "usr")
		if bin.dir != usr+"/lib/postgresql/15/bin" || bin.lib != usr+"/lib/x86_64-linux-gnu" {
			t.Errorf("extracted to %+v", bin)
		}
	}
	calls, err := os.ReadFile(made.root + "/calls")
	must(t, err)
	if n := strings.Count(string(calls), "\n"); n != 3 || !strings.Contains(string(calls), "download libpq5 postgresql-15") {
		t.Errorf("apt-get was called with\n%s", calls)
	}
	for line := range strings.Lines(string(calls)) {
		if !strings.Contains(line, "Dir::State::Lists="+cache) {
			t.Errorf("without lists of our own: %s", line)
		}
	}
}

func TestInstallPackage(t *testing.T) {
	for name, tt := range map[string]struct{ before, want string }{
		"makes no cluster of Debian's own": {"", "create_main_cluster = false\n"},
		"respects what is configured":      {"ssl = off\n", "ssl = off\n"},
	} {
		t.Run(name, func(t *testing.T) {
			made := tree{t, t.TempDir()}
			made.program("bin/apt-get", `echo "$DEBIAN_FRONTEND $@" >>`+made.root+`/calls
case "$*" in *install*)
	mkdir -p `+made.root+`/debian/15/bin && cd `+made.root+`/debian/15/bin
	touch postgres initdb && chmod +x postgres initdb ;;
esac`)
			t.Setenv("PATH", made.root+"/bin:"+os.Getenv("PATH"))
			conf := made.root + "/etc/createcluster.conf"
			if tt.before != "" {
				must(t, os.Mkdir(filepath.Dir(conf), 0o700))
				must(t, os.WriteFile(conf, []byte(tt.before), 0o600))
			}
			for range 2 { // the second time it is there
				bin, err := installPackage(t.Context(), conf, made.root+"/debian")
				must(t, err)
				if bin.dir != made.root+"/debian/15/bin" {
					t.Errorf("installed to %+v", bin)
				}
			}
			got, err := os.ReadFile(conf)
			must(t, err)
			if string(got) != tt.want {
				t.Errorf("configured %q", got)
			}
			calls, err := os.ReadFile(made.root + "/calls")
			must(t, err)
			if n := strings.Count(string(calls), "noninteractive "); n != 2 {
				t.Errorf("apt-get was called with\n%s", calls)
			}
		})
	}
}

func TestExtractSaysWhatAptSaid(t *testing.T) {
	made := tree{t, t.TempDir()}
	made.program("bin/apt-get", "echo E: no network; exit 100")
	t.Setenv("PATH", made.root+"/bin")
	if _, err := extract(t.Context(), made.root+"/cache"); err == nil || !strings.Contains(err.Error(), "no network") {
		t.Errorf("error is %v", err)
	}
}
