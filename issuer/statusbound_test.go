package issuer_test

import (
	"fmt"
	"testing"

	"github.com/cambio-auth/cambio/issuer"
)

// After a restore a generation is a number of 16 digits, and everyone below it is over.
func TestAnyNumberOfGenerationsThatAreOverMayBeAskedForAndFewAreKept(t *testing.T) {
	store := &statuses{}
	number := store.open(64)
	store.lists[number] = issuer.StatusChange{List: number, Size: 64, Generation: 1_790_000_000_000_000, Revision: 1_790_000_000_000_000}
	store.revision = 1_790_000_000_000_000
	lists := publish(t, store)
	most := 0
	for i := range 5000 {
		if _, err := lists.Token(t.Context(), fmt.Sprintf("%d.%d", number, i)); err != nil {
			t.Fatal(err)
		}
		most = max(most, lists.Kept())
	}
	if most > 4096+1 || most < 1000 {
		t.Errorf("%d were kept", most)
	}
	if _, err := lists.Token(t.Context(), fmt.Sprintf("%d.1790000000000000", number)); err != nil {
		t.Error(err)
	}
}
