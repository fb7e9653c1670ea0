package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// printed decodes what a command prints.
func printed(t *testing.T, to any, path string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), path, args...).Output()
	if err == nil {
		err = json.Unmarshal(out, to)
	}
	if err != nil {
		t.Fatalf("cambio %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func TestABuildTellsItsVersionAndWhatItIsBuiltFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio")
	fromImage(t, path)
	var v versionJSON
	printed(t, &v, path, "version", "--json")
	if v.Version != "v1.2.3" || v.Revision != "0123abc" {
		t.Errorf("%+v", v)
	}
	var b bill
	printed(t, &b, path, "version", "--sbom")
	if b.Format != "CycloneDX" || b.Spec != "1.6" || b.Version != 1 {
		t.Errorf("%+v", b)
	}
	if got := b.Metadata.Component; got.Type != "application" || got.PURL != "pkg:golang/github.com/cambio-auth/cambio@v1.2.3" {
		t.Errorf("%+v", got)
	}
	sameModules(t, path, b.Parts)
}

// sameModules holds the bill to what the go command reads from the binary.
func sameModules(t *testing.T, path string, parts []billPart) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "version", "-m", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]billPart{}
	for _, part := range parts {
		if _, twice := listed[part.Ref]; twice || part.Type != "library" || part.Ref != part.PURL || part.Version == "" {
			t.Errorf("%+v", part)
		}
		listed[part.Ref] = part
	}
	modules := 1 // the standard library
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == "dep" {
			modules++
			part, found := listed["pkg:golang/"+f[1]+"@"+f[2]]
			if !found || part.Name != f[1] || part.Version != f[2] || len(part.Hashes) != 1 || len(part.Hashes[0].Content) != 64 {
				t.Errorf("%s: %+v", f[1], part)
			}
		}
	}
	if modules < 10 || modules != len(parts) {
		t.Errorf("%d parts for %d modules", len(parts), modules)
	}
}

func TestTheBillNamesWhatModulesWereReplacedBy(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	raw, _ := hex.DecodeString(sum)
	info := &debug.BuildInfo{Deps: []*debug.Module{
		{Path: "example.com/a", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/b", Version: "v2.0.0+incompatible", Sum: "h1:" + base64.StdEncoding.EncodeToString(raw)}},
		{Path: "example.com/here", Version: "v1.0.0", Replace: &debug.Module{Path: "../here"}},
	}}
	parts := billOf(info, versionJSON{Go: "go1.26.0"}).Parts
	if parts[0].PURL != "pkg:golang/std@1.26.0" {
		t.Errorf("%+v", parts[0])
	}
	if b := parts[1]; b.PURL != "pkg:golang/example.com/b@v2.0.0%2Bincompatible" || b.Hashes[0] != (billHash{"SHA-256", sum}) {
		t.Errorf("%+v", b)
	}
	if here := parts[2]; here.PURL != "pkg:golang/../here" || here.Hashes != nil {
		t.Errorf("%+v", here)
	}
}
