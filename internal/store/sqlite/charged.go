package sqlite

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cambio-auth/cambio/verifier"
)

const (
	selectCharged = `SELECT want.key, r.request, r.answer, r.until
		FROM json_each(?) want CROSS JOIN repeats r ON r.id = unhex(want.value)`

	// What is replaced is over: nobody else writes meanwhile.
	insertCharged = `INSERT OR REPLACE INTO repeats (id, request, answer, until) VALUES (?, ?, ?, ?)`
)

// loadCharged returns what was charged under each id, over or not, and nil for one
// under which nothing was.
func loadCharged(ctx context.Context, tx *transaction, ids [][32]byte) ([]*verifier.Charged, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	wanted := make([]string, len(ids))
	for i := range ids {
		wanted[i] = hex.EncodeToString(ids[i][:])
	}
	list, err := json.Marshal(wanted)
	if err != nil {
		return nil, err
	}
	rows, err := tx.query(ctx, selectCharged, string(list))
	if err != nil {
		return nil, err
	}
	charged := make([]*verifier.Charged, len(ids))
	_, err = collect(rows, func(row scanner) (none struct{}, err error) {
		var place int
		var request [32]byte
		var answer []byte
		var until time.Time
		if err = row.Scan(&place, hashTo(request[:]), &answer, stampTo{&until}); err == nil {
			charged[place] = verifier.ReadCharged(request, until, answer)
		}
		return none, err
	})
	return charged, err
}

// forgetOver leaves out what is over at now.
func forgetOver(charged []*verifier.Charged, now time.Time) {
	for i, c := range charged {
		if c != nil && !now.Before(c.Until) {
			charged[i] = nil
		}
	}
}

// saveCharged writes what is where nothing was before.
func saveCharged(ctx context.Context, tx *transaction, ids [][32]byte, before, after []*verifier.Charged) error {
	for i, c := range after {
		if before[i] != nil || c == nil {
			continue
		}
		answer, err := c.Answer()
		if err != nil {
			return fmt.Errorf("%w: %w", verifier.ErrBadRecord, err)
		}
		_, err = tx.exec(context.WithoutCancel(ctx), insertCharged, ids[i][:], c.Request[:], string(answer), stamp(c.Until))
		if err != nil && (codeOf(err) == 0 || codeOf(err)&0xff == sqlite3.SQLITE_CONSTRAINT) {
			err = fmt.Errorf("%w: %w", verifier.ErrBadRecord, err) // a value that no column takes
		}
		if err != nil {
			return err
		}
	}
	return nil
}
