package issuer

// Kept is how many lists are kept signed.
func (l *StatusLists) Kept() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.published)
}
