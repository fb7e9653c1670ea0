package issuer_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-auth/cambio/issuer"
)

// statuses is a store that may have accidents.
type statuses struct {
	mu       sync.Mutex
	revision int64
	lists    map[int64]issuer.StatusChange
	entries  map[[2]int64]issuer.StatusChange
	looks    int
	err      error         // of the next looks
	delay    time.Duration // of the next looks, or until their context ends
}

// StatusChanges implements issuer.StatusStore.
func (s *statuses) StatusChanges(ctx context.Context, after int64, change func(issuer.StatusChange) error) (int64, time.Time, error) {
	s.mu.Lock()
	s.looks++
	delay := s.delay
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-ctx.Done():
			return 0, time.Time{}, ctx.Err()
		case <-time.After(delay):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Concat(slices.Collect(maps.Values(s.entries)), slices.Collect(maps.Values(s.lists))) {
		if max(c.Revision, c.List*min(c.Size, 1)) <= after {
			continue
		}
		if err := change(c); err != nil {
			return 0, time.Time{}, err
		}
	}
	return s.revision, time.Now(), s.err
}

// open opens a list and returns its number.
func (s *statuses) open(size int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	if s.lists == nil {
		s.lists, s.entries = map[int64]issuer.StatusChange{}, map[[2]int64]issuer.StatusChange{}
	}
	s.lists[s.revision] = issuer.StatusChange{List: s.revision, Size: size}
	return s.revision
}

func (s *statuses) set(list, index int64, value uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	s.entries[[2]int64{list, index}] = issuer.StatusChange{List: list, Revision: s.revision, Index: index, Value: value}
}

// void begins a generation of a list.
func (s *statuses) void(list int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	l := s.lists[list]
	l.Generation++
	l.Revision = s.revision
	s.lists[list] = l
}

func (s *statuses) breaks(err error, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.delay = err, delay
}

func (s *statuses) lookedAt() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks
}

// published are the lists of a store, and the keys they are signed with.
type published struct {
	*issuer.StatusLists
	t    testing.TB
	ring *issuer.Keyring
}

func publish(t *testing.T, store issuer.StatusStore) published {
	t.Helper()
	return publishWith(t, newKeyring(t), store)
}

