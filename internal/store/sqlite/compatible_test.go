package sqlite_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/cambio-auth/cambio/internal/store/schema"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
)

// stateOf is what the file says of its schema.
func stateOf(t *testing.T, path string) schema.State {
	t.Helper()
	state, err := sqlite.Schema(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestASchemaThatIsNewerAndTakesThisBinaryIsUsedAndLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	_ = open(t, path).Close()
	oldest := stateOf(t, path).Oldest
	query(t, path, `INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1); SELECT 1`)
	addKeys(t, open(t, path), 1, 1)
	if state := stateOf(t, path); state.Version != 99 || state.Needs != oldest {
		t.Errorf("%+v", state)
	}
}

func TestWhatABinaryMustKnowOnlyEverGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	ofVersion(t, path, 1, `PRAGMA user_version = 77`)
	closed(t, path)
	if state := stateOf(t, path); state.Version != state.Newest || state.Needs != 77 {
		t.Errorf("%+v", state)
	}
}

func TestABinaryThatMayNotMigrateLeavesWhatIsBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	refused := func() {
		t.Helper()
		before := stateOf(t, path)
		s, err := sqlite.Open(t.Context(), path, sqlite.Options{NoMigrate: true})
		if err == nil {
			_ = s.Close()
		}
		if after := stateOf(t, path); !errors.Is(err, schema.ErrBehind) || after != before {
			t.Errorf("%v; %+v became %+v", err, before, after)
		}
	}
	refused()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
	ofVersion(t, path, 1)
	refused()
	closed(t, path)
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{NoMigrate: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}
