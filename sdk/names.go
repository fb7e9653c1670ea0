package sdk

// names finds a member that comes twice in one object, whatever objects are open
// around it. As long as there are few, it compares, and allocates nothing.
type names struct {
	count   int // of all objects together
	objects int // begun so far; tells them apart
	few     [24]string
	held    int // of few, those of the innermost object last
	more    map[nameIn]struct{}
}

// scope is an object being read.
type scope struct{ object, base int }

type nameIn struct {
	object int
	name   string
}

func (n *names) open() scope {
	n.objects++
	return scope{n.objects, n.held}
}

func (n *names) close(s scope) { n.held = s.base }

// add reports whether name is new in s, the innermost object, and not one too
// many.
func (n *names) add(s scope, name string) bool {
	if n.count++; n.count > maxNames {
		return false
	}
	for _, known := range n.few[s.base:n.held] {
		if known == name {
			return false
		}
	}
	if n.held < len(n.few) {
		n.few[n.held] = name
		n.held++
		return true
	}
	if n.more == nil {
		n.more = make(map[nameIn]struct{}, 4*len(n.few))
	}
	before := len(n.more)
	n.more[nameIn{s.object, name}] = struct{}{}
	return len(n.more) > before
}
