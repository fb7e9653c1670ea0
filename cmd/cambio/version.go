package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct {
	output `embed:""`
}

func (*versionCmd) Help() string {
	return `Examples:

    cambio version
    cambio version --json`
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
	v := readVersion()
	if c.JSON {
		return printJSON(p.stdout, v)
	}
	_, err := fmt.Fprintf(p.stdout, "cambio %s (revision %s%s, %s, %s)\n",
		v.Version, dash(v.Revision), yes(v.Modified, " with changes", ""), v.Go, v.Platform)
	return err
}

func readVersion() versionJSON {
	v := versionJSON{Version: "(unknown)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = info.Main.Version
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
	return v
}
