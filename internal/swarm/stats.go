package swarm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// Stats are a container's counters at one time. Those of CPU, network and block
// devices count from its start.
type Stats struct {
	At         time.Time // by the engine's clock
	CPU        time.Duration
	Memory     int64 // bytes, without what the kernel can drop of its file cache
	NetIn      int64 // bytes
	NetOut     int64
	BlockRead  int64
	BlockWrite int64
	PIDs       int
}

// Stats reads the counters of a container of this engine's node. The engine is
// asked for one reading: what it streams costs it a reading each second. Engine
// 20.10 reads all that it is asked for at once a second, so an answer takes up to
// a second there. A container that is gone is CONTAINER_NOT_FOUND.
func (c *Client) Stats(ctx context.Context, engineID string) (Stats, error) {
	res, err := c.docker.ContainerStatsOneShot(ctx, engineID)
	if err != nil {
		return Stats{}, gone("read stats", err)
	}
	defer res.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		return Stats{}, fmt.Errorf("decode stats: %w", err)
	}
	return makeStats(s), nil
}

// gone is classify for what is about one container of this node.
func gone(doing string, err error) *ide.Error {
	if errdefs.IsNotFound(err) {
		return &ide.Error{Code: ide.ContainerNotFound, Message: "The container is gone.", Err: fmt.Errorf("%s: %w", doing, err), Permanent: true}
	}
	return classify(doing, err)
}

func makeStats(s container.StatsResponse) Stats {
	out := Stats{At: s.Read, CPU: time.Duration(s.CPUStats.CPUUsage.TotalUsage), PIDs: int(s.PidsStats.Current)}
	cache := s.MemoryStats.Stats["inactive_file"] // cgroup v2
	if v1, ok := s.MemoryStats.Stats["total_inactive_file"]; ok {
		cache = v1
	}
	if s.MemoryStats.Usage > cache {
		out.Memory = int64(s.MemoryStats.Usage - cache)
	}
	for _, n := range s.Networks {
		out.NetIn += int64(n.RxBytes)
		out.NetOut += int64(n.TxBytes)
	}
	for _, e := range s.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(e.Op) {
		case "read":
			out.BlockRead += int64(e.Value)
		case "write":
			out.BlockWrite += int64(e.Value)
		}
	}
	return out
}

// Limits returns what a container of this engine's node may use: CPU in
// nano-CPUs, memory in bytes; 0 is no limit.
func (c *Client) Limits(ctx context.Context, engineID string) (cpu, memory int64, err error) {
	in, err := c.docker.ContainerInspect(ctx, engineID)
	if err != nil {
		return 0, 0, gone("inspect container", err)
	}
	if in.ContainerJSONBase == nil || in.HostConfig == nil {
		return 0, 0, nil
	}
	return in.HostConfig.NanoCPUs, in.HostConfig.Memory, nil
}

// Addresses counts the addresses of the containers' network. Each task on it
// has one, and each node with such tasks has one of its own.
func (c *Client) Addresses(ctx context.Context) (ide.Addresses, error) {
	n, err := c.docker.NetworkInspect(ctx, c.cfg.Network, network.InspectOptions{})
	if err != nil {
		return ide.Addresses{}, classify("inspect network", err)
	}
	a := ide.Addresses{At: time.Now().UTC()}
	for _, pool := range n.IPAM.Config {
		if p, err := netip.ParsePrefix(pool.Subnet); err == nil && p.Addr().Is4() {
			a.Total += 1<<(32-p.Bits()) - 3 // less the network's own, its gateway's and the broadcast address
		}
	}
	tasks, err := c.docker.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("desired-state", "running"))})
	if err != nil {
		return ide.Addresses{}, classify("list tasks", err)
	}
	taken, nodes := 0, map[string]bool{}
	for _, t := range tasks {
		if _, ok := c.address(t); ok {
			taken++
			nodes[t.NodeID] = true
		}
	}
	a.Free = max(a.Total-taken-len(nodes), 0)
	return a, nil
}
