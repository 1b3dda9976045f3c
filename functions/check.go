package functions

import (
	"context"
	"fmt"

	"berth/internal/ide"
)

// CheckAnswer says whether a start would be admitted now, where, and if not,
// why.
type CheckAnswer struct {
	Fits  bool        `json:"fits" doc:"Whether a start would be admitted now"`
	Why   string      `json:"why,omitempty" doc:"Why not, in a sentence"`
	Image string      `json:"image" doc:"What would run"`
	Nodes []NodeCheck `json:"nodes"`
	Live  int         `json:"live" doc:"Live containers of the key"`
	Limit int         `json:"limit,omitempty" doc:"How many the key may have; missing is any number"`
}

// NodeCheck is the part of one node in a CheckAnswer.
type NodeCheck struct {
	ID         string  `json:"id"`
	Hostname   string  `json:"hostname"`
	Fits       bool    `json:"fits"`
	Why        string  `json:"why,omitempty"`
	FreeCPU    float64 `json:"freeCpu" doc:"Cores"`
	FreeMemory int64   `json:"freeMemory" doc:"Bytes"`
}

// Check looks at a start without making anything. A request that is wrong by
// itself gets the same error as from a start.
func Check(ctx context.Context, d *Deps, p ide.Principal, b CreateContainerRequest) (CheckAnswer, error) {
	image, res, err := b.check(d.Settings, p)
	if err != nil {
		return CheckAnswer{}, err
	}
	out := CheckAnswer{Image: image, Limit: d.maxPerKey(p), Nodes: []NodeCheck{}, Why: "No node has room."}
	if out.Live, err = d.Store.Live(ctx, p.Name); err != nil {
		return out, err
	}
	rooms, err := d.Store.Room(ctx)
	if err != nil {
		return out, err
	}
	for _, r := range rooms {
		n := NodeCheck{ID: r.Node.ID, Hostname: r.Node.Hostname, FreeCPU: float64(r.FreeCPU) / 1e9, FreeMemory: r.FreeMemory}
		switch {
		case !r.Fresh:
			n.Why = "It has not reported lately."
		case r.Node.State != "ready" || r.Node.Availability != "active":
			n.Why = fmt.Sprintf("It is %s and its availability is %s.", r.Node.State, r.Node.Availability)
		case !r.Node.Filtered:
			n.Why = "Its isolation filter does not stand."
		case r.FreeCPU < res.CPUReservation:
			n.Why = fmt.Sprintf("%.2f CPU is needed.", float64(res.CPUReservation)/1e9)
		case r.FreeMemory < res.MemoryReservation:
			n.Why = fmt.Sprintf("%d MiB of memory is needed.", res.MemoryReservation>>20)
		default:
			n.Fits, out.Fits, out.Why = true, true, ""
		}
		out.Nodes = append(out.Nodes, n)
	}
	if out.Limit > 0 && out.Live >= out.Limit {
		out.Fits, out.Why = false, "The key has as many live containers as it may."
	}
	return out, nil
}
