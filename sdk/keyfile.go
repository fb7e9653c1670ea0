package sdk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// maxKeyFile is the size of a key file, in bytes: a set, and what we say about it.
const maxKeyFile = maxKeySet + 4<<10

// keyFile is the copy on disk of the last good key set. It is a convenience:
// whatever is wrong with it is told and fails nothing.
//
// Its first line is the SHA-256 of the rest, in hex; the second says about the set
// what keyFileHead says; what follows is the set, byte for byte as the issuer sent
// it. The sum is against accidents. Against malice there is the file's owner: what
// the file says is believed like what the issuer says.
type keyFile struct {
	path, url string
	tell      func(error)

	read  func(path string) ([]byte, error)
	write func(path string, text []byte) error

	mu      sync.Mutex
	last    storedSet // the one written last, or to be written next
	dirty   bool      // last is to be written
	failed  bool      // the last one written was not
	writing bool      // flush runs
}

// storedSet is a key set as it came, with the bounds of its use.
type storedSet struct {
	body    []byte
	fetched time.Time
	maxAge  time.Duration // clamped
}

type keyFileHead struct {
	URL     string `json:"jwks_url"`
	Fetched int64  `json:"fetched"` // Unix seconds
	MaxAge  int64  `json:"max_age"` // seconds
}

func newKeyFile(path, url string, tell func(error)) *keyFile {
	return &keyFile{path: path, url: url, tell: tell, read: readOwnFile, write: writeOwnFile}
}

func (f *keyFile) complain(doing string, err error) {
	if err != nil && f.tell != nil {
		f.tell(fmt.Errorf("sdk: %s the key set file: %w", doing, err))
	}
}

// save writes in the background a set that was just fetched; a nil body is that of
// the last one. To fetch often is not to write often: a file that says nearly the
// same, and not for longer, is left alone.
func (f *keyFile) save(set storedSet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	same := set.body == nil || bytes.Equal(set.body, f.last.body)
	gained := set.fetched.Add(set.maxAge).Sub(f.last.fetched.Add(f.last.maxAge))
	if same && 0 <= gained && gained < set.maxAge/2 && !f.failed {
		return
	}
	if set.body == nil {
		set.body = f.last.body
	}
	f.last, f.dirty = set, true
	if !f.writing {
		f.writing = true
		go f.flush()
	}
}

// flush writes until nothing is left to be written. There is one at a time, so
// that a slow disk never holds more than one, nor puts an older set over a newer.
func (f *keyFile) flush() {
	for set, more := f.next(); more; set, more = f.next() {
		err := f.write(f.path, f.encode(set))
		f.mu.Lock()
		f.failed = err != nil
		f.mu.Unlock()
		f.complain("writing", err)
	}
}

func (f *keyFile) next() (set storedSet, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writing, f.dirty = f.dirty, false
	return f.last, f.writing
}

func (f *keyFile) encode(set storedSet) []byte {
	head, err := json.Marshal(keyFileHead{f.url, set.fetched.Unix(), int64(set.maxAge / time.Second)})
	if err != nil {
		panic(err) // a string and two numbers
	}
	rest := append(append(head, '\n'), set.body...)
	sum := sha256.Sum256(rest)
	return append(append(hex.AppendEncode(nil, sum[:]), '\n'), rest...)
}

var (
	errKeyFile       = errors.New("not as it was written")
	errKeyFileURL    = errors.New("of another issuer")
	errKeyFileFuture = errors.New("dated in the future")
	errKeyFileAge    = errors.New("too old")
)

// decode reads what encode wrote, and the keys in it. Its caller looks at the age.
func (f *keyFile) decode(text string) (storedSet, map[string]*publicKey, error) {
	sum, rest, _ := strings.Cut(text, "\n")
	if want := sha256.Sum256([]byte(rest)); sum != hex.EncodeToString(want[:]) {
		return storedSet{}, nil, errKeyFile
	}
	line, body, _ := strings.Cut(rest, "\n")
	var head keyFileHead
	var r jsonReader
	r.read(line)
	for r.open('{'); r.more('}'); {
		switch r.name() {
		case "jwks_url":
			head.URL = r.text()
		case "fetched":
			head.Fetched = r.integer()
		case "max_age":
			head.MaxAge = r.integer()
		default:
			r.skip()
		}
	}
	if r.end() != nil || head.MaxAge < 0 || head.MaxAge > int64(longestMaxAge/time.Second) {
		return storedSet{}, nil, errKeyFile
	}
	if head.URL != f.url {
		return storedSet{}, nil, errKeyFileURL
	}
	keys, err := readKeySet([]byte(body))
	set := storedSet{[]byte(body), time.Unix(head.Fetched, 0), time.Duration(head.MaxAge) * time.Second}
	return set, keys, err
}

// load returns the set in the file, if it may still be used maxStale after its
// max-age. The clock is read once the file was: that may have taken long.
func (f *keyFile) load(now func() time.Time, maxStale time.Duration) (storedSet, map[string]*publicKey, error) {
	text, err := f.read(f.path)
	if err != nil {
		return storedSet{}, nil, err
	}
	set, keys, err := f.decode(string(text))
	if err != nil {
		return storedSet{}, nil, err
	}
	switch now := now(); {
	case set.fetched.After(now):
		return storedSet{}, nil, errKeyFileFuture
	case !now.Before(set.fetched.Add(set.maxAge + maxStale)):
		return storedSet{}, nil, errKeyFileAge
	}
	return set, keys, nil
}

// readOwnFile reads a file that nobody but us may have written. It opens no pipe,
// which might hang, and follows no symbolic link.
func readOwnFile(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || !isOurs(info) {
		return nil, errors.New("others may have written it")
	}
	return readAtMost(file, maxKeyFile)
}

// writeOwnFile replaces the file at path by another, so that whoever reads it
// finds one of the two, even after a power cut.
func writeOwnFile(path string, text []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(text)
	if err == nil {
		err = temp.Sync()
	}
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(temp.Name()))
	}
	return err
}
