package ide

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The resources of a node that have a high-water mark.
const (
	ResourceCPU    = "cpu"
	ResourceMemory = "memory"
	ResourceDisk   = "disk"
)

// StaleAfter is how old the last report of a node's worker may be: three of
// its reports are then missing.
const StaleAfter = 30 * time.Second

// NodeUse is what a node's worker measures of its machine. Memory and disk are
// in bytes; the disk is the file system of the engine's data directory.
type NodeUse struct {
	At          time.Time  `json:"at"`
	Storage     string     `json:"storage,omitempty"` // the engine's storage driver
	Cores       float64    `json:"cores"`             // all there are
	CPU         float64    `json:"cpu"`               // cores in use since the last report
	Load        [3]float64 `json:"load"`              // over 1, 5 and 15 minutes
	Memory      int64      `json:"memory"`            // in use: all less what is available
	MemoryTotal int64      `json:"memoryTotal"`
	Disk        int64      `json:"disk"`
	DiskTotal   int64      `json:"diskTotal"`
	NetIn       float64    `json:"netIn"` // bytes a second, over all but the virtual devices
	NetOut      float64    `json:"netOut"`
	Stall       *Stall     `json:"stall,omitempty"` // nil where the kernel has no PSI
	Containers  int        `json:"containers"`      // of ours that run
	Busiest     []Busy     `json:"busiest,omitempty"`
	Above       []Mark     `json:"above,omitempty"`    // what is above its high-water mark now
	Pressure    []string   `json:"pressure,omitempty"` // what was above it within the last minute
}

// Stall is for which part of the last ten seconds some task waited for a
// resource, in percent (the kernel's pressure stall information, some avg10).
type Stall struct {
	CPU    float64 `json:"cpu" example:"1.5" doc:"Percent"`
	Memory float64 `json:"memory" example:"0" doc:"Percent"`
	IO     float64 `json:"io" example:"0.4" doc:"Percent"`
}

// Busy is one of a node's busiest containers.
type Busy struct {
	Container string  `json:"id"`
	Cores     float64 `json:"cores"` // in use
	Memory    int64   `json:"memory"`
}

// Mark is a resource of a node that is used more than the operator wants.
type Mark struct {
	Resource string    `json:"resource" enum:"cpu,memory,disk" doc:"What"`
	Percent  float64   `json:"percent" example:"93" doc:"In use; of CPU over the last five minutes"`
	Mark     float64   `json:"mark" example:"90" doc:"The high-water mark, in percent"`
	Since    time.Time `json:"since" doc:"Since when it is above"`
}

// CPUOver is how long a load of the CPU must last to count: a compile is none.
const CPUOver = 5 * time.Minute

// String says it for people, with the setting that the mark is from: "memory is at
// 93 %, above its mark of 90 % (HIGH_WATER_MEMORY)".
func (m Mark) String() string {
	return fmt.Sprintf("%s is at %.0f %%, above its mark of %.0f %% (HIGH_WATER_%s)", m.Resource, m.Percent, m.Mark, strings.ToUpper(m.Resource))
}

// Marks says several for people.
func Marks(all []Mark) string {
	text := make([]string, len(all))
	for i, m := range all {
		text[i] = m.String()
	}
	return strings.Join(text, ", ")
}

// HighWater are the marks above which a node takes nothing more, in percent; 0
// is none.
type HighWater struct{ CPU, Memory, Disk float64 }

// Above compares a use with the marks. cpu is the mean percentage over
// CPUOver; before is what was above at the report before, whose beginnings
// stay.
func (h HighWater) Above(u NodeUse, cpu float64, before []Mark) []Mark {
	var above []Mark
	for _, m := range []Mark{
		{Resource: ResourceCPU, Percent: cpu, Mark: h.CPU},
		{Resource: ResourceMemory, Percent: percent(u.Memory, u.MemoryTotal), Mark: h.Memory},
		{Resource: ResourceDisk, Percent: percent(u.Disk, u.DiskTotal), Mark: h.Disk},
	} {
		if m.Mark <= 0 || m.Percent <= m.Mark {
			continue
		}
		m.Since = u.At
		if i := slices.IndexFunc(before, func(b Mark) bool { return b.Resource == m.Resource }); i >= 0 {
			m.Since = before[i].Since
		}
		above = append(above, m)
	}
	return above
}

func percent(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole) * 100
}

// ContainerUse is what a node's worker measures of a container. Rates are in
// bytes a second.
type ContainerUse struct {
	At         time.Time  `json:"at"`
	Run        int        `json:"run"`
	CPU        float64    `json:"cpu"`    // percent of its limit
	Cores      float64    `json:"cores"`  // in use
	Memory     int64      `json:"memory"` // bytes, without what the kernel can drop of its file cache
	Percent    float64    `json:"percent"`
	NetIn      float64    `json:"netIn"`
	NetOut     float64    `json:"netOut"`
	BlockRead  float64    `json:"blockRead"`
	BlockWrite float64    `json:"blockWrite"`
	PIDs       int        `json:"pids"`
	Restarts   int        `json:"restarts"`         // of its program by Swarm, in this run
	Pinned     *time.Time `json:"pinned,omitempty"` // since when it is at its CPU limit
	Told       bool       `json:"told,omitempty"`   // it was told of
}

// Sample is one point of a history: the mean over a step that begins at At.
// What a thing has not is 0.
type Sample struct {
	At     time.Time
	CPU    float64 // percent: of all cores, or of a container's limit
	Memory float64 // percent: of all, or of a container's limit
	Disk   float64 // percent, of a node
	Load   float64 // over 1 minute, of a node
	NetIn  float64 // bytes a second
	NetOut float64
	Block  float64 // bytes a second read and written, of a container
	Stall  Stall   // of a node
}

// Addresses of the containers' network, which all nodes share.
type Addresses struct {
	Total int       `json:"total"`
	Free  int       `json:"free"`
	At    time.Time `json:"at"`
}
