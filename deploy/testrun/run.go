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
		if len(targets) != 1 {
			return fmt.Errorf("the lane %s has no package %s", laneName, again[1])
		}
		targets[0].args = append(targets[0].args, again[0])
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
			targets = append(targets, target{pkg, []string{"-test.run=" + anyOf(l.tests[pkg]), "-test.parallel=" + l.atOnce, "-test.timeout=" + laneTimeout}})
		}
		return targets, true, 1, nil
	}
	packages, err := r.compiled()
	if err != nil {
		return nil, false, 0, err
	}
	for _, pkg := range packages {
		args := []string{"-test.parallel=" + unitsAtOnce, "-test.timeout=" + unitTimeout}
		if there := r.suites.inLanes(pkg); len(there) > 0 {
			args = append(args, "-test.skip="+anyOf(there))
		}
		targets = append(targets, target{pkg, args})
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
	args = append(args, filepath.Join(r.root, "bin", "tests", t.pkg, binary), "-test.v=test2json")
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
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.write(line)
		}
		if err != nil {
			break
		}
	}
	switch err := cmd.Wait(); {
	case err == nil:
		return nil
	case stderr.Len() > 0: // test2json's own; the tests' is among the events
		return fmt.Errorf("%s: %w: %s", t.pkg, err, stderr.String())
	}
	return errFailed
}

func (r *runner) write(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Write(line)
	r.stored.Write(line)
}

// never matches what a failed test says where a second run could hide a fault
// of the product: a check of an invariant, of goroutines, or of memory.
var never = regexp.MustCompile(`(?m)^\s*\S+\.go:\d+: (lost|double|left behind)|DATA RACE|^panic: |goleak|found unexpected goroutines`)

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
	name := regexp.MustCompile(strings.ReplaceAll(strings.TrimPrefix(again[0], "-test.run="), "$/^", "/"))
	said := strings.Builder{}
	err = read(file, func(e event) {
		if e.Action == "output" && e.Package == again[1] && (name.MatchString(e.Test) || e.Test == "") {
			said.WriteString(e.Output)
		}
	})
	if err != nil {
		return err
	}
	if found := never.FindString(said.String()); found != "" {
		return fmt.Errorf("%s of %s is not run again: it said %q", again[0], again[1], strings.TrimSpace(found))
	}
	return nil
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
