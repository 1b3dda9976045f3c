package ide

import (
	"fmt"
	"time"
)

// Node is one machine of the Swarm as a manager sees it. CPU is in nano-CPUs,
// memory in bytes.
type Node struct {
	ID            string            `json:"id"`
	Hostname      string            `json:"hostname"`
	Address       string            `json:"address"`
	Role          string            `json:"role"`         // manager or worker
	State         string            `json:"state"`        // ready, down, unknown, disconnected
	Availability  string            `json:"availability"` // active, pause, drain
	Engine        string            `json:"engine"`
	OS            string            `json:"os,omitempty"`
	Arch          string            `json:"arch,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	EngineLabels  map[string]string `json:"engineLabels,omitempty"`   // of its daemon's configuration
	CPU           int64             `json:"cpu"`                      // all it has
	Memory        int64             `json:"memory"`                   //
	ForeignCPU    int64             `json:"foreignCpu"`               // reserved by services that are not our containers
	ForeignMemory int64             `json:"foreignMemory"`            //
	Generic       map[string]int64  `json:"generic,omitempty"`        // other resources that its daemon announces, by kind
	ForeignUse    map[string]int64  `json:"foreignGeneric,omitempty"` // of those, reserved by services that are not our containers
	Filtered      bool              `json:"filtered"`                 // its isolation filter and egress rules stand, or are off
	Missing       []string          `json:"missingImages,omitempty"`  // images that it waits for before it takes its first container
	RestsUntil    *time.Time        `json:"restsUntil,omitempty"`     // set while nothing is put there because it failed some starts in a row
	At            time.Time         `json:"at"`                       // when this was seen
}

// Fate is what has become of a node.
type Fate string

// The fates. What runs on a node that is not up cannot be known, and nothing there
// can be waited for.
const (
	NodeUp     Fate = "up"
	NodeIsDown Fate = "down" // it does not answer Swarm
	NodeGone   Fate = "gone" // it has left the Swarm
)

// FateOf says what has become of the node that something is on, by a list of all
// nodes. While there is no list nothing is known, and it is believed to be up.
func FateOf(nodes []Node, id string) Fate {
	if id == "" || len(nodes) == 0 {
		return NodeUp
	}
	for _, n := range nodes {
		if n.ID == id && n.State == "down" {
			return NodeIsDown
		} else if n.ID == id {
			return NodeUp
		}
	}
	return NodeGone
}

// Sentence says it of a container's node.
func (f Fate) Sentence() string {
	switch f {
	case NodeIsDown:
		return "Its node does not answer."
	case NodeGone:
		return "Its node has left the Swarm."
	}
	return "Its node is up."
}

// Placeable says whether containers may be put there.
func (n Node) Placeable() bool { return n.Unfit() == "" }

// Unfit says in a sentence why no container may be put there now; empty is that
// they may.
func (n Node) Unfit() string {
	switch {
	case n.State != "ready" || n.Availability != "active":
		return fmt.Sprintf("It is %s and its availability is %s.", n.State, n.Availability)
	case n.RestsUntil != nil:
		return fmt.Sprintf("Some starts in a row failed there that went well on other nodes: it takes nothing until %s.", n.RestsUntil.Format("15:04:05 MST"))
	case !n.Filtered:
		return "Its isolation filter does not stand."
	case len(n.Missing) > 0:
		return fmt.Sprintf("It has joined and waits for the image %s.", n.Missing[0])
	}
	return ""
}

// Task is one task of a container's service, as Swarm sees it.
type Task struct {
	ID        string
	Container string // our ID
	Run       int
	State     string // Swarm's word: new, pending … running, complete, failed, rejected, orphaned, remove
	Desired   string
	Node      string
	Address   string // IP on the overlay
	Err       string // Swarm's words for what is wrong, or empty
	ExitCode  int
	At        time.Time
}

// Worker is what each worker process says of itself every few seconds.
type Worker struct {
	ID       string    `json:"id"`
	Node     string    `json:"node"` // engine ID of its node
	Manager  bool      `json:"manager"`
	Engine   bool      `json:"engine"`            // its engine answers
	Filtered bool      `json:"filtered"`          // the isolation filter stands on its node
	Egress   bool      `json:"egress"`            // containers on its node are kept from private addresses, or EGRESS=off
	Address  string    `json:"address,omitempty"` // host:port on the overlay where it gives them to other workers
	Version  string    `json:"version"`
	Missing  []string  `json:"missing,omitempty"` // images of templates that its node does not have
	At       time.Time `json:"at"`                // by the clock that all share, as all times
}
