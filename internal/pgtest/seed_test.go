package pgtest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestSeed(t *testing.T) {
	t.Run("is made once, however many servers start at a time, and grows into all of them", func(t *testing.T) {
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		var starts sync.WaitGroup
		servers := make([]*Server, 3)
		errs := make([]error, 3)
		for i := range servers {
			starts.Go(func() {
				if servers[i], errs[i] = newServer(Options{}); errs[i] == nil {
					errs[i] = servers[i].boot(servers[i].initdb)
				}
			})
		}
		starts.Wait()
		identities := map[int]bool{}
		for i, s := range servers {
			s.adopt(t, errs[i])
			identities[count(t, s.URL("postgres"), "SELECT system_identifier FROM pg_control_system()")] = true
		}
		if len(identities) != 1 {
			t.Errorf("initdb ran %d times", len(identities))
		}
	})
	t.Run("that was not finished is made again", func(t *testing.T) {
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		bin, err := locate()
		must(t, err)
		must(t, os.MkdirAll(filepath.Join(bin.seed()+".new", "base"), 0o700))
		for range 2 {
			count(t, Start(t, Options{}).URL("postgres"), "SELECT 1")
		}
		if exists(bin.seed()+".new") || !exists(bin.seed()) {
			t.Error("it is still unfinished")
		}
	})
	t.Run("is done without where there is no cache", func(t *testing.T) {
		t.Setenv("XDG_CACHE_HOME", "/dev/null")
		count(t, Start(t, Options{}).URL("postgres"), "SELECT 1")
	})
}
