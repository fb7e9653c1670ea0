package manage

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/cambio-auth/cambio/verifier"
)

// Bounds of imported keys, where they are wider than those of keys made here.
const (
	MaxImportedMetadata = 16 << 10 // bytes of JSON; see verifier.MaxTokenMetadata
	MaxStart            = 32       // bytes
)

// validate refuses what a store could not hold, or an exchange not use. It drops the
// spaces in metadata.
func (k *ImportKey) validate() error {
	var bad fields
	bad.check("keyspace", verifier.ValidateKeyspace(k.Keyspace))
	bad.check("owner", verifier.ValidateOwner(k.Owner))
	bad.check("name", verifier.ValidateName(k.Name))
	bad.check("external_id", verifier.ValidateName(k.ExternalID))
	bad.check("start", validStart(k.Start))
	bad.check("permissions", importedPermissions(k.Permissions))
	bad.check("audiences", validAudiences(k.Audiences))
	metadata, err := normalMetadata(k.Metadata, MaxImportedMetadata)
	k.Metadata = metadata
	bad.check("metadata", err)
	bad.check("state", importedState(k.State))
	bad.check("created_at", storable(k.CreatedAt))
	if !k.ExpiresAt.IsZero() {
		bad.check("expires_at", validExpiry(k.ExpiresAt))
	}
	bad.check("remaining", validUses(k.Budget.Remaining))
	if k.Budget.Refill != (verifier.Refill{}) {
		bad.check("refill", validRefill(k.Budget.Refill))
		bad.check("refill_anchor", errors.Join(storable(k.Budget.Refill.Anchor), storable(k.Budget.Refilled)))
	}
	if k.Budget.Rate != (verifier.Rate{}) {
		bad.check("rate", k.Budget.Rate.Validate())
	}
	return bad.err()
}

func validStart(start string) error {
	if len(start) > MaxStart || verifier.ValidateName(start) != nil {
		return fmt.Errorf("must be at most %d bytes of printable text", MaxStart)
	}
	return nil
}

func importedState(state verifier.State) error {
	switch state {
	case verifier.Active, verifier.Disabled, verifier.Revoked:
		return nil
	}
	return errors.New("must be active, disabled or revoked")
}

func storable(t time.Time) error {
	if !t.IsZero() && (t.Before(time.Unix(0, 0)) || t.After(lastExpiry)) {
		return errors.New("must be from 1970 to 2200")
	}
	return nil
}

// importedPermissions takes any name: what no scope can carry is held all the same.
func importedPermissions(p verifier.Permissions) error {
	for resource, actions := range p {
		if len(actions) == 0 {
			return fmt.Errorf("resource %.40q has no actions", resource)
		}
		for _, name := range append([]string{resource}, actions...) {
			if !utf8.ValidString(name) {
				return errors.New("must be UTF-8")
			}
		}
	}
	return permissionsSize(p)
}

// ValidImportedMetadata refuses what an imported key cannot have.
func ValidImportedMetadata(m json.RawMessage) error {
	_, err := normalMetadata(m, MaxImportedMetadata)
	return err
}
