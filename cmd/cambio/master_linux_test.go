package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cambio-auth/cambio/issuer"
)

// Kubernetes and systemd hand over secrets that belong to root and that the group of
// the service may read.
func TestAMasterKeyThatIsHandedOverMayBeReadByTheGroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "master-key")
	if err := writeMasterKey(path, issuer.NewMasterKey()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		owner int
		mode  os.FileMode
		good  bool
	}{
		{0, 0o600, true}, {0, 0o400, true}, {0, 0o440, false}, {0, 0o404, false},
		{65532, 0o400, true}, {65532, 0o440, true}, {65532, 0o460, false}, {65532, 0o450, false}, {65532, 0o444, false},
	} {
		if err := os.Chown(path, test.owner, -1); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := readMasterKey(path); (err == nil) != test.good {
			t.Errorf("of user %d, mode %04o: %v", test.owner, test.mode, err)
		}
	}
}
