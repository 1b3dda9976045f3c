package swarmtest

import (
	"time"

	"github.com/docker/docker/api/types/container"
)

// Use is what a container does from its start on.
type Use struct {
	Cores   float64 // that it keeps busy
	Memory  int64   // bytes, beside which it has a MiB of file cache that can be dropped
	Traffic float64 // bytes a second that it receives, sends, reads and writes
}

// SetUse says what the containers of a service (by name) do; without it they
// idle with 1 MiB.
func (s *Server) SetUse(service string, u Use) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.service(service)
	if x == nil {
		return
	}
	for _, t := range s.tasks {
		if t.ServiceID == x.ID {
			t.use = u
		}
	}
}

// stats are the counters of a task's container, in the form of cgroup v2; those
// of one that has ended are zero, as in Docker.
func (t *task) stats() container.StatsResponse {
	now := time.Now().UTC()
	out := container.StatsResponse{ID: t.container, Name: "/" + t.container}
	if !t.running {
		return out
	}
	u := t.use
	if u.Memory == 0 {
		u.Memory = 1 << 20
	}
	const cache = 1 << 20
	out.Read = now
	age := now.Sub(t.began).Seconds()
	bytes := uint64(age * u.Traffic)
	out.CPUStats.CPUUsage.TotalUsage = uint64(age * u.Cores * 1e9)
	out.CPUStats.OnlineCPUs = 4
	out.MemoryStats = container.MemoryStats{Usage: uint64(u.Memory) + cache, Limit: 8 << 30, Stats: map[string]uint64{"inactive_file": cache}}
	out.PidsStats.Current = 2
	out.Networks = map[string]container.NetworkStats{"eth0": {RxBytes: bytes, TxBytes: bytes}}
	out.BlkioStats.IoServiceBytesRecursive = []container.BlkioStatEntry{{Major: 8, Op: "read", Value: bytes}, {Major: 8, Op: "write", Value: bytes}}
	return out
}
