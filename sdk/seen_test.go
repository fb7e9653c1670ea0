package sdk

import (
	"encoding/binary"
	"strings"
	"testing"
)

func TestRememberedTokensAreBoundedInNumber(t *testing.T) {
	for _, size := range []int{1, 31, 32, 1000, 8192} {
		s, err := newSeen(size)
		if err != nil {
			t.Fatal(err)
		}
		held := func() (n int) {
			for _, shard := range s.shards {
				n += shard.Len()
			}
			return n
		}
		var text [8]byte
		for i := range 20 * size {
			binary.BigEndian.PutUint64(text[:], uint64(i))
			s.add(digestOf(string(text[:])), &verified{})
		}
		if n := held(); n < size || n >= size+len(s.shards) {
			t.Errorf("%d tokens held, at most %d wanted", n, size)
		}
		last := digestOf(string(text[:]))
		if _, ok := s.get(last); !ok {
			t.Error("the newest is forgotten")
		}
		if s.remove(last); held() >= size+len(s.shards) {
			t.Error("not removed")
		}
		if _, ok := s.get(last); ok {
			t.Error("remembered though removed")
		}
	}
}

func TestADigestIsOfTheWholeText(t *testing.T) {
	seen := map[digest]int{}
	for _, n := range []int{0, 1, 1023, 1024, 1025, 1026, maxToken} {
		d := digestOf(strings.Repeat("x", n))
		if other, ok := seen[d]; ok {
			t.Errorf("%d and %d bytes have one digest", n, other)
		}
		seen[d] = n
	}
	if digestOf(strings.Repeat("x", 2000)+"y") == digestOf(strings.Repeat("x", 2000)+"z") {
		t.Error("only the beginning counts")
	}
}
