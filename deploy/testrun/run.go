package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Unit tests of two packages run at once, eight of each: most of them wait.
const (
	packagesAtOnce = 2
	unitsAtOnce    = "8"
	unitTimeout    = "10m"
	laneTimeout    = "30m"
)

// errFailed says that a test has failed; its events tell the rest. Any other
// error of a run ends gotestsum with a failure, without a second run.
var errFailed = errors.New("a test has failed")

// target is one test binary with its arguments.
type target struct {
	pkg  string // its folder in the repository
	args []string
	want []string // tests that have to run and may not be skipped
}

// runner runs compiled test binaries and writes their events as test2json does.
// It is gotestsum's raw command: to run a failed test again, gotestsum adds
// -test.run=PATTERN and the package to the arguments of the first run.
type runner struct {
	suites *suites
	root   string // of the repository
	log    string // all events of the lane are appended here
	out    io.Writer

	mu     sync.Mutex
	stored io.Writer
}

func (r *runner) run(laneName string, again []string) error {
	if len(again) > 0 {
		if err := r.mayRunAgain(again); err != nil {
			return err
		}
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if len(again) > 0 {
		flags = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	file, err := os.OpenFile(r.log, flags, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	r.stored = file

	targets, lab, atOnce, err := r.targets(laneName)
	if err != nil {
		return err
	}
	if len(again) == 2 {
		targets = slices.DeleteFunc(targets, func(t target) bool { return importPath(t.pkg) != again[1] })
		for i := range targets {
			targets[i].args, targets[i].want = append(targets[i].args, again[0]), []string{rootOf(again[0])}
		}
	}
	if len(targets) == 0 {
		return fmt.Errorf("the lane %s has no tests: are they compiled?", laneName)
	}
	var wg sync.WaitGroup
	var errs []error
	slots := make(chan struct{}, atOnce)
	for _, t := range targets {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := r.one(t, lab); err != nil {
				r.mu.Lock()
				errs = append(errs, err)
				r.mu.Unlock()
			}
		})
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return !errors.Is(err, errFailed) }); i >= 0 {
		return errs[i]
	}
	return errors.Join(errs...)
}

// targets returns what a lane runs, whether it runs in a lab, and how many
// packages run at once.
func (r *runner) targets(name string) (targets []target, lab bool, atOnce int, err error) {
	if name != "unit" {
		l := r.suites.lane(name)
		if l == nil {
			return nil, false, 0, fmt.Errorf("deploy/suites has no lane %q", name)
		}
		for _, pkg := range l.packages {
			args := []string{"-test.run=" + anyOf(l.tests[pkg]), "-test.parallel=" + l.atOnce, "-test.timeout=" + laneTimeout}
			targets = append(targets, target{pkg, args, l.tests[pkg]})
		}
		return targets, true, 1, nil
	}
	packages, err := r.compiled()
	if err != nil {
		return nil, false, 0, err
	}
	for _, pkg := range packages {
		args := []string{"-test.parallel=" + unitsAtOnce, "-test.timeout=" + unitTimeout}
		var want []string // nil: at least one
		if there := r.suites.inLanes(pkg); len(there) > 0 {
			args, want = append(args, "-test.skip="+anyOf(there)), []string{} // there may be no other
		}
		targets = append(targets, target{pkg, args, want})
	}
	return targets, false, packagesAtOnce, nil
}

// compiled lists the packages that have a test binary below bin/tests, those
// that take longest first.
func (r *runner) compiled() ([]string, error) {
	var packages []string
	base := filepath.Join(r.root, "bin", "tests")
	err := filepath.WalkDir(base, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == binary {
			rel, relErr := filepath.Rel(base, filepath.Dir(path))
			packages, err = append(packages, filepath.ToSlash(rel)), relErr
		}
		return err
	})
	slices.SortStableFunc(packages, func(a, b string) int { return r.rank(a) - r.rank(b) })
	return packages, err
}

func (r *runner) rank(pkg string) int {
	if i := slices.Index(r.suites.first, pkg); i >= 0 {
		return i
	}
	return len(r.suites.first)
}

// binary is the name of the test binary in its package's folder below bin/tests.
const binary = "test"

