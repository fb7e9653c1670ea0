package main

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/internal/wire"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (*completionCmd) Help() string {
	return `Completes commands, flags, and those values of flags that are known beforehand. It asks no store.

Examples:

    source <(cambio completion bash)
    cambio completion bash > /etc/bash_completion.d/cambio
    cambio completion zsh > "${fpath[1]}/_cambio"
    cambio completion fish > ~/.config/fish/completions/cambio.fish`
}

func (c *completionCmd) Run(k *kong.Context, p process) error {
	spots := spotsOf(k.Model.Node, k.Model.Name)
	script := map[string]func([]spot) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	return printText(p.stdout, script(spots))
}

// spot is a place on the command line: what may follow these words.
type spot struct {
	path  string // such as cambio key
	words []offer
	flags []offer
}

// offer is a word that may follow.
type offer struct {
	word, help string
	takes      bool     // another word belongs to it
	values     []string // which that may be; none: only the user knows
	file       bool     // it is the name of a file
}

func (s spot) offers() []offer { return append(slices.Clone(s.words), s.flags...) }

// spotsOf returns a command and all below it, as the grammar has them.
func spotsOf(node *kong.Node, path string) []spot {
	here := spot{path: path}
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			here.flags = append(here.flags, flagOffers(flag)...)
		}
	}
	for _, arg := range node.Positional {
		if arg.Enum == "" {
			continue
		}
		for _, value := range arg.EnumSlice() {
			here.words = append(here.words, offer{word: value})
		}
	}
	spots := []spot{here}
	for _, child := range node.Children {
		if child.Hidden {
			continue
		}
		spots[0].words = append(spots[0].words, offer{word: child.Name, help: summary(child.Help)})
		spots = append(spots, spotsOf(child, path+" "+child.Name)...)
	}
	return spots
}

func flagOffers(flag *kong.Flag) []offer {
	takes := !flag.IsBool()
	o := offer{word: "--" + flag.Name, help: summary(flag.Help), takes: takes, file: takes && flag.PlaceHolder == "PATH"}
	if takes {
		o.values = knownValues(flag.PlaceHolder)
	}
	if flag.Tag.Negatable == "" {
		return []offer{o}
	}
	return []offer{o, {word: "--no-" + flag.Name, help: "not: " + o.help}}
}

// knownValues returns those of flags with this placeholder.
func knownValues(placeholder string) []string {
	switch placeholder {
	case "ALG", "ALG,…":
		return wire.SigningAlgs()
	case "FORMAT":
		return []string{"text", "json"}
	case "LEVEL":
		return []string{"debug", "info", "warn", "error"}
	case "RIGHT":
		return plain(client.Rights())
	case "STATE":
		return []string{manage.StateActive, manage.StateDisabled, manage.StateRevoked, manage.StateExpired}
	case "STEP":
		return plain([]usage.Step{usage.Hour, usage.Day})
	}
	return nil
}

func plain[T ~string](list []T) []string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = string(v)
	}
	return words
}

// summary is the first sentence of a help text, without what a shell would read.
func summary(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	return strings.NewReplacer("'", "’", `\`, "").Replace(strings.TrimSuffix(first, "."))
}
