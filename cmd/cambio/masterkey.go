package main

import (
	"fmt"

	"github.com/cambio-auth/cambio/issuer"
)

type masterKeyCmd struct {
	Out    string `placeholder:"PATH" help:"Write it to a new file that only its owner may read, in place of stdout."`
	output `embed:""`
}

func (*masterKeyCmd) Help() string {
	return `The master key seals the signing keys in the store: 32 random bytes in base64. Keep it apart from the store and its backups. A server reads it from CAMBIO_MASTER_KEY_FILE, which must be readable by its owner only, or from CAMBIO_MASTER_KEY.

Examples:

    cambio master-key --out cambio.key
    CAMBIO_MASTER_KEY=$(cambio master-key) cambio serve`
}

func (c *masterKeyCmd) Run(p process) error {
	key := issuer.NewMasterKey()
	if c.Out != "" {
		return writeMasterKey(c.Out, key)
	}
	if c.JSON {
		return printJSON(p.stdout, map[string]string{"master_key": key.Reveal()})
	}
	_, err := fmt.Fprintln(p.stdout, key.Reveal())
	return err
}