// one runs one test binary in its package's folder and passes its events on.
func (r *runner) one(t target, lab bool) error {
	args := []string{"tool", "test2json", "-t", "-p", importPath(t.pkg)}
	if lab {
		args = append(args, filepath.Join(r.root, "deploy", "lab", "lab"), "exec")
	} else {
		// A network of its own: no address outside, and no port of another package.
		args = append(args, "unshare", "--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh")
	}
	// As go test does: os.Exit(0) in a test is a panic.
	args = append(args, filepath.Join(r.root, "bin", "tests", t.pkg, binary), "-test.v=test2json", "-test.paniconexit0")
	if dir := os.Getenv("TEST_COVERDIR"); dir != "" {
		args = append(args, "-test.gocoverdir="+dir)
	}
	cmd := exec.Command("go", append(args, t.args...)...)
	cmd.Dir = filepath.Join(r.root, t.pkg)
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	var seen outcome
	for lines := bufio.NewReader(events); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.write(line)
			seen.add(line)
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	if stderr.Len() > 0 { // test2json's own; the tests' is among the events
		return fmt.Errorf("%s: %w: %s", t.pkg, err, stderr.String())
	}
	return seen.judge(t, err)
}

// outcome is what the events of one test binary have shown.
type outcome struct {
	ended   string // PASS or FAIL, as the testing package prints it last
	results map[string]string
}

func (o *outcome) add(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		return
	}
	switch {
	case e.Action == "output" && e.Test == "" && (e.Output == "PASS\n" || e.Output == "FAIL\n"):
		o.ended = strings.TrimSpace(e.Output)
	case e.Test == "" || strings.Contains(e.Test, "/"):
	case e.Action == "pass" || e.Action == "fail" || e.Action == "skip":
		if o.results == nil {
			o.results = map[string]string{}
		}
		o.results[e.Test] = e.Action
	}
}

// judge says what a test binary's end means: exit is that of its process. Where
// tests may have been left out the error is not errFailed, so nothing runs again.
func (o *outcome) judge(t target, exit error) error {
	switch {
	case exit != nil && o.ended != "FAIL":
		return fmt.Errorf("%s ended in the middle of its tests: %w", t.pkg, exit)
	case exit == nil && o.ended != "PASS":
		return fmt.Errorf("%s ended without the word of its tests", t.pkg)
	case len(o.results) == 0 && t.want == nil && exit == nil:
		return fmt.Errorf("%s ran no test", t.pkg)
	}
	for _, name := range t.want {
		switch o.results[name] {
		case "":
			return fmt.Errorf("%s did not run %s", t.pkg, name)
		case "skip":
			return fmt.Errorf("%s skipped %s, which needs what this machine does not have; the events say what", t.pkg, name)
		}
	}
	if exit != nil {
		return errFailed
	}
	return nil
}

func (r *runner) write(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Write(line)
	r.stored.Write(line)
}

// never matches what a failed test says where a second run could hide a fault
// of the product: a check of an invariant, of goroutines, or of memory.
var never = regexp.MustCompile(`(?m)\.go:\d+: .*\b(lost|double|twice|left behind|(is|are) left|still has)\b|^\s*left behind|DATA RACE|^panic: |^fatal error: |goleak|found unexpected goroutines`)

// mayRunAgain reads what the test has said in its first run.
func (r *runner) mayRunAgain(again []string) error {
	if len(again) != 2 || again[0] == "-test.run=^$" {
		return errors.New("a package that fails without a failed test is not run again")
	}
	file, err := os.Open(r.log)
	if err != nil {
		return err
	}
	defer file.Close()
	root := rootOf(again[0])
	said := strings.Builder{}
	err = read(file, func(e event) {
		name, _, _ := strings.Cut(e.Test, "/")
		if e.Action == "output" && e.Package == again[1] && (name == root || name == "") {
			said.WriteString(e.Output)
		}
	})
	if err != nil {
		return err
	}
	if found := never.FindString(said.String()); found != "" {
		return fmt.Errorf("%s of %s is not run again, because it said %q", root, again[1], strings.TrimSpace(found))
	}
	return nil
}

// rootOf returns the test that gotestsum's flag -test.run=^TestA$ names, or whose
// subtest -test.run=^TestA$/^b$ names.
func rootOf(flag string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(flag, "-test.run=^"), "$")
	return name
}

// event is a line of test2json (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string  `json:",omitempty"`
	Elapsed float64 `json:",omitempty"` // seconds
	Output  string  `json:",omitempty"`
}

// read calls do for each event.
func read(r io.Reader, do func(event)) error {
	for d := json.NewDecoder(r); ; {
		var e event
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read events: %w", err)
		}
		do(e)
	}
}

// anyOf is the pattern that matches these names and no others.
func anyOf(names []string) string { return "^(" + strings.Join(names, "|") + ")$" }

// module is the path of our module.
const module = "berth"

func importPath(pkg string) string {
	if pkg == "." {
		return module
	}
	return module + "/" + pkg
}
