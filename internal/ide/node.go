package ide

import "time"

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
	Labels        map[string]string `json:"labels,omitempty"`
	CPU           int64             `json:"cpu"`           // all it has
	Memory        int64             `json:"memory"`        //
	ForeignCPU    int64             `json:"foreignCpu"`    // reserved by services that are not our containers
	ForeignMemory int64             `json:"foreignMemory"` //
	Filtered      bool              `json:"filtered"`      // its isolation filter stands (or ISOLATION=off)
	At            time.Time         `json:"at"`            // when this was seen
}

// Placeable says whether containers may be put there.
func (n Node) Placeable() bool {
	return n.State == "ready" && n.Availability == "active" && n.Filtered
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
	Engine   bool      `json:"engine"`   // its engine answers
	Filtered bool      `json:"filtered"` // the isolation filter stands on its node
	Version  string    `json:"version"`
	At       time.Time `json:"at"`
}
