package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version and revision are set by -ldflags -X, for builds that have no repository
// beside them, as those of images.
var version, revision string

type versionCmd struct {
	SBOM   bool `name:"sbom" help:"Print what it is built from: a bill of materials, CycloneDX 1.6 in JSON."`
	output `embed:""`
}

func (*versionCmd) Help() string {
	return `Examples:

    cambio version
    cambio version --json
    cambio version --sbom > cambio.cdx.json`
}

type versionJSON struct {
	Version  string `json:"version"`  // of the module; (devel) for a build from a checkout
	Revision string `json:"revision"` // of the repository; empty if unknown
	Modified bool   `json:"modified"` // there were changes beside the revision
	Time     string `json:"time"`     // of the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (c *versionCmd) Run(p process) error {
	info := buildInfo()
	v := readVersion(info)
	if c.SBOM {
		return printJSON(p.stdout, billOf(info, v))
	}
	if c.JSON {
		return printJSON(p.stdout, v)
	}
	_, err := fmt.Fprintf(p.stdout, "cambio %s (revision %s%s, %s, %s)\n",
		v.Version, dash(v.Revision), yes(v.Modified, " with changes", ""), v.Go, v.Platform)
	return err
}

// buildInfo is what this binary was built from, as far as that is known.
func buildInfo() *debug.BuildInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{Main: debug.Module{Version: "(unknown)"}}
	}
	return info
}

func readVersion(info *debug.BuildInfo) versionJSON {
	v := versionJSON{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		case "vcs.time":
			v.Time = s.Value
		}
	}
	v.Version = cmp.Or(version, info.Main.Version)
	v.Revision = cmp.Or(revision, v.Revision)
	return v
}
