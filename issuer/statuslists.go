package issuer

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

// How well a server follows the statuses in its store.
const (
	statusFresh    = 250 * time.Millisecond // a list that is handed out is not older
	statusBearable = time.Second            // unless the store does not answer; then not older than this
	statusPause    = 50 * time.Millisecond  // from the beginning of one look at the store to the next
	statusTimeout  = 5 * time.Second        // of a look
	statusPatience = time.Second            // with a look
	statusKept     = 4096                   // lists kept signed, beside one for each that there is
)

// StatusDelay is how soon a change of status has reached every checker that keeps
// to the ttl, unless it cannot reach us: what was just said, a second in a shared
// cache, the ttl, and the time that asking takes.
const StatusDelay = 5 * time.Second

var (
	// ErrNoStatusList is returned for a list that does not exist.
	ErrNoStatusList = errors.New("there is no such status list")

	// ErrStatusesUnknown is returned while the store does not answer: what was last
	// known of statuses is too old to be said.
	ErrStatusesUnknown = errors.New("the statuses are not known")
)

// StatusListsConfig opens StatusLists. All fields are required.
type StatusListsConfig struct {
	Issuer *Issuer
	Store  StatusStore
}

// StatusLists publishes the status of every token that an Issuer has signed, as
// Token Status Lists (draft-ietf-oauth-status-list).
//
// # Why they are in memory
//
// A change is rare and checkers ask every few seconds, so a server keeps all lists
// packed, 32 KiB each, and asks its store only for what has changed since it last
// asked: when it is asked itself, at most every 250 ms. A token is signed when its
// list has changed, and again before it expires.
type StatusLists struct {
	issuer *Issuer
	store  StatusStore

	mu        sync.Mutex
	lists     map[int64]*statusList // by number
	revision  int64
	now       time.Time // of revision, by the database's clock
	asOf      time.Time // of revision, by ours, at the latest
	flight    *look     // under way; nil: none
	looked    time.Time // when the last look began
	published map[statusName]*publication
	over      map[int]wire.StatusList // of generations that are over, packed, by the length of the values
}

// look asks the store for changes, for all who wait for it.
type look struct {
	done chan struct{}
	err  error // readable after done
}

// SignedStatusList is the token of a list (Token Status List §5.1).
type SignedStatusList struct {
	Body []byte // compact JWS
	ETag string // strong (RFC 9110 §8.8.3), quotes included
	Gzip []byte // the same, compressed; nil where that would save little
}

// compressed undoes what base64url adds to a list that is long.
func compressed(token []byte) []byte {
	const worth = 256         // bytes
	if len(token) < 4*worth { // a quarter is what there is to save
		return nil
	}
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(token)
	if err = errors.Join(err, w.Close()); err != nil || buf.Len()+worth > len(token) {
		return nil
	}
	return buf.Bytes()
}

// publication is one URI. The token behind it is signed by one caller at a time,
// and so once.
type publication struct {
	mu      sync.Mutex
	signed  SignedStatusList
	version int64
	kid     string
	keySet  string
	at      time.Time // by the database's clock
}

