package sdk

import "hash/maphash"

// names finds a member that comes twice in one object, by the hashes of all names
// of a document, each mixed with a number of its object. Two names of one hash
// count as one: that refuses one good document of 1,024 names in 10^13.
type names struct {
	count   int
	objects uint64               // begun so far
	inside  [maxDepth + 1]uint64 // the object that is open at each depth
	few     [64]uint64           // hash table, as long as that is enough
	many    *[2 * maxNames]uint64
}

var nameSeed = maphash.MakeSeed()

// open begins an object at depth.
func (n *names) open(depth int) {
	n.objects++
	n.inside[depth] = n.objects
}

// add reports whether name is new to the object at depth, and not one too many.
func (n *names) add(depth int, name string) bool {
	if n.count++; n.count > maxNames {
		return false
	}
	hash := maphash.String(nameSeed, name) ^ n.inside[depth]*0x9e3779b97f4a7c15
	if n.many == nil && n.count <= len(n.few)/2 {
		return insert(n.few[:], hash)
	}
	if n.many == nil {
		n.many = new([2 * maxNames]uint64)
		for _, known := range n.few {
			insert(n.many[:], known)
		}
	}
	return insert(n.many[:], hash)
}

// insert reports whether hash is new to table, which has room, and whose length is
// a power of two. Zero marks what is empty.
func insert(table []uint64, hash uint64) bool {
	if hash == 0 {
		return true
	}
	last := uint64(len(table) - 1)
	for i := hash & last; ; i = (i + 1) & last {
		switch table[i] {
		case hash:
			return false
		case 0:
			table[i] = hash
			return true
		}
	}
}
