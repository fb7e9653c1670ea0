package main

// The most connections of clients, of which each takes some 20 kB.
const mostConnections = 16384

// maxConnections leaves a quarter of the files that this process may open, and no less
// than 128, to database, logs and the operations listener. Zero: nobody knows how many
// it may open.
func maxConnections() int {
	files, err := openFiles()
	if err != nil {
		return 0
	}
	return connectionsOf(files)
}

func connectionsOf(files uint64) int {
	reserve := max(files/4, 128)
	if files <= reserve {
		return 1
	}
	return int(min(files-reserve, mostConnections))
}
