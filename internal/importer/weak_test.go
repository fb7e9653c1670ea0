package importer_test

import (
	"slices"
	"testing"

	"github.com/cambio-auth/cambio/internal/importer"
)

func TestAKeyspaceThatGetsAWeakKeyIsMarkedFirst(t *testing.T) {
	onEachStore(t, func(t *testing.T, p place) {
		const note = "keyspace old: holds keys that can be guessed, so failures are limited harder"
		rows := func() importer.Source {
			return lines(
				row{"key": key(1), "keyspace": "new"}, row{"key": "swordfish", "keyspace": "old"}, row{"key": "marlin", "keyspace": "old"},
			)
		}
		for _, step := range []struct {
			dryRun bool
			noted  bool
		}{{true, true}, {false, true}, {true, false}, {false, false}} {
			sum, err := importer.Run(t.Context(), rows(), p, importer.Options{DryRun: step.dryRun})
			if err != nil || sum.Bad() != 0 || slices.Contains(sum.Notes, note) != step.noted {
				t.Errorf("dry run %t: %+v, %v", step.dryRun, sum, err)
			}
		}
		for name, weak := range map[string]bool{"old": true, "new": false} {
			ks, err := p.Keyspace(t.Context(), name)
			if err != nil || ks.WeakKeys != weak || !ks.ImportedKeys {
				t.Errorf("%+v, %v", ks, err)
			}
		}
	})
}