func publishWith(t *testing.T, ring *issuer.Keyring, store issuer.StatusStore) published {
	t.Helper()
	lists, err := issuer.OpenStatusLists(t.Context(), issuer.StatusListsConfig{Issuer: newIssuer(t, ring), Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return published{lists, t, ring}
}

// list is a status list as anybody reads it.
type list struct {
	version, iat, exp, ttl float64
	raw                    string
	values                 []byte
}

// at is the value at an index.
func (l list) at(index int64) byte { return l.values[index/4] >> (index % 4 * 2) & 3 }

func (p published) get(name string) list {
	p.t.Helper()
	signed, err := p.Token(context.Background(), name)
	if err != nil {
		p.t.Fatalf("list %s: %v", name, err)
	}
	header, claims := verified(p.t, p.ring, string(signed.Body))
	if header["typ"] != "statuslist+jwt" || len(header) != 3 || claims["iss"] != "https://keys.example.com" ||
		claims["sub"] != "https://keys.example.com/statuslists/"+name || len(claims) != 8 || claims["jwks_s256"] != strings.Trim(p.ring.JWKS().ETag, `"`) {
		p.t.Errorf("list %s: %v %v", name, header, claims)
	}
	body := claims["status_list"].(map[string]any)
	packed, err := base64.RawURLEncoding.DecodeString(body["lst"].(string))
	if err != nil || body["bits"] != 2.0 || len(body) != 2 {
		p.t.Fatalf("list %s: %v, %v", name, body, err)
	}
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		p.t.Fatal(err)
	}
	values, err := io.ReadAll(r)
	if err != nil {
		p.t.Fatal(err)
	}
	number := func(claim string) float64 { n, _ := claims[claim].(float64); return n }
	return list{number("version"), number("iat"), number("exp"), number("ttl"), string(signed.Body), values}
}

func (p published) want(name string, want error) {
	p.t.Helper()
	if _, err := p.Token(context.Background(), name); !errors.Is(err, want) {
		p.t.Errorf("list %s: %v, want %v", name, err, want)
	}
}

func TestAListSaysWhatIsInTheStore(t *testing.T) {
	const size = 300
	ring := newKeyring(t)
	rapid.Check(t, func(rt *rapid.T) {
		virtually(t, func(t *testing.T) {
			store := &statuses{}
			number := store.open(size)
			p := publishWith(t, ring, store)
			var want [size]byte
			generation, version := 0, 0.0
			for range rapid.IntRange(1, 8).Draw(rt, "looks") {
				changes := rapid.IntRange(0, 20).Draw(rt, "changes")
				for range changes {
					index, value := rapid.Int64Range(0, size-1).Draw(rt, "index"), rapid.Uint8Range(0, 3).Draw(rt, "value")
					store.set(number, index, value)
					want[index] = value
				}
				if rapid.IntRange(0, 5).Draw(rt, "void") == 0 {
					store.void(number)
					generation++
					changes++
				}
				time.Sleep(time.Second)
				now := p.get(fmt.Sprintf("%d.%d", number, generation))
				for index, value := range want {
					if got := now.at(int64(index)); got != value {
						rt.Fatalf("index %d is %d, want %d", index, got, value)
					}
				}
				if changes > 0 != (now.version > version) && version > 0 || now.version < version || len(now.values) != size/4 {
					rt.Fatalf("version %v after %v and %d changes; %d bytes", now.version, version, changes, len(now.values))
				}
				version = now.version
			}
		})
	})
}

func TestAListOfAGenerationThatIsOverIsInvalidForGood(t *testing.T) {
	virtually(t, func(t *testing.T) {
		store := &statuses{}
		number := store.open(8)
		name := func(generation int) string { return fmt.Sprintf("%d.%d", number, generation) }
		store.set(number, 3, 2)
		p := publish(t, store)
		before := p.get(name(0))
		p.want(name(1), issuer.ErrNoStatusList)
		store.void(number)
		time.Sleep(time.Second)
		over, now := p.get(name(0)), p.get(name(1))
		for index := range int64(8) {
			if over.at(index) != 1 || now.at(index) != before.at(index) {
				t.Errorf("index %d is %d, and %d in the next generation, was %d", index, over.at(index), now.at(index), before.at(index))
			}
		}
		if over.version <= before.version || over.raw == before.raw {
			t.Errorf("version %v after %v", over.version, before.version)
		}
		store.set(number, 4, 1)
		store.void(number)
		time.Sleep(time.Second)
		if later := p.get(name(0)); later.version < over.version || later.at(4) != 1 || later.at(5) != 1 {
			t.Errorf("version %v after %v", later.version, over.version)
		}
		p.want(name(3), issuer.ErrNoStatusList)
	})
}

func TestAListIsSignedWhenItHasChangedAndBeforeItExpires(t *testing.T) {
	virtually(t, func(t *testing.T) {
		store := &statuses{}
		number, other := store.open(100), store.open(100)
		name := strconv.FormatInt(number, 10) + ".0"
		p := publish(t, store)
		first := p.get(name)
		if first.iat != float64(time.Now().Unix()) || first.exp != first.iat+600 || first.ttl != 3 {
			t.Errorf("iat %v, exp %v, ttl %v", first.iat, first.exp, first.ttl)
		}
		store.set(other, 5, 1)
		time.Sleep(4 * time.Minute)
		if p.get(name).raw != first.raw {
			t.Error("signed again for another list")
		}
		store.set(number, 5, 1)
		time.Sleep(time.Second)
		second := p.get(name)
		if second.raw == first.raw || second.version <= first.version {
			t.Error("not signed again after a change")
		}
		for range 8 {
			time.Sleep(4 * time.Minute)
			if got := p.get(name); time.Until(time.Unix(int64(got.exp), 0)) < 5*time.Minute || got.version != second.version {
				t.Errorf("expires at %v, at %v; version %v", got.exp, time.Now().Unix(), got.version)
			}
		}
		if time.Sleep(299 * time.Second); p.get(name).raw == second.raw {
			t.Error("never signed again")
		}
	})
}

func TestOneCallerSigns(t *testing.T) {
	store := &statuses{}
	number := store.open(1 << 17)
	p := publish(t, store)
	var callers sync.WaitGroup
	var bodies [20][]byte
	for i := range bodies {
		callers.Go(func() {
			signed, err := p.Token(t.Context(), strconv.FormatInt(number, 10)+".0")
			if err != nil {
				t.Error(err)
			}
			bodies[i] = signed.Body
		})
	}
	callers.Wait()
	for _, body := range bodies {
		if &body[0] != &bodies[0][0] {
			t.Error("signed twice")
		}
	}
}
