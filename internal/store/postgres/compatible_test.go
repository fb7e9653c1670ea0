package postgres_test

import (
	"errors"
	"testing"

	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/internal/store/schema"
)

// stateOf is what the database says of its schema.
func stateOf(t *testing.T, url string) schema.State {
	t.Helper()
	state, err := postgres.Schema(t.Context(), url)
	must(t, err)
	return state
}

func TestASchemaThatIsNewerAndTakesThisBinaryIsUsedAndLeftAlone(t *testing.T) {
	url := database(t)
	oldest := stateOf(t, url).Oldest
	run(t, connect(t, url), `INSERT INTO cambio_schema_version (version_id, is_applied) VALUES (99, true)`)
	must(t, update(t.Context(), open(t, url), nil, take(1)))
	if state := stateOf(t, url); state.Version != 99 || state.Needs != oldest {
		t.Errorf("%+v", state)
	}
}

func TestWhatABinaryMustKnowIsRecordedBeforeTheFirstMigration(t *testing.T) {
	url := pgtest.Database(t, "", nil)
	conn := connect(t, url)
	run(t, conn, `CREATE TABLE keys (other int)`)
	wantOpenError(t, url, `relation "keys" already exists`)
	if state := stateOf(t, url); state.Version != 0 || state.Needs != state.Oldest {
		t.Errorf("%+v", state)
	}
}

func TestWhatABinaryMustKnowOnlyEverGrows(t *testing.T) {
	url := ofVersion(t, 1)
	run(t, connect(t, url), `CREATE TABLE cambio_schema_oldest AS SELECT 77::bigint AS version`)
	must(t, open(t, url).Close())
	if state := stateOf(t, url); state.Version != state.Newest || state.Needs != 77 {
		t.Errorf("%+v", state)
	}
}

func TestABinaryThatMayNotMigrateLeavesWhatIsBehind(t *testing.T) {
	for name, url := range map[string]string{"empty": pgtest.Database(t, "", nil), "behind": ofVersion(t, 1)} {
		before := stateOf(t, url)
		s, err := postgres.Open(t.Context(), url, postgres.Options{NoMigrate: true})
		if err == nil {
			_ = s.Close()
		}
		if after := stateOf(t, url); !errors.Is(err, schema.ErrBehind) || after != before {
			t.Errorf("%s: %v; %+v became %+v", name, err, before, after)
		}
		must(t, open(t, url).Close())
		s, err = postgres.Open(t.Context(), url, postgres.Options{NoMigrate: true})
		must(t, err)
		must(t, s.Close())
	}
}

// A user who may only read and write rows serves, as long as no migration is due.
func TestAUserWithoutRightsToTheSchemaServesWhatIsUpToDate(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	url := server.URL("postgres")
	must(t, open(t, url).Close())
	admin := connect(t, url)
	run(t, admin, `CREATE ROLE clerk LOGIN`, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk`,
		`REVOKE ALL ON cambio_schema_oldest FROM clerk`)
	s, err := postgres.Open(t.Context(), url+"&user=clerk", postgres.Options{})
	must(t, err)
	must(t, s.Close())
}
