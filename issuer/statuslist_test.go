package issuer

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"io"
	"testing"

	"github.com/cambio-auth/cambio/internal/wire"
)

// unzipped undoes base64url and zlib.
func unzipped(t *testing.T, lst string) []byte {
	t.Helper()
	compressed, err := base64.RawURLEncoding.DecodeString(lst)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zlib.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	values, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// The example of Token Status List §4.1 with two bits. What zlib makes of it may
// differ, so it is compared unpacked.
func TestAListIsEncodedAsInTheDraft(t *testing.T) {
	list := (&statusList{}).clone()
	for index, value := range []uint8{1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3} {
		if err := list.apply(StatusChange{List: 1, Revision: 2, Index: int64(index), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := packed(list.values)
	if err != nil {
		t.Fatal(err)
	}
	want := unzipped(t, "eNo76fITAAPfAgc")
	if !bytes.Equal(want, []byte{0xc9, 0x44, 0xf9}) || got.Bits != 2 || !bytes.Equal(unzipped(t, got.List), want) {
		t.Errorf("%d bits, % x, want % x", got.Bits, unzipped(t, got.List), want)
	}
}

func TestAListThatIsVoidIsAllInvalid(t *testing.T) {
	list := &statusList{generation: 2, voided: 9, version: 11, values: []byte{0, 0b10, 0}}
	values, version := list.of(1)
	for _, b := range values {
		for ; b > 0; b >>= statusBits {
			if b&3 != wire.StatusInvalid {
				t.Errorf("% b", values)
			}
		}
	}
	if len(values) != 3 || values[0] < 64 || version != 9 {
		t.Errorf("% b, version %d", values, version)
	}
	if _, version := list.of(2); version != 11 {
		t.Errorf("version %d", version)
	}
}

func TestAListHasOneName(t *testing.T) {
	for _, name := range []string{"1.0", "17.3", "9223372036854775807.9223372036854775807"} {
		if n, ok := parseStatusName(name); !ok || n.String() != name {
			t.Errorf("%q is read as %v, %t", name, n, ok)
		}
	}
	for _, name := range []string{
		"", ".", "1", "1.", ".1", "0.0", "-1.0", "1.-1", "+1.0", "01.0", "1.00", "1.0.0", " 1.0", "1.0 ", "1,0", "1e3.0", "0x1.0", "1_0.0",
		"9223372036854775808.0", "1.9223372036854775808", "١.0", "1.0\x00", "1.0?x",
	} {
		if n, ok := parseStatusName(name); ok {
			t.Errorf("%q is read as %v", name, n)
		}
	}
}

func TestWhatCannotBeInAListIsRefused(t *testing.T) {
	for _, c := range []StatusChange{
		{List: 1, Index: -1}, {List: 1, Index: maxStatusIndex + 1}, {List: 1, Size: maxStatusIndex + 2}, {List: 1, Index: 1, Value: 4},
	} {
		if err := (&statusList{}).apply(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
