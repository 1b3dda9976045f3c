package main

import (
	"bytes"
	"context"
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
// have done to their environment.
type tree string

// living returns the processes of the tree that have not ended.
func (t tree) living() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	parents := map[int]int{}
	in := map[int]bool{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		parent, zombie, ok := parentOf(pid)
		if !ok || zombie {
			continue
		}
		parents[pid] = parent
		in[pid] = t.marks(pid)
	}
	for grown := true; grown; {
		grown = false
		for pid, parent := range parents {
			if !in[pid] && in[parent] {
				in[pid], grown = true, true
			}
		}
	}
	var all []int
	for pid, yes := range in {
		if yes && pid != os.Getpid() {
			all = append(all, pid)
		}
	}
	return all
}

// marks says whether a process was started with the mark.
func (t tree) marks(pid int) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	mark := []byte(treeMark + "=" + string(t))
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(v, mark) {
			return true
		}
	}
	return false
}

// parentOf reads /proc/PID/stat, where the name in brackets may hold anything.
func parentOf(pid int) (parent int, zombie, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, false
	}
	_, rest, found := strings.Cut(string(b[max(bytes.LastIndexByte(b, ')'), 0):]), ") ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 2 {
		return 0, false, false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, fields[0] == "Z" || fields[0] == "X", err == nil
}

// end asks all processes of the tree to end, and kills those that are still
// there after grace, until none is left.
func (t tree) end(grace time.Duration) error {
	if len(t.living()) == 0 {
		return nil
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	t.signal(syscall.SIGTERM)
	patience, stop := context.WithTimeout(context.Background(), grace)
	defer stop()
	for asked := true; len(t.living()) > 0; {
		select {
		case <-tick.C:
			if !asked {
				t.signal(syscall.SIGKILL)
			}
		case <-patience.Done():
			if !asked { // a process that cannot be killed is the kernel's
				return errors.New("end processes: some do not end")
			}
			asked = false
			t.signal(syscall.SIGKILL)
			patience, stop = context.WithTimeout(context.Background(), 5*time.Second)
			defer stop()
		}
	}
	return nil
}

// signal sends a signal to each process. A handle is taken first and the
// process looked at again, so that a number that was given to another process
// meanwhile is left alone.
func (t tree) signal(s syscall.Signal) {
	for _, pid := range t.living() {
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		if parent, _, ok := parentOf(pid); ok && (t.marks(pid) || parent != 1) {
			p.Signal(s)
		}
		p.Release()
	}
}
