package sdk

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
)

// The examples of the draft (Token Status List §4.1).
func TestTheListsOfTheDraftAreRead(t *testing.T) {
	for _, example := range []struct {
		bits int
		lst  string
		want []int
	}{
		{1, "eNrbuRgAAhcBXQ", []int{1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1}},
		{2, "eNo76fITAAPfAgc", []int{1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3}},
	} {
		payload := fmt.Sprintf(`{"iss":"i","sub":"u","iat":1,"exp":2,"ttl":3,"status_list":{"bits":%d,"lst":%q,"aggregation_uri":"a"}}`, example.bits, example.lst)
		list, err := readStatusList(payload, "i", "u")
		if err != nil {
			t.Fatal(err)
		}
		for index, want := range example.want {
			err := list.judge(int64(index))
			if got := map[int]error{0: nil, 1: errRevoked, 2: errSuspended, 3: errNoStatus}[want]; !errors.Is(err, got) || (err == nil) != (want == 0) {
				t.Errorf("%d bits, index %d: %v, want status %d", example.bits, index, err, want)
			}
		}
		for _, beyond := range []int64{-1, int64(len(example.want)), 1 << 62} {
			if list.judge(beyond) == nil {
				t.Errorf("index %d is valid", beyond)
			}
		}
	}
}

func TestEveryWidthIsReadFromTheLeastSignificantBits(t *testing.T) {
	for bits, byIndex := range map[int][]byte{1: {1, 0, 0, 0, 0, 0, 0, 1}, 2: {1, 2, 0, 0}, 4: {2, 1}, 8: {2}} {
		var packed byte
		for index, value := range byIndex {
			packed |= value << (index * bits)
		}
		list := statusList{bits: bits, statuses: []byte{0, packed}}
		for index, value := range byIndex {
			want := []error{nil, errRevoked, errSuspended}[value]
			if err := list.judge(int64(8/bits + index)); !errors.Is(err, want) {
				t.Errorf("%d bits, index %d: %v, want %v", bits, index, err, want)
			}
		}
	}
}

// A list that we accept is what encoding/json and zlib read, and is bounded.
func FuzzStatusList(f *testing.F) {
	f.Add([]byte(`{"iss":"i","sub":"u","iat":1,"exp":2,"ttl":3,"version":4,"status_list":{"bits":2,"lst":"eNo76fITAAPfAgc"}}`), int64(3))
	f.Add([]byte(`{"iss":"i","sub":"u","exp":2,"ttl":-3,"status_list":{"bits":1,"lst":"eNrbuRgAAhcBXQ"}}`), int64(-1))
	f.Add([]byte(`{"iss":"i","sub":"u","exp":2,"ttl":99999999999,"status_list":{"bits":8,"lst":"eNoDAAAAAAE"}}`), int64(1))
	f.Add([]byte(`null`), int64(0))
	f.Fuzz(func(t *testing.T, payload []byte, index int64) {
		list, err := readStatusList(string(payload), "i", "u")
		if err != nil {
			return
		}
		var want struct {
			Sub  string `json:"sub"`
			List struct {
				Bits int    `json:"bits"`
				List string `json:"lst"`
			} `json:"status_list"`
		}
		if err := json.Unmarshal(payload, &want); err != nil || want.Sub != "u" || want.List.Bits != list.bits {
			t.Fatalf("encoding/json reads another list: %v", err)
		}
		packed, _ := base64.RawURLEncoding.DecodeString(want.List.List)
		unzip, err := zlib.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		again := make([]byte, len(list.statuses))
		if n, _ := unzip.Read(again[:min(1, len(again))]); n > 0 && again[0] != list.statuses[0] {
			t.Fatal("unpacked to something else")
		}
		if len(list.statuses) > maxStatuses || list.ttl < minTTL || list.ttl > maxTTL {
			t.Fatal("not bounded")
		}
		within := index >= 0 && index/int64(8/list.bits) < int64(len(list.statuses))
		if list.judge(index) == nil && !within {
			t.Fatal("a status beyond the list")
		}
	})
}
