package sdk

import (
	"unicode/utf16"
	"unicode/utf8"
)

// unescape reads what stands between the quotes of a JSON string (RFC 8259 §7).
func unescape(raw string) (string, bool) {
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
func hexEscape(s string) (rune, int) {
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

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var n rune
	for _, c := range s[:4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | (c - '0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | (c - 'a' + 10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | (c - 'A' + 10)
		default:
			return 0, false
		}
	}
	return n, true
}
