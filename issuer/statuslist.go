package issuer

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

// StatusListSize is how many entries a new list has (Token Status List §13).
const StatusListSize = 1 << 17

// Values of a statusList take two bits each.
const (
	statusBits      = 2
	perByte         = 8 / statusBits
	maxStatusIndex  = 1<<24 - 1 // a checker of ours unpacks 4 MiB
	allInvalid      = wire.StatusInvalid * 0b01_01_01_01
	statusListTTL   = 3 * time.Second
	statusListLife  = 10 * time.Minute
	statusListRenew = statusListLife / 2
)

// StatusStore is what StatusLists need from a database.
type StatusStore interface {
	// StatusChanges passes to change, in no order, all that has a revision above
	// after, as it is at one moment. It returns the revision and the time of that
	// moment: what is committed later has a higher revision. It may begin anew, and
	// so pass the same again; an error of change ends it.
	StatusChanges(ctx context.Context, after int64, change func(StatusChange) error) (revision int64, now time.Time, err error)
}

// StatusChange is a list that is new or of another generation, or an entry of
// another value.
type StatusChange struct {
	List     int64 // its number, which is the revision that opened it
	Revision int64

	Size       int64 // of a list: its entries; zero: this is an entry
	Generation int64 // of a list: tokens that refer to an earlier one are void

	Index int64
	Value uint8
}

// StatusRef is where the status of a token is: an entry of a list, while the list
// is of this generation.
type StatusRef struct{ List, Index, Generation int64 }

// statusName is a list of some generation, each of which has a URI of its own.
type statusName struct{ list, generation int64 }

func (n statusName) String() string { return string(n.appendTo(nil)) }

func (n statusName) appendTo(b []byte) []byte {
	b = append(strconv.AppendInt(b, n.list, 10), '.')
	return strconv.AppendInt(b, n.generation, 10)
}

// uri is made for every token that is issued.
func (n statusName) uri(iss string) string {
	var room [maxURL + 64]byte // on the stack
	b := append(append(room[:0], iss...), wire.PathStatusLists+"/"...)
	return string(n.appendTo(b))
}

// parseStatusName accepts no other spelling than that of String.
func parseStatusName(text string) (n statusName, ok bool) {
	list, generation, _ := strings.Cut(text, ".")
	n.list, _ = strconv.ParseInt(list, 10, 64)
	n.generation, _ = strconv.ParseInt(generation, 10, 64)
	return n, n.list > 0 && n.generation >= 0 && n.String() == text
}

// statusList is a list as the store had it at some revision. It does not change
// once it is among StatusLists.lists.
type statusList struct {
	generation int64
	voided     int64 // the revision that began the generation; zero: the first
	version    int64 // the newest revision of anything in it
	values     []byte
}

// clone returns a copy that may be changed, also of nil, which is a list that is
// not known yet.
func (l *statusList) clone() *statusList {
	if l == nil {
		return &statusList{}
	}
	changed := *l
	changed.values = slices.Clone(l.values)
	return &changed
}

// apply takes changes in any order.
func (l *statusList) apply(c StatusChange) error {
	if c.Index < 0 || max(c.Index, c.Size-1) > maxStatusIndex || c.Value > 3 {
		return fmt.Errorf("status list %d: %+v cannot be", c.List, c)
	}
	l.version = max(l.version, c.Revision, c.List)
	if c.Size > 0 {
		l.generation, l.voided = c.Generation, c.Revision
		l.holds(c.Size)
		return nil
	}
	l.holds(c.Index + 1)
	shift := c.Index % perByte * statusBits
	at := &l.values[c.Index/perByte]
	*at = *at&^(3<<shift) | c.Value<<shift
	return nil
}

// holds makes room for n values.
func (l *statusList) holds(n int64) {
	if bytes := int(n+perByte-1) / perByte; bytes > len(l.values) {
		l.values = append(l.values, make([]byte, bytes-len(l.values))...)
	}
}

// of returns what l says of tokens of a generation, and the newest revision of
// that. Tokens of generations that are over are void for good.
func (l *statusList) of(generation int64) (values []byte, version int64) {
	if generation < l.generation {
		return bytes.Repeat([]byte{allInvalid}, len(l.values)), l.voided
	}
	return l.values, l.version
}

// packed is a list on the wire (Token Status List §4.1, §4.2).
func packed(values []byte) (wire.StatusList, error) {
	var zipped bytes.Buffer
	w, err := zlib.NewWriterLevel(&zipped, zlib.BestCompression)
	if err == nil {
		_, err = w.Write(values)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return wire.StatusList{}, fmt.Errorf("packing a status list: %w", err)
	}
	return wire.StatusList{Bits: statusBits, List: encode(zipped.Bytes())}, nil
}

// status is the claim that refers to an entry (Token Status List §6.1).
func (i *Issuer) status(ref StatusRef) (*wire.Status, error) {
	if ref.List < 1 || ref.Index < 0 || ref.Generation < 0 {
		return nil, errors.New("issuer: Grant.Status is required")
	}
	uri := statusName{ref.List, ref.Generation}.uri(i.iss)
	return &wire.Status{StatusList: wire.StatusReference{Index: ref.Index, URI: uri}}, nil
}

// signStatusList returns the token of a list (Token Status List §5.1).
func (i *Issuer) signStatusList(key *signer, name statusName, list wire.StatusList, version int64, keySet string, now time.Time) (string, error) {
	payload, err := marshal(wire.StatusListClaims{
		Issuer:    i.iss,
		Subject:   name.uri(i.iss),
		IssuedAt:  now.Unix(),
		ExpiresAt: now.Add(statusListLife).Unix(),
		TTL:       int64(statusListTTL / time.Second),
		Version:   version,
		KeySet:    keySet,
		List:      list,
	})
	if err != nil {
		return "", fmt.Errorf("encoding a status list: %w", err)
	}
	return key.sign(key.list, payload)
}
