package openapi

import (
	"context"
	"math"
	"net/http"
	"time"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// ResourceUsage is what a container uses, as its node's worker last measured
// it.
type ResourceUsage struct {
	At            time.Time  `json:"at" doc:"When it was measured"`
	CPU           float64    `json:"cpu" example:"42.5" doc:"Percent of its CPU limit"`
	Cores         float64    `json:"cores" example:"0.85" doc:"Cores"`
	Memory        int64      `json:"memory" example:"734003200" doc:"Bytes, without what the kernel can drop of its file cache"`
	MemoryPercent float64    `json:"memoryPercent" example:"17.1" doc:"Percent of its memory limit"`
	Network       Traffic    `json:"network" doc:"Its network traffic"`
	BlockRead     float64    `json:"blockRead" example:"0" doc:"Bytes a second read from disks"`
	BlockWrite    float64    `json:"blockWrite" example:"8192" doc:"Bytes a second written to disks"`
	PIDs          int        `json:"pids" example:"48" doc:"Processes and threads"`
	Restarts      int        `json:"restarts" example:"0" doc:"How often Swarm has started its program again, in this run"`
	PinnedSince   *time.Time `json:"pinnedSince,omitempty" doc:"Since when it is at its CPU limit without a break"`
}

func answerUse(u ide.ContainerUse) *ResourceUsage {
	return &ResourceUsage{At: u.At, CPU: tenth(u.CPU), Cores: math.Round(u.Cores*1000) / 1000, Memory: u.Memory, MemoryPercent: tenth(u.Percent),
		Network: Traffic{math.Round(u.NetIn), math.Round(u.NetOut)}, BlockRead: math.Round(u.BlockRead), BlockWrite: math.Round(u.BlockWrite),
		PIDs: u.PIDs, Restarts: u.Restarts, PinnedSince: u.Pinned}
}

func tenth(v float64) float64 { return math.Round(v*10) / 10 }

// WindowInput chooses a part of a history.
type WindowInput struct {
	Window string `query:"window" maxLength:"16" default:"15m" example:"1h" doc:"How far back, as a duration: from 1m to 24h"`
	Step   string `query:"step" enum:"10s,1m,15m" doc:"Between two points; if missing, the finest that the window asks for: 10s up to 20 minutes, 1m up to 6 hours"`

	window, step time.Duration
}

// Resolve implements huma.Resolver.
func (in *WindowInput) Resolve(huma.Context) []error {
	var err error
	if in.window, err = time.ParseDuration(in.Window); err != nil || in.window < time.Minute || in.window > 24*time.Hour {
		return []error{&huma.ErrorDetail{Location: "query.window", Message: "must be a duration from 1m to 24h"}}
	}
	in.step, _ = time.ParseDuration(in.Step)
	switch {
	case in.step != 0:
	case in.window <= 20*time.Minute:
		in.step = 10 * time.Second
	case in.window <= 6*time.Hour:
		in.step = time.Minute
	default:
		in.step = 15 * time.Minute
	}
	return nil
}

// between is the time that is asked for: it ends before the point that is not
// complete.
func (in *WindowInput) between() (from, to time.Time) {
	now := time.Now()
	return now.Add(-in.window), now
}

// UsagePoint is what a container has used over a step.
type UsagePoint struct {
	At            time.Time `json:"at" doc:"Beginning of the step"`
	CPU           float64   `json:"cpu" example:"42.5" doc:"Percent of its CPU limit"`
	Memory        int64     `json:"memory" example:"734003200" doc:"Bytes"`
	MemoryPercent float64   `json:"memoryPercent" example:"17.1" doc:"Percent of its memory limit"`
	Network       Traffic   `json:"network" doc:"Its network traffic"`
	Block         float64   `json:"block" example:"8192" doc:"Bytes a second read from disks and written to them"`
}

// Usage is the history of a container's use.
type Usage struct {
	Step   int          `json:"step" example:"10" doc:"Seconds between two points"`
	Points []UsagePoint `json:"points" doc:"Oldest first; a time in which nothing was measured has none"`
}

// NodePoint is what a node, or all of them, have used over a step.
type NodePoint struct {
	At      time.Time `json:"at" doc:"Beginning of the step"`
	CPU     float64   `json:"cpu" example:"30.2" doc:"Percent of its cores"`
	Memory  float64   `json:"memory" example:"61.4" doc:"Percent"`
	Disk    float64   `json:"disk" example:"48.5" doc:"Percent of the disk of its engine"`
	Load    float64   `json:"load" example:"2.1" doc:"Average over 1 minute"`
	Network Traffic   `json:"network" doc:"Over all its devices that are no virtual ones"`
	Stall   ide.Stall `json:"stall" doc:"For which part something waited for a resource (PSI); 0 where its kernel does not tell"`
	Nodes   int       `json:"nodes" example:"1" doc:"How many nodes this is of"`
}

// NodeUsage is the history of a node's use.
type NodeUsage struct {
	Step   int         `json:"step" example:"10" doc:"Seconds between two points"`
	Points []NodePoint `json:"points" doc:"Oldest first; a time in which nothing was measured has none"`
}

// usage serves histories.
func (s *server) usage(api huma.API) {
	op := read("get-container-usage", "/api/containers/{id}/usage", "containers", "What a container has used, over time", http.StatusNotFound)
	op.Description = "Kept in steps of 10 seconds for 20 minutes, of a minute for 6 hours and of 15 minutes for a day."
	huma.Register(api, op, func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"64" doc:"Container" example:"k3xqh5zt2mwfa"`
		WindowInput
	}) (*body[Usage], error) {
		c, err := s.visible(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		from, to := in.between()
		past, err := s.deps.Store.ContainerPast(ctx, from, to, in.step, c.ID)
		if err != nil {
			return nil, err
		}
		out := Usage{Step: int(in.step.Seconds()), Points: make([]UsagePoint, len(past))}
		for i, x := range past {
			out.Points[i] = UsagePoint{At: x.At, CPU: tenth(x.CPU), MemoryPercent: tenth(x.Memory), Network: Traffic{x.NetIn, x.NetOut}, Block: x.Block,
				Memory: int64(x.Memory / 100 * float64(c.Resources.MemoryLimit))}
		}
		return &body[Usage]{out}, nil
	})
	op = read("get-node-usage", "/api/nodes/{id}/usage", "dashboard", "What a node has used, over time", http.StatusForbidden, http.StatusNotFound)
	op.Description = "Kept for a day in all steps."
	huma.Register(api, op, func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"64" doc:"Node" example:"x8vlm0vmpo1jg5yk4zo2dgpyh"`
		WindowInput
	}) (*body[NodeUsage], error) {
		nodes, err := s.deps.Store.Nodes(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			if n.ID == in.ID {
				return s.nodeUsage(ctx, in.WindowInput, []ide.Node{n})
			}
		}
		return nil, ide.Errorf(ide.NotFound, "There is no node %q.", in.ID)
	})
	op = read("get-usage", "/api/dashboard/usage", "dashboard", "What all nodes together have used, over time", http.StatusForbidden)
	op.Description = "Kept for a day in all steps. Percentages are of the nodes that have reported, each by its size."
	huma.Register(api, op, func(ctx context.Context, in *WindowInput) (*body[NodeUsage], error) {
		nodes, err := s.deps.Store.Nodes(ctx)
		if err != nil {
			return nil, err
		}
		return s.nodeUsage(ctx, *in, nodes)
	})
}

