package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// events writes the events of a run to a file: those of a test that says what is
// given, and ends so.
func events(t *testing.T, name, said, end string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	var b bytes.Buffer
	add := func(action, output string) {
		b.WriteString(`{"Action":"` + action + `","Package":"berth/x","Test":"TestA","Elapsed":1.5,"Output":"` + output + `"}` + "\n")
	}
	add("run", "")
	add("output", said+`\n`)
	add(end, "")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatMustNotRunAgain(t *testing.T) {
	t.Parallel()
	again := []string{"-test.run=^TestA$", "berth/x"}
	for said, may := range map[string]bool{
		"    a_test.go:3: not within 30s: EOF":             true,
		"    a_test.go:3: job 3 was lost":                  false,
		"    a_test.go:3: 2 reservations are left":         false,
		"text    a_test.go:3: left behind: berth-a":        false,
		"fatal error: sync: unlock of unlocked mutex":      false,
		"    a_test.go:3: lost: 2 files":                   false,
		"    a_test.go:3: double: two services of one job": false,
		"    a_test.go:3: left behind: berth-a":            false,
		"WARNING: DATA RACE":                               false,
		"panic: nil":                                       false,
		"goleak: Errors on successful test run":            false,
	} {
		r := runner{log: events(t, "unit.events", said, "fail")}
		if err := r.mayRunAgain(again); (err == nil) != may {
			t.Errorf("%q: got %v, want a second run: %v", said, err, may)
		}
	}
	sub := events(t, "unit.events", "    a_test.go:3: left behind: berth-a", "fail")
	text, err := os.ReadFile(sub)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sub, bytes.ReplaceAll(text, []byte(`"TestA"`), []byte(`"TestA/b"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&runner{log: sub}).mayRunAgain(again); err == nil {
		t.Error("a test whose subtest left something behind is run again")
	}
	r := runner{log: events(t, "unit.events", "", "fail")}
	if err := r.mayRunAgain([]string{"-test.run=^$", "berth/x"}); err == nil {
		t.Error("a package that fails without a failed test is run again")
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := os.ReadFile(events(t, "a", "    a_test.go:7: late", "fail"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(events(t, "a", "fine", "pass"))
	if err != nil {
		t.Fatal(err)
	}
	skipped := strings.ReplaceAll(string(first), "TestA", "TestB")
	skipped = strings.ReplaceAll(strings.ReplaceAll(skipped, `"fail"`, `"skip"`), "late", "no engine")
	failed := strings.ReplaceAll(string(first), "TestA", "TestC")
	pkg := `{"Action":"fail","Package":"berth/y"}` + "\n"
	all := string(first) + string(second) + skipped + failed + `{"Action":"fail","Package":"berth/x"}` + "\n" + pkg
	if err := os.WriteFile(filepath.Join(dir, "unit.json"), []byte(all), 0o600); err != nil {
		t.Fatal(err)
	}
	play := `{"suites":[{"title":"pages.spec.ts","specs":[{"title":"keyboard","tests":[{"status":"flaky","results":[{"error":{"message":"too late"}}]}]}]}]}`
	if err := os.WriteFile(filepath.Join(dir, "playwright-pages.json"), []byte(play), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "flaky.out")
	var out bytes.Buffer
	if err := report(dir, file, &out); !errors.Is(err, errFailed) {
		t.Fatalf("got %v, want an error: two tests have failed", err)
	}
	for _, want := range []string{
		"FLAKY berth/x TestA, in unit", "a_test.go:7: late", "FLAKY pages.spec.ts keyboard, in playwright-pages", "too late",
		"skipped berth/x TestB: no engine", "1.5 s", "1 passed, 2 failed, 1 skipped",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), `"test"`) != 2 {
		t.Errorf("flaky tests: %v: %s", err, text)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, pkg := range []string{"a", "b", "internal/x", "."} {
		dir := filepath.Join(root, "bin", "tests", pkg)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, binary), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s, err := parseSuites(strings.NewReader("suite s 1 text\nlane l s 2 6\ntests l internal/x TestReal\nfirst b ."))
	if err != nil {
		t.Fatal(err)
	}
	r := runner{suites: s, root: root}
	units, lab, _, err := r.targets("unit")
	if err != nil || lab {
		t.Fatalf("unit: lab %v, %v", lab, err)
	}
	var order []string
	for _, u := range units {
		order = append(order, u.pkg)
	}
	if got, want := strings.Join(order, " "), "b . a internal/x"; got != want {
		t.Errorf("the packages are %s, want %s", got, want)
	}
	if got := strings.Join(units[3].args, " "); !strings.Contains(got, "-test.skip=^(TestReal)$") {
		t.Errorf("a lane's test runs among the unit tests: %s", got)
	}
	inLane, lab, _, err := r.targets("l")
	if err != nil || !lab || len(inLane) != 1 || !strings.Contains(strings.Join(inLane[0].args, " "), "-test.run=^(TestReal)$ -test.parallel=6") {
		t.Errorf("lane: %+v, lab %v, %v", inLane, lab, err)
	}
	if _, _, _, err := r.targets("x"); err == nil {
		t.Error("a lane that is in no suite runs")
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const (
		pass = `{"Action":"output","Output":"PASS\n"}`
		fail = `{"Action":"output","Output":"FAIL\n"}`
		a    = `{"Action":"pass","Test":"TestA"}`
		aBad = `{"Action":"fail","Test":"TestA"}`
		skip = `{"Action":"skip","Test":"TestA"}`
	)
	died := errors.New("exit status 2")
	for name, c := range map[string]struct {
		lines []string
		want  []string
		exit  error
		say   string // part of the error; empty: none; "failed": errFailed
	}{
		"passed":                  {lines: []string{a, pass}},
		"failed":                  {lines: []string{aBad, fail}, exit: died, say: "failed"},
		"died in the middle":      {lines: []string{aBad}, exit: died, say: "in the middle"},
		"exit 0 in the middle":    {lines: []string{a}, say: "without the word"},
		"no test":                 {lines: []string{pass}, say: "ran no test"},
		"a lane's test is absent": {lines: []string{a, pass}, want: []string{"TestA", "TestB"}, say: "did not run TestB"},
		"a lane's test skipped":   {lines: []string{skip, pass}, want: []string{"TestA"}, say: "skipped TestA"},
	} {
		var o outcome
		for _, l := range c.lines {
			o.add([]byte(l))
		}
		switch err := o.judge(target{pkg: "x", want: c.want}, c.exit); {
		case c.say == "" && err != nil, c.say == "failed" && !errors.Is(err, errFailed):
			t.Errorf("%s: got %v", name, err)
		case c.say != "" && c.say != "failed" && (err == nil || errors.Is(err, errFailed) || !strings.Contains(err.Error(), c.say)):
			t.Errorf("%s: got %v, want %q", name, err, c.say)
		}
	}
}
