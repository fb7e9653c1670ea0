package main

import "testing"

func TestConnectionsLeaveFilesToTheRest(t *testing.T) {
	for files, want := range map[uint64]int{0: 1, 128: 1, 129: 1, 256: 128, 1024: 768, 20000: 15000, 1 << 20: mostConnections, 1<<64 - 1: mostConnections} {
		if got := connectionsOf(files); got != want {
			t.Errorf("of %d files %d connections, want %d", files, got, want)
		}
	}
}
