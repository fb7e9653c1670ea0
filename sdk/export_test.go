package sdk

// Held is how much a client remembers, and how many exchanges are under way, by
// either count.
type Held struct{ Kept, Refused, InVain, Aloft, Flights int }

// Held counts.
func (c *Client) Held() Held {
	g := c.grants
	g.mu.Lock()
	defer g.mu.Unlock()
	flights := 0
	for _, of := range g.flights {
		flights += max(1, len(of)) // a key without any should not be there
	}
	return Held{g.kept.Len(), g.refusals.Len(), g.inVain.Len(), g.aloft, flights}
}

// Disk is how a Checker reads and writes its key set file.
type Disk struct {
	Read  func(path string) ([]byte, error)
	Write func(path string, text []byte) error
}

// OnDisk puts what wrap makes of it in place of c's disk, before c is used.
func OnDisk(c *Checker, wrap func(real Disk) Disk) {
	f := c.keys.file
	disk := wrap(Disk{f.read, f.write})
	f.read, f.write = disk.Read, disk.Write
}
