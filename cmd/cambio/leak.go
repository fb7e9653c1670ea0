package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

type leakCmd struct {
	Report  leakReportCmd  `cmd:"" help:"Revoke those of some strings that are keys."`
	Pattern leakPatternCmd `cmd:"" help:"Print the regular expression of keys, for secret scanners."`
}

type leakReportCmd struct {
	File        string `arg:"" optional:"" default:"-" help:"What was found, one string a line; - for stdin. Default: -."`
	changeFlags `embed:""`
}

func (*leakReportCmd) Help() string {
	return `Reads strings that were found where no key should be, one a line, and revokes those that are keys, at once and for good. Every other string is left alone. It never prints one of them: it tells which line is which key. A string is never given on the command line, which every user of the machine can read.

With --json it prints {"leaks":[{"line":…,"ours":…,"key_id":…,"revoked":…},…]}: revoked is false for a key that had been revoked before.

Cut short, it has revoked some; run it again.

Examples:

    cambio leak report found.txt --reason 'in the logs of the proxy'
    grep -rhoE "$(cambio leak pattern)" logs/ | cambio leak report --json`
}

// reportedLeak is what became of one line.
type reportedLeak struct {
	Line int `json:"line"`
	wire.Leak
}

func (c *leakReportCmd) Run(ctx context.Context, p process) error {
	lines, found, err := c.read(p)
	if err != nil {
		return err
	}
	return c.change(ctx, p, func(m *manage.Manager) error {
		leaks := make([]reportedLeak, 0, len(found))
		for some := range slices.Chunk(found, manage.MaxLeaks) {
			report, err := m.ReportLeaks(ctx, some)
			if err != nil {
				return err
			}
			for _, leak := range report {
				leaks = append(leaks, reportedLeak{lines[len(leaks)], leak})
			}
		}
		return c.print(p, leaks)
	})
}

// read returns the strings and their lines. Its errors do not repeat the name of the
// file, which a user may have taken for the place of a key.
func (c *leakReportCmd) read(p process) (lines []int, found []verifier.Secret, err error) {
	from := p.stdin
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return nil, nil, fmt.Errorf("FILE: %w; keys are given in a file or on stdin", causeOf(err))
		}
		defer file.Close()
		from = file
	}
	reader := bufio.NewReader(from)
	for n := 1; ; n++ {
		line, err := reader.ReadString('\n')
		if text := strings.TrimSpace(line); text != "" {
			lines, found = append(lines, n), append(found, verifier.NewSecret(text))
		}
		if errors.Is(err, io.EOF) {
			return lines, found, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("FILE: %w", causeOf(err))
		}
	}
}

// causeOf leaves out which file it was.
func causeOf(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

func (c *leakReportCmd) print(p process, leaks []reportedLeak) error {
	if c.JSON {
		return printJSON(p.stdout, map[string]any{"leaks": leaks})
	}
	ours, revoked := 0, 0
	rows := [][]string{{"LINE", "KEY", "KEYSPACE", "OWNER", "REVOKED"}}
	for _, leak := range leaks {
		if !leak.Ours {
			continue
		}
		ours++
		if leak.Revoked {
			revoked++
		}
		rows = append(rows, []string{strconv.Itoa(leak.Line), leak.KeyID, leak.Keyspace, dash(leak.Owner), yes(leak.Revoked, "now", "before")})
	}
	p.note("%s read, %s among them, %d revoked now", count(len(leaks), "string"), count(ours, "key"), revoked)
	if ours == 0 {
		return nil
	}
	return table(p.stdout, rows)
}

type leakPatternCmd struct {
	Prefix string `placeholder:"PREFIX" help:"Of the keys of one keyspace, which begin with this. Default: of all keys."`
	output `embed:""`
}

func (*leakPatternCmd) Help() string {
	return `It matches keys that Cambio has made, and the secrets of its clients, but no keys that were imported. The last six characters are a checksum, so what matches by chance is told from keys without a look-up.

Examples:

    cambio leak pattern
    cambio leak pattern --prefix acme_live --json`
}

func (c *leakPatternCmd) Run(p process) error {
	pattern := verifier.KeyPattern
	if c.Prefix != "" {
		if err := verifier.ValidatePrefix(c.Prefix); err != nil {
			return &usageError{fmt.Errorf("--prefix: %w", err)}
		}
		pattern = patternOf(c.Prefix)
	}
	if c.JSON {
		return printJSON(p.stdout, map[string]string{"pattern": pattern})
	}
	_, err := fmt.Fprintln(p.stdout, pattern)
	return err
}

// patternOf narrows the pattern of all keys to those of one prefix.
func patternOf(prefix string) string {
	_, random, _ := strings.Cut(verifier.KeyPattern, "}_")
	return `\b` + prefix + "_" + random
}
