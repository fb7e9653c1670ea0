package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/verifier"
)

var (
	firstStamp = time.Unix(0, math.MinInt64)
	lastStamp  = time.Unix(0, math.MaxInt64)
)

// stamp is a time as nanoseconds since 1970, and nil for the zero time. It fails
// for a time that 64 bits cannot hold, before 1677 or after 2262.
func stamp(t time.Time) (*int64, error) {
	if t.IsZero() {
		return nil, nil
	}
	if t.Before(firstStamp) || t.After(lastStamp) {
		return nil, fmt.Errorf("time %s is not between 1678 and 2262", t.Format(time.RFC3339))
	}
	n := t.UnixNano()
	return &n, nil
}

// stamps are the stamps of several times.
func stamps(times ...time.Time) ([]*int64, error) {
	all := make([]*int64, len(times))
	for i, t := range times {
		n, err := stamp(t)
		if err != nil {
			return nil, err
		}
		all[i] = n
	}
	return all, nil
}

// stamped reads what stamp wrote, as UTC.
func stamped(n pgtype.Int8) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.Unix(0, n.Int64).UTC()
}

// A refill's interval is text, and the zero interval NULL. intervalText fails for
// one that could not be read again, which is one below a second.
func intervalText(i verifier.Interval) (*string, error) {
	if i == (verifier.Interval{}) {
		return nil, nil
	}
	text := i.String()
	back, err := verifier.ParseInterval(text)
	if err != nil {
		return nil, err
	}
	if back != i {
		return nil, fmt.Errorf("interval %s reads as %s", i, back)
	}
	return &text, nil
}

func parseInterval(text pgtype.Text) (verifier.Interval, error) {
	if !text.Valid {
		return verifier.Interval{}, nil
	}
	return verifier.ParseInterval(text.String)
}

var errNotText = errors.New("not valid UTF-8")

// permissionsText is JSON, and nil for nil. It fails for strings that JSON would
// change, which are those that are not UTF-8.
func permissionsText(p verifier.Permissions) (*string, error) {
	if p == nil {
		return nil, nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	var back verifier.Permissions
	if err := json.Unmarshal(text, &back); err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(back, p) {
		return nil, errNotText
	}
	s := string(text)
	return &s, nil
}

func parsePermissions(text []byte) (p verifier.Permissions, err error) {
	if text == nil {
		return nil, nil
	}
	return p, json.Unmarshal(text, &p)
}

// rawText is JSON as it is, byte for byte.
func rawText(raw json.RawMessage) *string {
	if raw == nil {
		return nil
	}
	s := string(raw)
	return &s
}

var arrayEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// arrayText is a list as PostgreSQL reads a text[], and nil for nil.
func arrayText(list []string) *string {
	if list == nil {
		return nil
	}
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = `"` + arrayEscapes.Replace(s) + `"`
	}
	text := "{" + strings.Join(quoted, ",") + "}"
	return &text
}

func digestOf(b []byte) (d verifier.Digest, err error) {
	if len(b) != len(d) {
		return d, fmt.Errorf("digest of %d bytes", len(b))
	}
	return verifier.Digest(b), nil
}

// bytesOf are digests as parameters.
func bytesOf[D ~[32]byte](digests []D) [][]byte {
	out := make([][]byte, len(digests))
	for i := range digests {
		out[i] = digests[i][:]
	}
	return out
}
