package main

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"runtime/debug"
	"strings"
)

// bill is a bill of materials: CycloneDX 1.6, as far as we use it.
type bill struct {
	Format   string       `json:"bomFormat"`
	Spec     string       `json:"specVersion"`
	Version  int          `json:"version"` // of the document
	Metadata billMetadata `json:"metadata"`
	Parts    []billPart   `json:"components"`
}

type billMetadata struct {
	Component billPart `json:"component"`
}

type billPart struct {
	Type    string     `json:"type"`
	Ref     string     `json:"bom-ref"`
	Name    string     `json:"name"`
	Version string     `json:"version"`
	PURL    string     `json:"purl"`
	Hashes  []billHash `json:"hashes,omitempty"`
}

type billHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"` // hex
}

// billOf lists the modules that are linked into a binary, and the standard library. It says
// neither when nor where that was, so one build has one bill.
func billOf(info *debug.BuildInfo, v versionJSON) bill {
	b := bill{
		Format: "CycloneDX", Spec: "1.6", Version: 1,
		Metadata: billMetadata{partOf("application", debug.Module{Path: info.Main.Path, Version: v.Version})},
		Parts:    []billPart{partOf("library", debug.Module{Path: "std", Version: strings.TrimPrefix(v.Go, "go")})},
	}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		b.Parts = append(b.Parts, partOf("library", *dep))
	}
	return b
}

func partOf(kind string, m debug.Module) billPart {
	purl := packageURL(m)
	part := billPart{Type: kind, Ref: purl, Name: m.Path, Version: m.Version, PURL: purl}
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if m.Sum != "" && err == nil { // the SHA-256 that go.sum holds, over the names and contents of all files
		part.Hashes = []billHash{{"SHA-256", hex.EncodeToString(sum)}}
	}
	return part
}

// packageURL names a module as the package-url specification does, in type golang.
func packageURL(m debug.Module) string {
	parts := strings.Split(m.Path, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	purl := "pkg:golang/" + strings.Join(parts, "/")
	if m.Version != "" {
		purl += "@" + url.QueryEscape(m.Version)
	}
	return purl
}
