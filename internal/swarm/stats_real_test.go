package swarm_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/lab"
	"berth/internal/swarm"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"
)

// BenchmarkStats is what it costs to read the counters of 50 containers of a
// real engine, as each worker does every 10 s: CPU of this process and of the
// engine with its containerd, as a share of one core. The goal is at most 2 %
// together.
func BenchmarkStats(b *testing.B) {
	const many, every = 50, 10 * time.Second
	l, engines := realLab(b)
	instance := "b" + ide.NewID()
	c, err := swarm.New(swarm.Config{Host: l.Nodes[0].Sock, Instance: instance})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for range many {
		made, err := engines[0].ContainerCreate(b.Context(), &container.Config{Image: imageServes,
			Labels: map[string]string{swarm.LabelInstance: instance, swarm.LabelID: ide.NewID(), swarm.LabelRun: "1"}},
			&container.HostConfig{Resources: container.Resources{NanoCPUs: 1e8, Memory: 64 << 20}}, nil, nil, "")
		if err != nil {
			b.Fatal(err)
		}
		defer engines[0].ContainerRemove(b.Context(), made.ID, container.RemoveOptions{Force: true})
		if err := engines[0].ContainerStart(b.Context(), made.ID, container.StartOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	daemons := processes(b, l.Nodes[0])
	ours, theirs := ownCPU(b), cpuOf(daemons)
	began := time.Now()
	for b.Loop() {
		list, err := c.LocalContainers(b.Context())
		if err != nil || len(list) != many {
			b.Fatalf("%d containers are listed, want %d: %v", len(list), many, err)
		}
		var group errgroup.Group
		for _, one := range list {
			group.Go(func() error { _, err := c.Stats(b.Context(), one.EngineID); return err })
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(began)
	ours, theirs = ownCPU(b)-ours, cpuOf(daemons)-theirs
	share := func(cpu time.Duration) float64 { return cpu.Seconds() / float64(b.N) / every.Seconds() * 100 }
	b.ReportMetric(share(ours), "%-of-a-core-worker")
	b.ReportMetric(share(theirs), "%-of-a-core-engine")
	b.ReportMetric(took.Seconds()/float64(b.N)*1000, "ms-a-round")
	b.ReportMetric(0, "ns/op")
}

// processes are the node's dockerd and its containerd, but no shims.
func processes(b *testing.B, n lab.Node) (pids []int) {
	b.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range all {
		text, _ := os.ReadFile(path)
		words := bytes.Split(text, []byte{0})
		name := filepath.Base(string(words[0]))
		if (name == "dockerd" || name == "containerd") && bytes.Contains(text, []byte(n.ExecRoot)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	if len(pids) < 2 {
		b.Fatalf("found %v of the engine's processes", pids)
	}
	return pids
}

// cpuOf is the CPU that processes have used, from /proc/PID/stat in
// hundredths of a second.
func cpuOf(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		for _, i := range []int{11, 12} { // utime, stime
			if i < len(fields) {
				ticks, _ := strconv.Atoi(fields[i])
				sum += time.Duration(ticks) * 10 * time.Millisecond
			}
		}
	}
	return sum
}

func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
