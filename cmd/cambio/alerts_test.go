package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/wire"
)

// published is what a server has at /metrics: of each name its labels, and of each of
// these the values.
type published map[string]map[string][]string

// published scrapes a server on PostgreSQL that has done everything once.
func (s *served) published() published {
	s.t.Helper()
	for range 2 {
		if code, body := s.exchange(s.key); code != http.StatusOK {
			s.t.Fatal(body)
		}
	}
	var named struct {
		URIs []string `json:"status_lists"`
	}
	s.until("published", func() bool { // the list of a key that was just made
		_, lists := s.get(s.public+wire.PathStatusLists, "")
		if err := json.Unmarshal([]byte(lists), &named); err != nil {
			s.t.Fatalf("%v: %s", err, lists)
		}
		return len(named.URIs) > 0
	})
	s.get(named.URIs[0], "")
	text := ""
	s.until("counted", func() bool {
		_, text = s.get(s.ops+"/metrics", "")
		return strings.Contains(text, "cambio_keys{")
	})
	return parsePublished(text)
}

var (
	sampleLine = regexp.MustCompile(`(?m)^([a-z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$`)
	labelPair  = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
)

func parsePublished(text string) published {
	found := published{}
	for _, m := range sampleLine.FindAllStringSubmatch(text, -1) {
		if found[m[1]] == nil {
			found[m[1]] = map[string][]string{"instance": nil, "job": nil} // Prometheus' own
		}
		for _, l := range labelPair.FindAllStringSubmatch(m[2], -1) {
			found[m[1]][l[1]] = append(found[m[1]][l[1]], l[2])
		}
	}
	found["up"] = map[string][]string{"instance": nil, "job": nil}
	return found
}

var (
	stringLiteral = regexp.MustCompile(`"[^"]*"`)
	selector      = regexp.MustCompile(`([a-z_:][a-z0-9_:]*)\s*\{([^}]*)\}`)
	matcher       = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping      = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	duration      = regexp.MustCompile(`\[[^\]]*\]`)
	number        = regexp.MustCompile(`\b[0-9][0-9.e]*\b`)
	name          = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\s*\(?`)
	words         = regexp.MustCompile(`^[\w|/:]+$`)
)

// wrong returns what an expression asks of p that is not there.
func (p published) wrong(expr string) (mistakes []string) {
	used := map[string]bool{}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			mistakes = append(mistakes, p.wrongMatcher(s[1], m[1], m[3])...)
		}
		if rest := strings.Trim(matcher.ReplaceAllString(s[2], ""), " ,"); rest != "" {
			mistakes = append(mistakes, "cannot be read: "+s[0])
		}
	}
	bare := selector.ReplaceAllString(expr, "$1 ")
	bare = number.ReplaceAllString(duration.ReplaceAllString(grouping.ReplaceAllString(stringLiteral.ReplaceAllString(bare, ""), " "), " "), " ")
	for _, n := range name.FindAllString(bare, -1) {
		n = strings.TrimSpace(n)
		if strings.HasSuffix(n, "(") || slices.Contains([]string{"and", "or", "unless", "by", "bool", "offset", "sum", "min", "max", "count"}, n) {
			continue
		}
		used[n] = true
		if p[n] == nil {
			mistakes = append(mistakes, "there is no "+n)
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			label = strings.TrimSpace(label)
			known := false
			for n := range used {
				_, has := p[n][label]
				known = known || has
			}
			if !known {
				mistakes = append(mistakes, fmt.Sprintf("none of %v has a label %s", used, label))
			}
		}
	}
	if len(used) == 0 || strings.Count(expr, "(") != strings.Count(expr, ")") {
		mistakes = append(mistakes, "no expression")
	}
	return mistakes
}

// wrongMatcher holds the words that a label is compared to against those it can be.
func (p published) wrongMatcher(metric, label, value string) (mistakes []string) {
	values, known := p[metric][label]
	if !known {
		return []string{metric + " has no label " + label}
	}
	for word := range strings.SplitSeq(value, "|") {
		if words.MatchString(value) && values != nil && !slices.Contains(values, word) {
			mistakes = append(mistakes, fmt.Sprintf("%s of %s is never %q", label, metric, word))
		}
	}
	return mistakes
}

type alerts struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

type dashboard struct {
	Panels []struct {
		ID      int
		Title   string
		Type    string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

func readDeployed(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../deploy/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAlertsAndDashboardAskForWhatThereIs(t *testing.T) {
	s := serveHere(t, pgtest.Database(t, "", nil), nil)
	there := s.published()
	asked := ""

	var rules alerts
	dec := yaml.NewDecoder(strings.NewReader(string(readDeployed(t, "prometheus/alerts.yaml"))))
	dec.KnownFields(true)
	if err := dec.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules.Groups[0].Rules {
		for _, mistake := range there.wrong(rule.Expr) {
			t.Errorf("alert %s: %s", rule.Alert, mistake)
		}
		asked += rule.Expr
		if _, err := time.ParseDuration(rule.For); rule.For != "" && err != nil {
			t.Errorf("alert %s: %v", rule.Alert, err)
		}
		severity := rule.Labels["severity"]
		if severity != "critical" && severity != "warning" || rule.Annotations["summary"] == "" || len(rule.Annotations["runbook"]) < 150 {
			t.Errorf("alert %s does not say what to do", rule.Alert)
		}
	}
	if len(rules.Groups) != 1 || len(rules.Groups[0].Rules) < 10 {
		t.Error("alerts are missing")
	}

	var board dashboard
	if err := json.Unmarshal(readDeployed(t, "grafana/cambio.json"), &board); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, panel := range board.Panels {
		if ids[panel.ID] || panel.GridPos.X+panel.GridPos.W > 24 || panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %q is out of place, or asks for nothing", panel.Title)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			asked += target.Expr
			for _, mistake := range there.wrong(target.Expr) {
				t.Errorf("panel %q: %s", panel.Title, mistake)
			}
		}
	}
	for metric := range there { // nothing of ours is measured that nobody looks at
		base := regexp.MustCompile(`_(sum|count|bucket)$`).ReplaceAllString(metric, "")
		if strings.HasPrefix(metric, "cambio_") && !strings.HasPrefix(metric, "cambio_keys_count_") && !strings.Contains(asked, base) {
			t.Errorf("nobody looks at %s", metric)
		}
	}
}

func TestAMistakeInAnExpressionIsFound(t *testing.T) {
	there := parsePublished("cambio_a_total{endpoint=\"token\",outcome=\"granted\"} 1\ncambio_b_bucket{le=\"1\"} 2\n")
	for expr, good := range map[string]bool{
		`sum by (outcome) (rate(cambio_a_total{endpoint="token"}[5m])) > 0`:      true,
		`histogram_quantile(0.9, sum by (le) (rate(cambio_b_bucket[5m]))) > 1e3`: true,
		`cambio_a_total{instance=~"$instance"} or up == 0`:                       true,
		`rate(cambio_c_total[5m])`:                                               false,
		`cambio_a_total{outcome="spent"}`:                                        false,
		`cambio_a_total{outcome=~"granted|spent"}`:                               false,
		`cambio_a_total{route="token"}`:                                          false,
		`cambio_a_total{endpoint=token}`:                                         false,
		`sum by (code) (cambio_a_total)`:                                         false,
		`sum(cambio_a_total`:                                                     false,
	} {
		if wrong := there.wrong(expr); (len(wrong) == 0) != good {
			t.Errorf("%s: %v", expr, wrong)
		}
	}
}
