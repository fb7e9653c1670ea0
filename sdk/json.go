package sdk

import (
	"errors"
	"strconv"
	"unicode/utf8"
)

// Bounds of a document. The last two are beyond whatever an issuer of ours signs,
// and keep what anybody may send from costing more than what is good.
const (
	maxDepth    = 32   // nesting of objects and arrays
	maxLaxDepth = 1000 // nesting of what is only cut into parts
	maxNames    = 1024 // members, of all objects together
	maxElements = 4096 // elements, of all arrays together
)

var errJSON = errors.New("malformed JSON")

// jsonReader reads one JSON document from front to back (RFC 8259), strictly:
// no member twice at any depth, names compared after unescaping and with their
// case, no lone surrogates, nothing after the end. Its caller says which value
// comes next; anything else is a mistake. After the first mistake whatever is
// read is empty, so it is enough to look at the error of end.
//
//	for r.open('{'); r.more('}'); {
//		switch r.name() { ... } // reads the value
//	}
//
// A text is a part of the document, not a copy, unless it holds an escape.
type jsonReader struct {
	doc      string
	pos      int
	depth    int
	elements int
	names    names
	first    bool // an object or array was opened, and nothing of it read
	bad      bool
	lax      bool // only the grammar counts: for cutting a document into parts that are read strictly
}

// read begins to read doc, which must be valid UTF-8, with a reader that has not
// been used.
func (r *jsonReader) read(doc string) {
	r.doc, r.bad = doc, !utf8.ValidString(doc)
}

// end fails if anything was wrong, or if something is left.
func (r *jsonReader) end() error {
	if r.space(); r.bad || r.pos != len(r.doc) {
		return errJSON
	}
	return nil
}

func (r *jsonReader) fail() { r.bad = true }

func (r *jsonReader) space() {
	for r.pos < len(r.doc) && r.doc[r.pos] <= ' ' {
		switch r.doc[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// next returns the first byte of what comes, 0 at the end.
func (r *jsonReader) next() byte {
	if r.space(); r.pos < len(r.doc) {
		return r.doc[r.pos]
	}
	return 0
}

func (r *jsonReader) accept(c byte) bool {
	if r.next() != c {
		return false
	}
	r.pos++
	return true
}

// open begins an object, with '{', or an array, with '['.
func (r *jsonReader) open(bracket byte) {
	limit := maxDepth
	if r.lax {
		limit = maxLaxDepth
	}
	if r.depth++; r.depth > limit || !r.accept(bracket) {
		r.fail()
		return
	}
	r.first = true
	if bracket == '{' && !r.lax {
		r.names.open(r.depth)
	}
}

// more reports whether a member or element comes, for the caller to read, or
// reads the closing bracket.
func (r *jsonReader) more(bracket byte) bool {
	if r.bad {
		return false
	}
	if r.accept(bracket) {
		r.depth--
		r.first = false
		return false
	}
	if !r.first && !r.accept(',') {
		r.fail()
		return false
	}
	r.first = false
	if bracket == ']' {
		r.elements++
		r.bad = r.elements > maxElements && !r.lax
	}
	return !r.bad
}

// name reads the name of a member; its value comes next.
func (r *jsonReader) name() string {
	name := r.text()
	if !r.lax && !r.names.add(r.depth, name) || !r.accept(':') {
		r.fail()
	}
	return name
}

// skip reads any value.
func (r *jsonReader) skip() {
	if r.bad {
		return
	}
	switch r.next() {
	case '{':
		for r.open('{'); r.more('}'); {
			r.name()
			r.skip()
		}
	case '[':
		for r.open('['); r.more(']'); {
			r.skip()
		}
	case '"':
		r.text()
	case 't':
		r.word("true")
	case 'f':
		r.word("false")
	case 'n':
		r.word("null")
	default:
		r.number()
	}
}

// value reads any value and returns it as it is written.
func (r *jsonReader) value() string {
	r.space()
	start := r.pos
	if r.skip(); r.bad {
		return ""
	}
	return r.doc[start:r.pos]
}

func (r *jsonReader) word(w string) {
	if len(r.doc)-r.pos < len(w) || r.doc[r.pos:r.pos+len(w)] != w {
		r.fail()
		return
	}
	r.pos += len(w)
}

// text reads a string.
func (r *jsonReader) text() string {
	if r.bad || !r.accept('"') {
		r.fail()
		return ""
	}
	escaped := false
	for start := r.pos; r.pos < len(r.doc); r.pos++ {
		switch c := r.doc[r.pos]; {
		case c == '"':
			raw := r.doc[start:r.pos]
			r.pos++
			if !escaped {
				return raw
			}
			text, ok := unescape(raw)
			if !ok && !r.lax {
				r.fail()
				return ""
			}
			return text
		case c == '\\':
			escaped = true
			r.pos++
		case c < ' ':
			r.fail()
			return ""
		}
	}
	r.fail()
	return ""
}

// integer reads a number written without fraction or exponent that fits int64.
func (r *jsonReader) integer() int64 {
	n, err := strconv.ParseInt(r.number(), 10, 64)
	if err != nil {
		r.fail()
		return 0
	}
	return n
}

// number reads a number and returns it as it is written.
func (r *jsonReader) number() string {
	r.space()
	start := r.pos
	r.one('-')
	ok := r.one('0') || r.digits()
	if r.one('.') {
		ok = r.digits() && ok
	}
	if r.one('e') || r.one('E') {
		if !r.one('-') {
			r.one('+')
		}
		ok = r.digits() && ok
	}
	if !ok || r.bad {
		r.fail()
		return ""
	}
	return r.doc[start:r.pos]
}

func (r *jsonReader) one(c byte) bool {
	if r.pos >= len(r.doc) || r.doc[r.pos] != c {
		return false
	}
	r.pos++
	return true
}

// digits reads one or more.
func (r *jsonReader) digits() bool {
	start := r.pos
	for r.pos < len(r.doc) && r.doc[r.pos] >= '0' && r.doc[r.pos] <= '9' {
		r.pos++
	}
	return r.pos > start
}