// OpenStatusLists reads all statuses that are in the store.
func OpenStatusLists(ctx context.Context, cfg StatusListsConfig) (*StatusLists, error) {
	if cfg.Issuer == nil || cfg.Store == nil {
		return nil, errors.New("issuer: StatusListsConfig.Issuer and StatusListsConfig.Store are required")
	}
	l := &StatusLists{
		issuer: cfg.Issuer, store: cfg.Store,
		lists: map[int64]*statusList{}, published: map[statusName]*publication{}, over: map[int]wire.StatusList{},
	}
	if err := l.read(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// Token returns the list that a URI ends with, signed. It fails with
// ErrNoStatusList; with ErrStatusesUnknown; or with ErrNoSigningKey.
func (l *StatusLists) Token(ctx context.Context, name string) (SignedStatusList, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	wanted, ok := parseStatusName(name)
	if !ok {
		return SignedStatusList{}, ErrNoStatusList
	}
	if err := l.follow(ctx); err != nil {
		return SignedStatusList{}, err
	}
	if !l.exists(wanted) { // but it may do by now
		if err := l.refresh(ctx, time.Now()); err != nil {
			return SignedStatusList{}, err
		}
		if !l.exists(wanted) {
			return SignedStatusList{}, ErrNoStatusList
		}
	}
	return l.publish(wanted)
}

// URIs returns where the lists are that tokens of now refer to (Token Status List
// §9.3). It fails with ErrStatusesUnknown.
func (l *StatusLists) URIs(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	if err := l.follow(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	uris := make([]string, 0, len(l.lists))
	for _, number := range slices.Sorted(maps.Keys(l.lists)) {
		uris = append(uris, statusName{number, l.lists[number].generation}.uri(l.issuer.iss))
	}
	return uris, nil
}

func (l *StatusLists) exists(name statusName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.lists[name.list]
	return list != nil && name.generation <= list.generation
}

// publish signs what is not signed yet. The list is there: lists are never closed.
func (l *StatusLists) publish(name statusName) (SignedStatusList, error) {
	l.mu.Lock()
	p := l.published[name]
	if p == nil {
		// After a restore there are more generations that are over than anybody can keep.
		if len(l.published) >= statusKept+len(l.lists) {
			clear(l.published)
		}
		p = &publication{}
		l.published[name] = p
	}
	l.mu.Unlock()

	p.mu.Lock()
	defer p.mu.Unlock()
	l.mu.Lock()
	list, now := l.lists[name.list], l.now
	l.mu.Unlock()
	key, err := l.issuer.keys.active("", l.issuer.keys.now())
	if err != nil {
		return SignedStatusList{}, err
	}
	values, version := list.of(name.generation)
	keySet := l.issuer.keys.JWKS().digest()
	if age := now.Sub(p.at); p.version == version && p.kid == key.kid && p.keySet == keySet && age >= 0 && age < statusListRenew {
		return p.signed, nil
	}
	packed, err := l.packed(values, name.generation < list.generation)
	if err != nil {
		return SignedStatusList{}, err
	}
	token, err := l.issuer.signStatusList(key, name, packed, version, keySet, now)
	if err != nil {
		return SignedStatusList{}, err
	}
	sum := sha256.Sum256([]byte(token))
	p.signed = SignedStatusList{[]byte(token), `"` + encode(sum[:]) + `"`, compressed([]byte(token))}
	p.version, p.kid, p.keySet, p.at = version, key.kid, keySet, now
	return p.signed, nil
}

// packed packs values. Those of generations that are over are all alike, and anybody
// may ask for as many as there are numbers, so they are packed once.
func (l *StatusLists) packed(values []byte, over bool) (wire.StatusList, error) {
	if !over {
		return packed(values)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if list, ok := l.over[len(values)]; ok {
		return list, nil
	}
	list, err := packed(values)
	if err == nil {
		l.over[len(values)] = list
	}
	return list, err
}

// follow fails unless what is known is young enough to be said.
func (l *StatusLists) follow(ctx context.Context) error {
	err := l.refresh(ctx, time.Now().Add(-statusFresh))
	if err == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.asOf) <= statusBearable {
		return nil
	}
	return err
}

// refresh returns when the store was looked at, later than since.
func (l *StatusLists) refresh(ctx context.Context, since time.Time) error {
	for {
		flight := l.takeOff(since)
		if flight == nil {
			return nil
		}
		select {
		case <-flight.done:
			if flight.err != nil {
				return fmt.Errorf("%w: %w", ErrStatusesUnknown, flight.err)
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrStatusesUnknown, ctx.Err())
		}
	}
}

// takeOff returns the look under way, or begins one; nil if it is not needed.
func (l *StatusLists) takeOff(since time.Time) *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asOf.After(since) {
		return nil
	}
	if l.flight == nil {
		l.flight = &look{done: make(chan struct{})}
		go l.fly(l.flight, statusPause-time.Since(l.looked))
	}
	return l.flight
}

// fly ends in its own time, whoever waits.
func (l *StatusLists) fly(flight *look, pause time.Duration) {
	time.Sleep(pause)
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	flight.err = l.read(ctx)
	l.mu.Lock()
	l.flight = nil
	l.mu.Unlock()
	close(flight.done)
}

// read asks the store for what has changed, and takes over all of it or nothing.
// There is one at a time.
func (l *StatusLists) read(ctx context.Context) error {
	began := time.Now()
	l.mu.Lock()
	l.looked = began
	after := l.revision
	l.mu.Unlock()

	changed := map[int64]*statusList{}
	revision, now, err := l.store.StatusChanges(ctx, after, func(c StatusChange) error {
		list := changed[c.List]
		if list == nil {
			list = l.lists[c.List].clone() // nobody else writes the map
			changed[c.List] = list
		}
		return list.apply(c)
	})
	if err != nil {
		return fmt.Errorf("reading statuses: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(l.lists, changed)
	l.revision, l.now, l.asOf = revision, now, began
	return nil
}