// nodeUsage adds the histories of nodes up.
func (s *server) nodeUsage(ctx context.Context, in WindowInput, nodes []ide.Node) (*body[NodeUsage], error) {
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.ID
	}
	from, to := in.between()
	all, err := s.deps.Store.NodePast(ctx, from, to, in.step, ids...)
	if err != nil {
		return nil, err
	}
	out := NodeUsage{Step: int(in.step.Seconds()), Points: []NodePoint{}}
	sums := map[time.Time]*sum{}
	for i, past := range all {
		for _, x := range past {
			if sums[x.At] == nil {
				sums[x.At] = &sum{}
			}
			sums[x.At].add(nodes[i], x)
		}
	}
	for at := from.Truncate(in.step); !at.After(to); at = at.Add(in.step) {
		if t := sums[at.UTC()]; t != nil {
			out.Points = append(out.Points, t.point(at.UTC()))
		}
	}
	return &body[NodeUsage]{out}, nil
}

// sum is several nodes' samples of one time.
type sum struct {
	n, cpu, memory       float64 // nodes, their cores, their bytes
	cores, bytes         float64 // used, times 100
	disk, load, in, sent float64
	stall                ide.Stall
}

func (t *sum) add(n ide.Node, x ide.Sample) {
	t.n++
	t.cpu += float64(n.CPU)
	t.memory += float64(n.Memory)
	t.cores += x.CPU * float64(n.CPU)
	t.bytes += x.Memory * float64(n.Memory)
	t.disk += x.Disk
	t.load += x.Load
	t.in += x.NetIn
	t.sent += x.NetOut
	t.stall.CPU += x.Stall.CPU
	t.stall.Memory += x.Stall.Memory
	t.stall.IO += x.Stall.IO
}

func (t *sum) point(at time.Time) NodePoint {
	return NodePoint{At: at, CPU: tenth(t.cores / max(t.cpu, 1)), Memory: tenth(t.bytes / max(t.memory, 1)), Disk: tenth(t.disk / t.n), Load: tenth(t.load),
		Network: Traffic{math.Round(t.in), math.Round(t.sent)}, Nodes: int(t.n),
		Stall: ide.Stall{CPU: tenth(t.stall.CPU / t.n), Memory: tenth(t.stall.Memory / t.n), IO: tenth(t.stall.IO / t.n)}}
}
