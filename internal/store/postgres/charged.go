package postgres

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/verifier"
)

// What was charged under an idempotency key is read once the budgets are locked, and
// written last. Of two who charge the same key, the second has waited and finds what
// the first left. Two who charge different keys meet at the primary key: the second
// has nothing committed, and fails as for a damaged record.
const (
	selectCharged = `SELECT id, request, answer, until FROM repeats WHERE id = ANY ($1::bytea[])`
	deleteOver    = `DELETE FROM repeats WHERE id = ANY ($1::bytea[]) AND until <= $2`
	insertCharged = `INSERT INTO repeats (id, request, answer, until)
		SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::bigint[])`
)

// readCharged returns what was charged under ids and is not over at now.
func readCharged(rows pgx.Rows, ids [][32]byte, now time.Time) ([]*verifier.Charged, error) {
	charged := make([]*verifier.Charged, len(ids))
	_, err := collect(rows, func(row pgx.CollectableRow) (none struct{}, err error) {
		var id, request, answer []byte
		var until pgtype.Int8
		if err := row.Scan(&id, &request, &answer, &until); err != nil {
			return none, err
		}
		asked, err := digestOf(request)
		if i := slices.IndexFunc(ids, func(want [32]byte) bool { return bytes.Equal(want[:], id) }); i >= 0 && now.Before(stamped(until)) {
			charged[i] = verifier.ReadCharged(asked, stamped(until), answer)
		}
		return none, err
	})
	return charged, err
}

// chargedRow is what decide left in an empty place.
type chargedRow struct {
	id [32]byte
	*verifier.Charged
}

// saveCharged are the statements that store rows, in the order of their ids, so that
// two who store the same do not wait for each other.
func saveCharged(rows []chargedRow, now time.Time) ([]statement, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	slices.SortFunc(rows, func(a, b chargedRow) int { return bytes.Compare(a.id[:], b.id[:]) })
	var ids, requests [][]byte
	var answers []string
	var untils []*int64
	for _, row := range rows {
		answer, err := row.Answer()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", verifier.ErrBadRecord, err)
		}
		until, err := stamp(row.Until)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", verifier.ErrBadRecord, err)
		}
		ids, requests = append(ids, row.id[:]), append(requests, row.Request[:])
		answers, untils = append(answers, string(answer)), append(untils, until)
	}
	return []statement{
		{deleteOver, []any{ids, now.UnixNano()}},
		{insertCharged, []any{ids, requests, answers, untils}},
	}, nil
}
