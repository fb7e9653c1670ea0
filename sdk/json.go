package sdk

import (
	"errors"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of objects and arrays; maxLaxDepth that of what is
// only cut into parts.
const (
	maxDepth    = 32
	maxLaxDepth = 1000
)

var errJSON = errors.New("malformed JSON")

// jsonReader reads one JSON document from front to back (RFC 8259), strictly:
// no member twice at any depth, names compared after unescaping and with their
// case, no lone surrogates, nothing after the end. Its caller says which value
// comes next; anything else is an error.
type jsonReader struct {
	data  []byte
	pos   int
	depth int
	lax   bool // only the grammar counts: for cutting a document into parts that are read strictly
}

// readJSON runs read over the whole of data, which must be valid UTF-8.
func readJSON(data []byte, read func(*jsonReader) error) error {
	if !utf8.Valid(data) {
		return errJSON
	}
	r := &jsonReader{data: data}
	if err := read(r); err != nil {
		return err
	}
	return r.end()
}

func (r *jsonReader) end() error {
	if r.space(); r.pos != len(r.data) {
		return errJSON
	}
	return nil
}

func (r *jsonReader) space() {
	for r.pos < len(r.data) {
		switch r.data[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// next returns the first byte of what comes, 0 at the end.
func (r *jsonReader) next() byte {
	if r.space(); r.pos < len(r.data) {
		return r.data[r.pos]
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

// object reads an object; member must read the value of the name it is given.
func (r *jsonReader) object(member func(name string) error) error {
	var names nameSet
	return r.list('{', '}', func() error {
		name, err := r.text()
		if err != nil {
			return err
		}
		if !r.lax && !names.add(name) || !r.accept(':') {
			return errJSON
		}
		return member(name)
	})
}

// array reads an array; element must read one value.
func (r *jsonReader) array(element func() error) error {
	return r.list('[', ']', element)
}

func (r *jsonReader) list(first, last byte, item func() error) error {
	limit := maxDepth
	if r.lax {
		limit = maxLaxDepth
	}
	if r.depth++; r.depth > limit || !r.accept(first) {
		return errJSON
	}
	defer func() { r.depth-- }()
	if r.accept(last) {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if r.accept(last) {
			return nil
		}
		if !r.accept(',') {
			return errJSON
		}
	}
}

// value reads any value and returns its bytes.
func (r *jsonReader) value() ([]byte, error) {
	first := r.next()
	start, err := r.pos, error(nil)
	switch first {
	case '{':
		err = r.object(func(string) error { return r.skip() })
	case '[':
		err = r.array(r.skip)
	case '"':
		_, err = r.text()
	case 't':
		err = r.word("true")
	case 'f':
		err = r.word("false")
	case 'n':
		err = r.word("null")
	default:
		_, err = r.number()
	}
	if err != nil {
		return nil, err
	}
	return r.data[start:r.pos], nil
}

func (r *jsonReader) skip() error {
	_, err := r.value()
	return err
}

func (r *jsonReader) word(w string) error {
	if len(r.data)-r.pos < len(w) || string(r.data[r.pos:r.pos+len(w)]) != w {
		return errJSON
	}
	r.pos += len(w)
	return nil
}

// text reads a string.
func (r *jsonReader) text() (string, error) {
	if !r.accept('"') {
		return "", errJSON
	}
	escaped := false
	for start := r.pos; r.pos < len(r.data); r.pos++ {
		switch c := r.data[r.pos]; {
		case c == '"':
			raw := r.data[start:r.pos]
			r.pos++
			if !escaped {
				return string(raw), nil
			}
			text, ok := unescape(raw)
			if !ok && !r.lax {
				return "", errJSON
			}
			return text, nil
		case c == '\\':
			escaped = true
			r.pos++
		case c < ' ':
			return "", errJSON
		}
	}
	return "", errJSON
}

// integer reads a number written without fraction or exponent that fits int64.
func (r *jsonReader) integer() (int64, error) {
	raw, err := r.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, errJSON
	}
	return n, nil
}

func (r *jsonReader) number() ([]byte, error) {
	r.space()
	start := r.pos
	r.one('-')
	if !r.one('0') && r.digits() == 0 {
		return nil, errJSON
	}
	if r.one('.') && r.digits() == 0 {
		return nil, errJSON
	}
	if r.one('e') || r.one('E') {
		if !r.one('-') {
			r.one('+')
		}
		if r.digits() == 0 {
			return nil, errJSON
		}
	}
	return r.data[start:r.pos], nil
}

func (r *jsonReader) one(c byte) bool {
	if r.pos >= len(r.data) || r.data[r.pos] != c {
		return false
	}
	r.pos++
	return true
}

func (r *jsonReader) digits() int {
	start := r.pos
	for r.pos < len(r.data) && r.data[r.pos] >= '0' && r.data[r.pos] <= '9' {
		r.pos++
	}
	return r.pos - start
}

func unescape(raw []byte) (string, bool) {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		if i++; i >= len(raw) {
			return "", false
		}
		if raw[i] != 'u' {
			c, ok := shortEscape(raw[i])
			if !ok {
				return "", false
			}
			out = append(out, c)
			continue
		}
		char, n := hexEscape(raw[i+1:])
		if n == 0 {
			return "", false
		}
		out, i = utf8.AppendRune(out, char), i+n
	}
	return string(out), true
}

func shortEscape(c byte) (byte, bool) {
	switch c {
	case '"', '\\', '/':
		return c, true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}

// hexEscape reads what follows `\u`, a surrogate pair included, and says how
// many bytes that took; 0 if it names no character.
func hexEscape(s []byte) (rune, int) {
	char, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(char) {
		return char, 4
	}
	if len(s) < 10 || s[4] != '\\' || s[5] != 'u' {
		return 0, 0
	}
	low, ok := hex4(s[6:])
	if char = utf16.DecodeRune(char, low); !ok || char == utf8.RuneError {
		return 0, 0
	}
	return char, 10
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var n rune
	for _, c := range s[:4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// nameSet finds a name that comes twice: by comparing while there are few, so
// that an ordinary object allocates no map.
type nameSet struct {
	few  []string
	many map[string]bool
}

func (s *nameSet) add(name string) bool {
	if s.many == nil && len(s.few) < 16 {
		if slices.Contains(s.few, name) {
			return false
		}
		s.few = append(s.few, name)
		return true
	}
	if s.many == nil {
		s.many = make(map[string]bool, 4*len(s.few))
		for _, n := range s.few {
			s.many[n] = true
		}
	}
	if s.many[name] {
		return false
	}
	s.many[name] = true
	return true
}
