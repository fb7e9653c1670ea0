package sdk

import (
	"crypto/sha256"

	lru "github.com/hashicorp/golang-lru/v2"
)

type digest [sha256.Size]byte

// digestOf hashes text of ordinary length on the stack.
func digestOf(text string) digest {
	var short [1 << 10]byte
	if len(text) > len(short) {
		return sha256.Sum256([]byte(text))
	}
	return sha256.Sum256(short[:copy(short[:], text)])
}

// seen remembers tokens that have been verified, by the SHA-256 of their text:
// no live token stays in memory, and no two tokens share an entry. It is cut into
// shards, since one lock would cost more than the look-up. Whether a remembered
// token is still good is asked at each hit, by the Checker.
type seen struct {
	shards []*lru.Cache[digest, *verified]
}

func newSeen(size int) (*seen, error) {
	n := 1
	for n < 64 && size/(2*n) >= 16 {
		n *= 2
	}
	s := &seen{shards: make([]*lru.Cache[digest, *verified], n)}
	for i := range s.shards {
		shard, err := lru.New[digest, *verified]((size + n - 1) / n)
		if err != nil {
			return nil, err
		}
		s.shards[i] = shard
	}
	return s, nil
}

// shard relies on the digest being as good as random, and their number a power
// of two.
func (s *seen) shard(d digest) *lru.Cache[digest, *verified] {
	return s.shards[int(d[0])&(len(s.shards)-1)]
}

func (s *seen) get(d digest) (*verified, bool) { return s.shard(d).Get(d) }
func (s *seen) add(d digest, v *verified)      { s.shard(d).Add(d, v) }
func (s *seen) remove(d digest)                { s.shard(d).Remove(d) }
