// Package lab gives tests the real Swarm that deploy/lab has started: its engines, and the means to cut a node off, stop
// an engine, or run a process on a node's edge. Tests that use it run inside the lab (`lab exec go test …`), where
// nothing outside can be reached.
package lab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Lab is a running lab. Its methods fail the test they belong to.
type Lab struct {
	Name       string
	Dir        string
	ClientAddr string // this process's address, as nodes and edges see it
	Nodes      []Node // n1, a manager, is first

	t      testing.TB
	script string
}

// Node is one engine.
type Node struct {
	Name     string // its host name: n1, n2 …
	Addr     string
	Sock     string // unix:///…: what DOCKER_HOST takes
	NetNS    string
	ExecRoot string // the engine's exec-root: ExecRoot/netns holds the overlays' namespaces
}

// commandTimeout ends a lab command that hangs: what the script waits for, it waits for up to two minutes.
const commandTimeout = 10 * time.Minute

// Open returns the lab that LAB_DIR names. Without one the test is skipped, except where CI is set: there a lab that did
// not start must not look like a pass. What the test stopped or cut is put back when it ends.
func Open(t testing.TB) *Lab {
	t.Helper()
	dir := os.Getenv("LAB_DIR")
	if dir == "" {
		const msg = "needs the lab: run make lab-test"
		if ci := os.Getenv("CI"); ci != "" && ci != "false" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	l, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.t = t
	return l
}

// read parses the env file that the lab script keeps.
func read(dir string) (*Lab, error) {
	text, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		return nil, fmt.Errorf("read lab: %w", err)
	}
	env := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		key, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		if ok {
			env[key] = strings.Trim(value, `"`)
		}
	}
	l := &Lab{Name: env["LAB_NAME"], Dir: env["LAB_DIR"], ClientAddr: env["LAB_CLIENT_ADDR"], script: env["LAB_SCRIPT"]}
	for _, name := range strings.Fields(env["LAB_NODES"]) {
		key := "LAB_" + strings.ToUpper(name) + "_"
		l.Nodes = append(l.Nodes, Node{
			Name: name, Addr: env[key+"ADDR"], Sock: env[key+"SOCK"], NetNS: env[key+"NETNS"], ExecRoot: env[key+"EXEC_ROOT"],
		})
	}
	if l.Dir == "" || l.script == "" || len(l.Nodes) == 0 {
		return nil, fmt.Errorf("read lab: %s/env names no lab", dir)
	}
	return l, nil
}

// Node returns the node of that name.
func (l *Lab) Node(name string) Node {
	l.t.Helper()
	i := slices.IndexFunc(l.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		l.t.Fatalf("the lab has no node %q", name)
	}
	return l.Nodes[i]
}

// Need skips the test if the lab has fewer than n nodes; where CI is set it fails, as Open does.
func (l *Lab) Need(n int) {
	l.t.Helper()
	if len(l.Nodes) >= n {
		return
	}
	if ci := os.Getenv("CI"); ci != "" && ci != "false" {
		l.t.Fatalf("needs a lab of %d nodes, this one has %d", n, len(l.Nodes))
	}
	l.t.Skipf("needs a lab of %d nodes, this one has %d", n, len(l.Nodes))
}

// Cut unplugs the node's network cable until Heal, or until the test ends.
func (l *Lab) Cut(node string) {
	l.t.Helper()
	l.t.Cleanup(func() {
		if slices.ContainsFunc(l.Nodes, func(n Node) bool { return n.Name == node }) { // it has not parted
			l.Heal(node)
		}
	})
	l.run("cut", node)
}

// Heal plugs the node's cable in again. The Swarm calls it Ready some seconds later.
func (l *Lab) Heal(node string) {
	l.t.Helper()
	l.run("heal", node)
}

// Join starts one more engine, which joins the Swarm as a worker, with an edge; it
// has no images. Part takes it away again, and so does the end of the test.
func (l *Lab) Join(number int) Node {
	l.t.Helper()
	name := fmt.Sprintf("n%d", number)
	l.t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(l.Dir, name)); err == nil {
			l.Part(number)
		}
	})
	l.run("join", fmt.Sprint(number))
	l.run("edges")
	now, err := read(l.Dir)
	if err != nil {
		l.t.Fatal(err)
	}
	l.Nodes = now.Nodes
	return l.Node(name)
}

// Part takes an engine that has joined away, with all it has.
func (l *Lab) Part(number int) {
	l.t.Helper()
	l.run("part", fmt.Sprint(number))
	l.Nodes = slices.DeleteFunc(l.Nodes, func(n Node) bool { return n.Name == fmt.Sprintf("n%d", number) })
}

// How an engine stops.
type How string

const (
	Politely How = ""        // SIGTERM: containers are stopped first
	Kill     How = "--kill"  // SIGKILL of dockerd: containers stay
	Power    How = "--power" // everything on the node is gone at once
)

// StopEngine stops the node's engine until StartEngine, or until the test ends.
func (l *Lab) StopEngine(node string, how How) {
	l.t.Helper()
	args := []string{"stop-engine", node}
	if how != Politely {
		args = append(args, string(how))
	}
	l.t.Cleanup(func() {
		if !l.running(node) {
			l.StartEngine(node)
		}
	})
	l.run(args...)
}

// StartEngine starts the node's engine with the data it had.
func (l *Lab) StartEngine(node string) {
	l.t.Helper()
	l.run("start-engine", node)
}

// running says whether the node's engine process is there.
func (l *Lab) running(node string) bool {
	pid, err := os.ReadFile(filepath.Join(l.Dir, node, "dockerd.pid"))
	if err != nil {
		return false
	}
	args, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/cmdline")
	return err == nil && bytes.Contains(args, []byte("--pidfile="+filepath.Join(l.Dir, node, "dockerd.pid")))
}

// EdgeCommand prepares a command that runs in the network of the node's edge task (`lab edges` has started one): it has
// an address on the overlay, resolves the names of services, and reaches ClientAddr. The command is the process itself,
// leads a process group of its own, and is killed with its group when ctx ends.
func (l *Lab) EdgeCommand(ctx context.Context, node, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, l.script, slices.Concat([]string{"edge-exec", "--name", l.Name, node, name}, args)...)
	cmd.Env = l.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run runs one command of the lab script. It outlives the test's own context: clean-up uses it too.
func (l *Lab) run(args ...string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.script, slices.Insert(args, 1, "--name", l.Name)...)
	cmd.Env = l.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("lab %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (l *Lab) env() []string {
	return append(os.Environ(), "LAB_NAME="+l.Name, "LAB_DIR="+l.Dir)
}
