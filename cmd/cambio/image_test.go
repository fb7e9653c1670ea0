package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// instruction is one of a Dockerfile.
type instruction struct{ name, args string }

func readDockerfile() (all []instruction, err error) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		return nil, err
	}
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	for line := range strings.Lines(joined) {
		name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "" && name != "#" {
			all = append(all, instruction{name, strings.Join(strings.Fields(args), " ")})
		}
	}
	return all, nil
}

// dockerfile is the instructions of a name in its last stage, or in the first.
func dockerfile(t *testing.T, last bool, name string) (args []string) {
	t.Helper()
	all, err := readDockerfile()
	if err != nil {
		t.Fatal(err)
	}
	stage := 0
	for _, in := range all {
		if in.name == "FROM" {
			stage++
		}
		if in.name == name && (stage == 2) == last {
			args = append(args, in.args)
		}
	}
	return args
}

// imageBinary is built as the Dockerfile builds it, by its own words, with a
// version and a revision.
var imageBinary = sync.OnceValues(func() ([]byte, error) {
	all, err := readDockerfile()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(in instruction) bool { return in.name == "RUN" && strings.Contains(in.args, "go build") })
	if i < 0 {
		return nil, fmt.Errorf("the Dockerfile builds nothing: %v", all)
	}
	out, err := os.MkdirTemp("", "cambio-image")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(out)
	build := exec.Command("sh", "-c", strings.ReplaceAll(all[i].args, "/out/", out+"/"))
	build.Dir = "../.."
	build.Env = append(os.Environ(), "VERSION=v1.2.3", "REVISION=0123abc")
	if said, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, said)
	}
	return os.ReadFile(filepath.Join(out, "cambio"))
})

// fromImage leaves the image's binary at path.
func fromImage(t *testing.T, path string) {
	t.Helper()
	content, err := imageBinary()
	if err == nil {
		err = os.WriteFile(path, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheDockerfileKeepsItsPromises(t *testing.T) {
	for name, want := range map[string]string{
		"USER": "65532:65532", "WORKDIR": "/data", "VOLUME": "/data", "EXPOSE": "8080",
		"ENTRYPOINT": `["cambio"]`, "CMD": `["serve"]`, "FROM": "gcr.io/distroless/static-debian12:nonroot",
	} {
		if got := dockerfile(t, true, name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if health := dockerfile(t, true, "HEALTHCHECK"); len(health) != 1 || !strings.HasSuffix(health[0], `CMD ["cambio", "health"]`) {
		t.Errorf("HEALTHCHECK is %q", health)
	}
	if run := dockerfile(t, true, "RUN"); run != nil {
		t.Errorf("there is no shell for %q", run)
	}
	all, err := readDockerfile()
	if err != nil {
		t.Fatal(err)
	}
	tagged, secret := regexp.MustCompile(`^[a-z0-9./-]+:[a-z0-9.-]+( AS [a-z]+)?$`), regexp.MustCompile(`(?i)master_key|secret|password|token=`)
	for _, in := range all {
		switch {
		case in.name == "FROM" && (!tagged.MatchString(in.args) || strings.Contains(in.args, ":latest")):
			t.Errorf("FROM %s: want a tag that does not move to another version", in.args)
		case in.name == "ADD", strings.Contains(in.args, "<<"), strings.Contains(in.args, "--link"):
			t.Errorf("%s %s: not every builder can do that", in.name, in.args)
		case (in.name == "ENV" || in.name == "ARG" || in.name == "LABEL") && secret.MatchString(in.args):
			t.Errorf("%s %s: everybody who has the image can read it", in.name, in.args)
		}
	}
}

func TestTheImageHoldsAStaticBinary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio")
	fromImage(t, path)
	file, err := elf.Open(path)
	if err != nil {
		t.Skip("this is no system of ELF: ", err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it is linked dynamically: %v", p.Type)
		}
	}
}
