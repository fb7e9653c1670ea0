package client

// DecoyOf is the key that stands in for one that is not there.
func DecoyOf(algorithm string) Key { return decoy(algorithm) }
