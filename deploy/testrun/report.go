package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// slowest is how many tests the report lists.
const slowest = 10

// key names a test of a run.
type key struct{ lane, pkg, test string }

// result is what became of a test, over all its runs.
type result struct {
	key
	outcomes []string // pass, fail or skip, in the order of the runs
	seconds  float64  // of the longest run
	output   []string // one for each run
}

// flaky is a line of bin/flaky.json.
type flaky struct {
	Lane    string `json:"lane"`
	Package string `json:"package"`
	Test    string `json:"test"`
	Output  string `json:"output"` // of the run that failed
}

// report summarizes the events in dir: LANE.json has those that gotestsum has
// recorded, and playwright-*.json is Playwright's report. It writes the tests
// that failed and then passed to flakyFile. It returns errFailed if a test has failed
// last.
func report(dir, flakyFile string, out io.Writer) error {
	results, err := readResults(dir)
	if err != nil {
		return err
	}
	again, err := readPlaywright(dir)
	if err != nil {
		return err
	}
	var passed, failed, skipped int
	for _, r := range results {
		switch last := r.outcomes[len(r.outcomes)-1]; {
		case last == "fail":
			failed++
		case last == "skip":
			skipped++
			fmt.Fprintf(out, "skipped %s %s: %s\n", r.pkg, r.test, reason(r.output[len(r.output)-1]))
		default:
			passed++
			if i := slices.Index(r.outcomes, "fail"); i >= 0 && r.test != "" {
				again = append(again, flaky{r.lane, r.pkg, r.test, r.output[i]})
			}
		}
	}
	fmt.Fprintln(out, "the slowest tests:")
	sort.SliceStable(results, func(i, j int) bool { return results[i].seconds > results[j].seconds })
	for _, r := range topLevel(results, slowest) {
		fmt.Fprintf(out, "  %6.1f s  %-10s %s %s\n", r.seconds, r.lane, strings.TrimPrefix(r.pkg, module+"/"), r.test)
	}
	for _, f := range again {
		fmt.Fprintf(out, "FLAKY %s %s, in %s: it failed and then passed alone. It said first:\n%s\n", f.Package, f.Test, f.Lane, indent(f.Output))
	}
	text, err := json.MarshalIndent(append([]flaky{}, again...), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(flakyFile, append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if failed > 0 {
		return errFailed
	}
	return nil
}

func readResults(dir string) ([]*result, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []*result
	for _, path := range files {
		lane := strings.TrimSuffix(filepath.Base(path), ".json")
		if strings.HasPrefix(lane, "playwright") {
			continue
		}
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		tests := map[key]*result{}
		err = read(file, func(e event) {
			k := key{lane, e.Package, e.Test}
			switch e.Action {
			case "run":
				if tests[k] == nil {
					tests[k] = &result{key: k}
					all = append(all, tests[k])
				}
				tests[k].output = append(tests[k].output, "")
			case "output":
				if r := tests[k]; r != nil {
					r.output[len(r.output)-1] += e.Output
				}
			case "pass", "fail", "skip":
				if r := tests[k]; r != nil {
					r.outcomes = append(r.outcomes, e.Action)
					r.seconds = max(r.seconds, e.Elapsed)
				} else if e.Action == "fail" {
					all = append(all, &result{key: k, outcomes: []string{"fail"}, output: []string{""}})
				}
			}
		})
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, r := range tests { // what has begun and not ended
			if len(r.outcomes) < len(r.output) {
				r.outcomes = append(r.outcomes, "fail")
			}
		}
	}
	return withoutPackages(all), nil
}

// withoutPackages drops failures of packages that a failed test explains.
func withoutPackages(all []*result) []*result {
	explained := map[key]bool{}
	for _, r := range all {
		if r.test != "" && slices.Contains(r.outcomes, "fail") {
			explained[key{r.lane, r.pkg, ""}] = true
		}
	}
	return slices.DeleteFunc(all, func(r *result) bool { return r.test == "" && explained[r.key] })
}

// topLevel returns the first n results that are not of subtests.
func topLevel(results []*result, n int) []*result {
	var list []*result
	for _, r := range results {
		if r.test != "" && !strings.Contains(r.test, "/") && len(list) < n {
			list = append(list, r)
		}
	}
	return list
}

// reason is what a skipped test has said, without its file and line.
func reason(output string) string {
	for line := range strings.Lines(output) {
		if _, said, ok := strings.Cut(strings.TrimSpace(line), ".go:"); ok {
			_, said, _ = strings.Cut(said, ": ")
			return said
		}
	}
	return "it gave no reason"
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// playwrightSuite is the part of Playwright's JSON report that matters
// (https://playwright.dev/docs/test-reporters#json-reporter).
type playwrightSuite struct {
	Title  string            `json:"title"`
	Suites []playwrightSuite `json:"suites"`
	Specs  []struct {
		Title string `json:"title"`
		Tests []struct {
			Status  string `json:"status"` // expected, unexpected, flaky or skipped
			Results []struct {
				Error struct {
					Message string `json:"message"`
				} `json:"error"`
			} `json:"results"`
		} `json:"tests"`
	} `json:"specs"`
}

func readPlaywright(dir string) ([]flaky, error) {
	files, err := filepath.Glob(filepath.Join(dir, "playwright-*.json"))
	if err != nil {
		return nil, err
	}
	var list []flaky
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var top playwrightSuite
		if err := json.Unmarshal(text, &top); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, top.flaky(strings.TrimSuffix(filepath.Base(path), ".json"))...)
	}
	return list, nil
}

func (s playwrightSuite) flaky(lane string) (list []flaky) {
	for _, inner := range s.Suites {
		list = append(list, inner.flaky(lane)...)
	}
	for _, spec := range s.Specs {
		for _, t := range spec.Tests {
			if t.Status == "flaky" && len(t.Results) > 0 {
				list = append(list, flaky{lane, s.Title, spec.Title, t.Results[0].Error.Message})
			}
		}
	}
	return list
}
