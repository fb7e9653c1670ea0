package sdktest

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

// statuses is the one status list of an Issuer. Issuer.mu guards it.
type statuses struct {
	ttl     time.Duration // zero: tokens have no status
	values  []byte        // one per index
	ofKey   map[string]int64
	version int64
	fetches int
}

// minListBytes is the size of the list, four statuses to a byte.
const minListBytes = 16 << 10

const pathStatusList = wire.PathStatusLists + "/1"

// TrackStatus gives every token minted from now on a status, valid, in a Token
// Status List that may be relied on for ttl, which is whole seconds. The tokens of
// a key share theirs.
func (i *Issuer) TrackStatus(ttl time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status.ttl = ttl
}

// Revoke sets the status of a key, or of a token, to invalid.
func (i *Issuer) Revoke(keyOrToken string) { i.setStatus(keyOrToken, wire.StatusInvalid) }

// Suspend sets the status of a key, or of a token, to suspended.
func (i *Issuer) Suspend(keyOrToken string) { i.setStatus(keyOrToken, wire.StatusSuspended) }

// Restore sets the status of a key, or of a token, to valid.
func (i *Issuer) Restore(keyOrToken string) { i.setStatus(keyOrToken, wire.StatusValid) }

// Void calls back the tokens that a key was exchanged for so far. Its next ones have
// another entry in the list.
func (i *Issuer) Void(key string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status.values[i.indexOfKey(key)] = wire.StatusInvalid
	i.status.version++
	delete(i.status.ofKey, key)
}

// StatusFetches is how often the status list was asked for, while down included.
func (i *Issuer) StatusFetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.status.fetches
}

func (i *Issuer) setStatus(keyOrToken string, value byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var index int64
	if i.keys[keyOrToken] != nil {
		index = i.indexOfKey(keyOrToken)
	} else {
		index = indexOfToken(keyOrToken)
	}
	i.status.values[index] = value
	i.status.version++
}

// indexOfKey is called with mu held.
func (i *Issuer) indexOfKey(key string) int64 {
	index, ok := i.status.ofKey[key]
	if !ok {
		index = i.newIndex()
		if i.status.ofKey == nil {
			i.status.ofKey = map[string]int64{}
		}
		i.status.ofKey[key] = index
	}
	return index
}

// newIndex is called with mu held.
func (i *Issuer) newIndex() int64 {
	i.status.values = append(i.status.values, wire.StatusValid)
	return int64(len(i.status.values) - 1)
}

func indexOfToken(token string) int64 {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var claims wire.Claims
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(payload)), &claims); err != nil || claims.Status == nil {
		panic("sdktest: neither a key of this issuer nor a token with a status")
	}
	return claims.Status.StatusList.Index
}

// statusClaim is the status of a token of key, or of one that has no key.
func (i *Issuer) statusClaim(key string) *wire.Status {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.status.ttl == 0 {
		return nil
	}
	reference := wire.StatusReference{URI: i.URL() + pathStatusList}
	if key == "" {
		reference.Index = i.newIndex()
	} else {
		reference.Index = i.indexOfKey(key)
	}
	return &wire.Status{StatusList: reference}
}

// StatusList is the status list token as published.
func (i *Issuer) StatusList() string {
	list, _ := i.statusList()
	return list
}

func (i *Issuer) statusList() (token, etag string) {
	now, s, set := i.Now(), i.signer(), sha256.Sum256(i.KeySet())
	i.mu.Lock()
	packed := make([]byte, max(minListBytes, len(i.status.values)/2)) // with room for tokens to come
	for index, value := range i.status.values {
		packed[index/4] |= value << (index % 4 * 2)
	}
	claims := wire.StatusListClaims{
		Issuer: i.URL(), Subject: i.URL() + pathStatusList, IssuedAt: now.Unix(), ExpiresAt: now.Add(time.Hour).Unix(),
		TTL: int64(i.status.ttl / time.Second), Version: i.status.version, KeySet: base64.RawURLEncoding.EncodeToString(set[:]),
	}
	etag = fmt.Sprintf(`"%d-%d-%x"`, i.status.version, len(packed), set)
	i.mu.Unlock()

	var zipped bytes.Buffer
	zip := zlib.NewWriter(&zipped)
	_ = must(zip.Write(packed))
	if err := zip.Close(); err != nil {
		panic(fmt.Sprintf("sdktest: %v", err))
	}
	claims.List = wire.StatusList{Bits: 2, List: base64.RawURLEncoding.EncodeToString(zipped.Bytes())}
	header := s.header()
	header["typ"] = wire.TypStatusList
	return s.signBytes(must(json.Marshal(header)), must(json.Marshal(claims))), etag
}

func (i *Issuer) serveStatusList(w http.ResponseWriter, r *http.Request) {
	token, etag := i.statusList()
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", wire.MediaStatusList)
	_, _ = w.Write([]byte(token)) // the client is gone: nobody to tell
}
