package sdk

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

const (
	maxStatuses = 4 << 20 // bytes of a list, unpacked
	minTTL      = time.Second
	maxTTL      = time.Hour
)

var (
	errRevoked   = refused("revoked")
	errSuspended = refused("suspended")
	errNoStatus  = refused("has no status in its list")

	errStatusList = errors.New("not a usable status list")
)

// statusList is a Token Status List as it was fetched, verified and unpacked. It
// does not change.
type statusList struct {
	bits      int
	statuses  []byte
	version   int64
	expiresAt int64 // seconds since 1970
	ttl       time.Duration
	keySet    string // which the issuer publishes: base64url of its SHA-256; "": not told

	key  *publicKey // that signed it
	etag string
	asOf time.Time // when it was asked for
}

// judge fails unless the status at index is valid (Token Status List §7.1, §8.3).
func (l *statusList) judge(index int64) error {
	perByte := int64(8 / l.bits)
	if index < 0 || index/perByte >= int64(len(l.statuses)) {
		return errNoStatus
	}
	shift := int(index%perByte) * l.bits
	switch l.statuses[index/perByte] >> shift & (1<<l.bits - 1) {
	case wire.StatusValid:
		return nil
	case wire.StatusInvalid:
		return errRevoked
	case wire.StatusSuspended:
		return errSuspended
	}
	return errNoStatus
}

// readStatusList reads the payload of the status list at uri (§5.1). Who signed
// it, and whether it is in time, is for the caller to know.
func readStatusList(payload, issuer, uri string) (*statusList, error) {
	var (
		l                statusList
		iss, sub, packed string
		ttl              int64
	)
	var r jsonReader
	r.read(payload)
	for r.open('{'); r.more('}'); {
		switch r.name() {
		case "iss":
			iss = r.text()
		case "sub":
			sub = r.text()
		case "exp":
			l.expiresAt = r.integer()
		case "ttl":
			ttl = r.integer()
		case "version":
			l.version = r.integer()
		case "jwks_s256":
			l.keySet = r.text()
		case "status_list":
			l.bits, packed = readPacked(&r)
		default:
			r.skip()
		}
	}
	switch {
	case r.end() != nil, iss != issuer, sub != uri, l.expiresAt <= 0, ttl <= 0:
		return nil, errStatusList
	case l.bits != 1 && l.bits != 2 && l.bits != 4 && l.bits != 8:
		return nil, errStatusList
	}
	l.ttl = min(max(time.Duration(min(ttl, int64(maxTTL/time.Second)))*time.Second, minTTL), maxTTL)
	var err error
	l.statuses, err = unpack(packed)
	return &l, err
}

func readPacked(r *jsonReader) (bits int, packed string) {
	for r.open('{'); r.more('}'); {
		switch r.name() {
		case "bits":
			bits = int(r.integer())
		case "lst":
			packed = r.text()
		default:
			r.skip()
		}
	}
	return bits, packed
}

// unpack undoes base64url and zlib (§4.1), whatever that grows to bounded.
func unpack(packed string) ([]byte, error) {
	compressed, ok := decode(nil, []byte(packed))
	if !ok {
		return nil, errStatusList
	}
	unzip, err := zlib.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, errStatusList
	}
	statuses, err := io.ReadAll(io.LimitReader(unzip, maxStatuses+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStatusList, err)
	}
	if len(statuses) > maxStatuses {
		return nil, fmt.Errorf("%w: over %d bytes", errStatusList, maxStatuses)
	}
	return statuses, nil
}
