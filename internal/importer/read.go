package importer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"
)

// maxLine is the longest line that is read, in bytes.
const maxLine = 1 << 20

var (
	errLong      = fmt.Errorf("is longer than %d bytes", maxLine)
	errNotUTF8   = errors.New("is not UTF-8")
	errNotObject = errors.New("is not a JSON object on one line")
	errTwice     = errors.New("has a member twice")
)

// readRows reads JSON lines, or one JSON array, whichever it is. Empty lines are
// passed over.
func readRows(r io.Reader) iter.Seq2[text, error] {
	return func(yield func(text, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		first, err := firstByte(in)
		switch {
		case errors.Is(err, io.EOF):
		case err != nil:
			yield(text{}, err)
		case first == '[':
			elements(in, yield)
		default:
			lines(in, yield)
		}
	}
}

// firstByte passes over a byte order mark and looks at the first byte that is no
// space, as far as the buffer goes.
func firstByte(in *bufio.Reader) (byte, error) {
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	for i := 1; ; i++ {
		ahead, err := in.Peek(i)
		if len(ahead) < i {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = nil
			}
			return 0, err
		}
		if !strings.ContainsRune(" \t\r\n", rune(ahead[i-1])) {
			return ahead[i-1], nil
		}
	}
}

func lines(in *bufio.Reader, yield func(text, error) bool) {
	for number := 1; ; number++ {
		line, err := readLine(in)
		row := text{number: number, json: line}
		if errors.Is(err, errLong) {
			row.err, err = err, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			yield(text{}, fmt.Errorf("line %d: %w", number, err))
			return
		}
		if (row.err != nil || len(bytes.TrimSpace(line)) > 0) && !yield(row, nil) {
			return
		}
		if err != nil {
			return
		}
	}
}

// readLine fails with errLong for a line that is too long, and passes over it.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxLine; !long {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if long && (err == nil || errors.Is(err, io.EOF)) {
			return nil, errLong
		}
		return line, err
	}
}

// elements reads an array. What follows a mistake in its syntax cannot be read.
func elements(in io.Reader, yield func(text, error) bool) {
	dec := json.NewDecoder(in)
	_, err := dec.Token()
	number := 0
	for err == nil && dec.More() {
		number++
		var element json.RawMessage
		if err = dec.Decode(&element); err == nil && !yield(text{number: number, json: element}, nil) {
			return
		}
	}
	if err == nil {
		_, err = dec.Token()
	}
	if err != nil {
		yield(text{}, fmt.Errorf("row %d of the array: %w", number, syntax(err, errors.New("is not JSON"))))
	}
}

// parseObject returns the members of an object but for those that are null, by their
// names or by what foldName makes of them.
func parseObject(object []byte, fold bool) (map[string]json.RawMessage, error) {
	if !utf8.Valid(object) {
		return nil, errNotUTF8
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, syntax(err, errNotObject)
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, syntax(err, errNotObject)
		}
		key := name.(string) // or the decoder would have failed
		if fold {
			key = foldName(key)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, syntax(err, errNotObject)
		}
		if _, twice := members[key]; twice {
			return nil, errTwice
		}
		members[key] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, syntax(err, errNotObject)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotObject
	}
	for name, value := range members {
		if string(value) == "null" {
			delete(members, name)
		}
	}
	return members, nil
}

// foldName makes one of referenceId, reference_id and the referenceid of an
// unquoted column.
func foldName(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// syntax says where a mistake is and not what is there, which may be a key.
func syntax(err, what error) error {
	var mistake *json.SyntaxError
	switch {
	case errors.As(err, &mistake):
		return fmt.Errorf("%w: syntax, at byte %d", what, mistake.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends too early", what)
	case err != nil:
		return err
	}
	return what
}
