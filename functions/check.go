package functions

import (
	"context"

	"berth/internal/ide"
)

// CheckAnswer says whether a start would be admitted now, where, and if not,
// why.
type CheckAnswer struct {
	Fits  bool        `json:"fits" doc:"Whether a start would be admitted now"`
	Why   string      `json:"why,omitempty" doc:"Why not, in a sentence" example:"No node has room."`
	Never bool        `json:"never,omitempty" doc:"No node can ever take it, as the nodes are"`
	Image string      `json:"image" doc:"What would run" example:"registry.example.com/ide:3"`
	Nodes []NodeCheck `json:"nodes" doc:"Every node, and whether it has room"`
	Live  int         `json:"live" doc:"Live containers of the key" example:"3"`
	Limit int         `json:"limit,omitempty" doc:"How many the key may have; missing is any number" example:"50"`
}

// NodeCheck is the part of one node in a CheckAnswer.
type NodeCheck struct {
	ID         string  `json:"id" example:"x8vlm0vmpo1jg5yk4zo2dgpyh" doc:"Engine ID"`
	Hostname   string  `json:"hostname" example:"node-1" doc:"Its name"`
	Fits       bool    `json:"fits" doc:"Whether the container would fit"`
	Why        string  `json:"why,omitempty" example:"0.25 CPU is needed." doc:"Why not, in a sentence"`
	FreeCPU    float64 `json:"freeCpu" doc:"Cores" example:"3.5"`
	FreeMemory int64   `json:"freeMemory" doc:"Bytes" example:"6442450944"`
}

// Check looks at a start without making anything. A request that is wrong by
// itself gets the same error as from a start.
func Check(ctx context.Context, d *Deps, p ide.Principal, b CreateContainerRequest) (CheckAnswer, error) {
	c, err := b.check(d, p)
	if err != nil {
		return CheckAnswer{}, err
	}
	out := CheckAnswer{Image: c.Image, Limit: d.maxPerKey(p), Nodes: []NodeCheck{}, Why: "No node has room."}
	if out.Live, err = d.Store.Live(ctx, p.Name); err != nil {
		return out, err
	}
	rooms, err := d.Store.Room(ctx)
	if err != nil {
		return out, err
	}
	out.Never = len(rooms) > 0
	for _, r := range rooms {
		n := NodeCheck{ID: r.Node.ID, Hostname: r.Node.Hostname, FreeCPU: float64(r.FreeCPU) / 1e9, FreeMemory: r.FreeMemory}
		if n.Why = r.Why(c); n.Why == "" {
			n.Fits, out.Fits, out.Why = true, true, ""
		}
		out.Never = out.Never && c.Never(r.Node) != ""
		out.Nodes = append(out.Nodes, n)
	}
	if out.Never {
		out.Why = "No node can ever take it as they are."
	}
	if d.S3.Place(c) != nil {
		used, err := d.Store.InUse(ctx, c.S3)
		if err != nil {
			return out, err
		}
		if used {
			out.Fits, out.Why = false, "A live container already uses this bucket and prefix, or one above or below it."
		}
	}
	if out.Limit > 0 && out.Live >= out.Limit {
		out.Fits, out.Why = false, "The key has as many live containers as it may."
	}
	return out, nil
}
