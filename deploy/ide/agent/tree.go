package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// treeMark is the variable that every process of a program inherits. Process
// groups and sessions lose what detaches itself, as terminals and code-server's
// extension host do; the environment follows it.
const treeMark = "BERTH_TREE"

// tree is all processes that carry a mark, and their children, whatever these
// have done to their environment. What was in it once stays, also when its
// parent has ended.
type tree struct {
	mark  string
	known map[process]bool
}

// process is one life of a process ID: numbers are given again.
type process struct {
	pid     int
	started uint64 // clock ticks since boot
}

func newTree(mark string) *tree { return &tree{mark: mark, known: map[process]bool{}} }

// living returns the processes of the tree that have not ended.
func (t *tree) living() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	found := map[int]stat{}
	in := map[int]bool{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		if s, ok := statOf(pid); ok && !s.ended {
			found[pid] = s
			in[pid] = t.known[s.process] || t.marks(pid)
		}
	}
	for grown := true; grown; {
		grown = false
		for pid, s := range found {
			if !in[pid] && in[s.parent] {
				in[pid], grown = true, true
			}
		}
	}
	var all []process
	for pid, s := range found {
		if in[pid] {
			t.known[s.process] = true
			all = append(all, s.process)
		}
	}
	return all
}

// marks says whether a process was started with the mark.
func (t *tree) marks(pid int) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	mark := []byte(treeMark + "=" + t.mark)
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(v, mark) {
			return true
		}
	}
	return false
}

// stat is what /proc says of a process.
type stat struct {
	process
	parent int
	ended  bool // and waits to be collected
}

// statOf reads /proc/PID/stat, where the name in brackets may hold anything.
func statOf(pid int) (stat, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, false
	}
	parent, err1 := strconv.Atoi(fields[1])
	started, err2 := strconv.ParseUint(fields[19], 10, 64)
	ended := fields[0] == "Z" || fields[0] == "X"
	return stat{process{pid, started}, parent, ended}, err1 == nil && err2 == nil
}

// end asks all processes of the tree to end, and kills those that are still
// there after grace, until none is left.
func (t *tree) end(grace time.Duration) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	began, s := time.Now(), syscall.SIGTERM
	for asked := false; ; {
		left := t.living()
		if len(left) == 0 {
			return nil
		}
		over := time.Since(began)
		if over > grace {
			s = syscall.SIGKILL
		}
		if over > grace+5*time.Second { // a process that cannot be killed is the kernel's
			return errors.New("end processes: some do not end")
		}
		if s == syscall.SIGKILL || !asked {
			signalAll(left, s)
			asked = true
		}
		<-tick.C
	}
}

// signalAll sends a signal to each process. A handle is taken first and the
// process looked at again, so that a number that was given to another process
// meanwhile is left alone.
func signalAll(all []process, s syscall.Signal) {
	for _, one := range all {
		p, err := os.FindProcess(one.pid)
		if err != nil {
			continue
		}
		if now, ok := statOf(one.pid); ok && now.process == one {
			p.Signal(s)
		}
		p.Release()
	}
}
