package sqlite

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// stamp writes a time as nanoseconds since 1970, and the zero time as NULL. It
// fails for a time that 64 bits cannot hold, before 1677 or after 2262.
type stamp time.Time

var (
	firstStamp = time.Unix(0, math.MinInt64)
	lastStamp  = time.Unix(0, math.MaxInt64)
)

// Value implements driver.Valuer.
func (s stamp) Value() (driver.Value, error) {
	t := time.Time(s)
	if t.IsZero() {
		return nil, nil
	}
	if t.Before(firstStamp) || t.After(lastStamp) {
		return nil, fmt.Errorf("time %s is not between 1678 and 2262", t.Format(time.RFC3339))
	}
	return t.UnixNano(), nil
}

// stampTo reads what stamp wrote, as UTC.
type stampTo struct{ t *time.Time }

// Scan implements sql.Scanner.
func (s stampTo) Scan(src any) error {
	switch n := src.(type) {
	case nil:
		*s.t = time.Time{}
	case int64:
		*s.t = time.Unix(0, n).UTC()
	default:
		return fmt.Errorf("time stored as %T", src)
	}
	return nil
}

// jsonOf writes a list or a map as JSON, and nil as NULL. It fails for strings
// that JSON would change, which are those that are not UTF-8.
type jsonOf struct{ v any }

var errNotText = errors.New("not valid UTF-8")

// Value implements driver.Valuer.
func (j jsonOf) Value() (driver.Value, error) {
	text, err := json.Marshal(j.v)
	if err != nil {
		return nil, err
	}
	if string(text) == "null" {
		return nil, nil
	}
	back := reflect.New(reflect.TypeOf(j.v))
	if err := json.Unmarshal(text, back.Interface()); err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(back.Elem().Interface(), j.v) {
		return nil, errNotText
	}
	return string(text), nil
}

// jsonTo reads what jsonOf wrote into the list or map that v points to.
type jsonTo struct{ v any }

// Scan implements sql.Scanner.
func (j jsonTo) Scan(src any) error {
	switch text := src.(type) {
	case nil:
		return nil
	case string:
		return json.Unmarshal([]byte(text), j.v)
	}
	return fmt.Errorf("JSON stored as %T", src)
}

// rawOf writes JSON as it is, byte for byte, and nil as NULL.
type rawOf json.RawMessage

// Value implements driver.Valuer.
func (r rawOf) Value() (driver.Value, error) {
	if r == nil {
		return nil, nil
	}
	return string(r), nil
}

// rawTo reads what rawOf wrote.
type rawTo struct{ raw *json.RawMessage }

// Scan implements sql.Scanner.
func (r rawTo) Scan(src any) error {
	switch text := src.(type) {
	case nil:
		*r.raw = nil
	case string:
		*r.raw = json.RawMessage(text)
	default:
		return fmt.Errorf("JSON stored as %T", src)
	}
	return nil
}

// hashTo reads as many bytes as it has, which are those of a hash.
type hashTo []byte

// Scan implements sql.Scanner.
func (h hashTo) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || len(b) != len(h) {
		return fmt.Errorf("hash stored as %T", src)
	}
	copy(h, b)
	return nil
}

// intervalOf writes a refill's interval as text, and the zero interval as NULL.
// It fails for one that could not be read again, which is one below a second.
type intervalOf verifier.Interval

// Value implements driver.Valuer.
func (i intervalOf) Value() (driver.Value, error) {
	interval := verifier.Interval(i)
	if interval == (verifier.Interval{}) {
		return nil, nil
	}
	back, err := verifier.ParseInterval(interval.String())
	if err != nil {
		return nil, err
	}
	if back != interval {
		return nil, fmt.Errorf("interval %s reads as %s", interval, back)
	}
	return interval.String(), nil
}

// intervalTo reads what intervalOf wrote.
type intervalTo struct{ i *verifier.Interval }

// Scan implements sql.Scanner.
func (i intervalTo) Scan(src any) (err error) {
	switch text := src.(type) {
	case nil:
		*i.i = verifier.Interval{}
	case string:
		*i.i, err = verifier.ParseInterval(text)
	default:
		err = fmt.Errorf("interval stored as %T", src)
	}
	return err
}
