package openapi

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
)

// Overview is the whole of the control plane at a glance.
type Overview struct {
	At         time.Time         `json:"at" doc:"When it was read"`
	Containers ContainerCounts   `json:"containers" doc:"Containers by state"`
	Jobs       JobCounts         `json:"jobs" doc:"Jobs that have not ended, by state"`
	CPU        Cores             `json:"cpu" doc:"Of all nodes"`
	Memory     Bytes             `json:"memory" doc:"Of all nodes"`
	Disk       Bytes             `json:"disk" doc:"The file systems of the engines' data directories, of all nodes"`
	NodeCounts NodeCounts        `json:"nodeCounts" doc:"Nodes by what they are like; one may be counted several times"`
	Nodes      []NodeRow         `json:"nodes" doc:"By host name"`
	Addresses  *AddressAnswer    `json:"addresses,omitempty" doc:"Of the containers' network; missing before a manager has counted them"`
	Redis      RedisAnswer       `json:"redis" doc:"The Redis in use"`
	Attention  []Attention       `json:"attention" doc:"What somebody should look at"`
	Active     []ContainerAnswer `json:"active" doc:"The 20 running containers that use most CPU"`
}

// ContainerCounts is how many containers there are in each state.
type ContainerCounts struct {
	Total    int `json:"total" example:"128" doc:"All that have a record"`
	Starting int `json:"starting" example:"1" doc:"Being started"`
	Running  int `json:"running" example:"100" doc:"Their URLs answer"`
	Stopping int `json:"stopping" example:"0" doc:"Being saved and stopped"`
	Stopped  int `json:"stopped" example:"25" doc:"Can be started again"`
	Failed   int `json:"failed" example:"2" doc:"Could not be started, or stopped"`
	Unsaved  int `json:"unsaved" example:"1" doc:"Of all these, those whose node holds files that could not be saved"`
}

// JobCounts is how many jobs there are in each state that is not its end.
type JobCounts struct {
	Queued   int     `json:"queued" example:"3" doc:"Wait for a worker"`
	Running  int     `json:"running" example:"2" doc:"A worker is at them"`
	Retrying int     `json:"retrying" example:"0" doc:"Failed, and are tried again"`
	Waited   float64 `json:"waited" example:"0.4" doc:"Seconds for which the oldest of the queued ones has waited; 0 without one"`
}

// NodeCounts is how many nodes are like this or that.
type NodeCounts struct {
	Total     int `json:"total" example:"3" doc:"In the Swarm"`
	Ready     int `json:"ready" example:"3" doc:"Answer Swarm"`
	Down      int `json:"down" example:"0" doc:"Do not"`
	Draining  int `json:"draining" example:"0" doc:"Are set to take no tasks: drain or pause"`
	Stale     int `json:"stale" example:"0" doc:"Their worker does not report"`
	Above     int `json:"above" example:"0" doc:"Are above a high-water mark"`
	Placeable int `json:"placeable" example:"3" doc:"Can be given containers now"`
}

// RedisAnswer is what Redis says of itself.
type RedisAnswer struct {
	UsedMemory int64  `json:"usedMemory" example:"73400320" doc:"Bytes"`
	MaxMemory  int64  `json:"maxMemory" example:"1073741824" doc:"Bytes it may use; 0 is any number"`
	Policy     string `json:"policy,omitempty" example:"noeviction" doc:"What it does at that limit; anything but noeviction loses jobs and records"`
}

// Attention is something that somebody should look at.
type Attention struct {
	Kind      string     `json:"kind" enum:"job_failed,container_unsaved,node_down,node_stale,node_failing,node_pressure,disk,addresses,redis_memory,redis_policy" doc:"What is wrong"`
	Message   string     `json:"message" example:"Node node-2 does not answer Swarm." doc:"The same, for people"`
	Node      string     `json:"nodeId,omitempty" example:"x8vlm0vmpo1jg5yk4zo2dgpyh" doc:"Where"`
	Container string     `json:"containerId,omitempty" example:"k3xqh5zt2mwfa" doc:"The container that it is about"`
	Job       string     `json:"jobId,omitempty" example:"container-stop:k3xqh5zt2mwfa:2" doc:"The job that it is about"`
	Since     *time.Time `json:"since,omitempty" doc:"Since when, where that is known"`
}

// Bounds of what needs attention.
const (
	attentionEach  = 20   // of one kind are listed at most
	attentionJobs  = 24   // hours that a failed job is listed
	diskFull       = 85.0 // percent
	redisFull      = 0.85 // of its limit
	activeShown    = 20
	addressesShort = 0.02 // of all: fewer are nearly none
)

// buildOverview reads all of it. It costs about twelve calls to Redis, however
// many containers there are.
func (s *server) buildOverview(ctx context.Context) (Overview, error) {
	st := s.deps.Store
	rooms, err := st.Room(ctx)
	if err != nil {
		return Overview{}, err
	}
	addresses, err := st.Addresses(ctx)
	if err != nil {
		return Overview{}, err
	}
	totals, err := st.Totals(ctx)
	if err != nil {
		return Overview{}, err
	}
	redis, err := st.Memory(ctx)
	if err != nil {
		return Overview{}, err
	}
	list := listNodes(rooms, addresses)
	out := Overview{At: time.Now().UTC(), Nodes: list.Nodes, Addresses: list.Addresses, Redis: RedisAnswer{redis.Used, redis.Max, redis.Policy},
		Jobs: JobCounts{totals.Open[ide.JobQueued], totals.Open[ide.JobRunning], totals.Open[ide.JobRetrying], totals.Waited.Seconds()}}
	n := totals.Containers
	out.Containers = ContainerCounts{Starting: n[ide.Starting], Running: n[ide.Running], Stopping: n[ide.Stopping], Stopped: n[ide.Stopped], Failed: n[ide.Failed]}
	out.Containers.Total = n[ide.Starting] + n[ide.Running] + n[ide.Stopping] + n[ide.Stopped] + n[ide.Failed]
	out.sum()
	if err := s.attend(ctx, &out); err != nil {
		return Overview{}, err
	}
	out.Active, err = s.active(ctx, rooms)
	return out, err
}

// sum adds the nodes up. What is used and the percentages are of the nodes
// that report.
func (o *Overview) sum() {
	var cores, memory float64
	for _, n := range o.Nodes {
		o.NodeCounts.Total++
		count := func(is bool, c *int) {
			if is {
				*c++
			}
		}
		count(n.State == "ready", &o.NodeCounts.Ready)
		count(n.State != "ready", &o.NodeCounts.Down)
		count(n.Availability != "active", &o.NodeCounts.Draining)
		count(n.Stale, &o.NodeCounts.Stale)
		count(len(n.Above) > 0, &o.NodeCounts.Above)
		count(n.Placeable, &o.NodeCounts.Placeable)
		o.CPU.Reserved += n.CPU.Reserved
		o.CPU.Total += n.CPU.Total
		o.Memory.Reserved += n.Memory.Reserved
		o.Memory.Total += n.Memory.Total
		if n.Stale {
			continue
		}
		o.CPU.Used += n.CPU.Used
		cores += n.CPU.Total
		o.Memory.Used += n.Memory.Used
		memory += float64(n.Memory.Total)
		o.Disk.Used += n.Disk.Used
		o.Disk.Total += n.Disk.Total
	}
	o.CPU.Percent, o.Memory.Percent = share(o.CPU.Used, cores), share(float64(o.Memory.Used), memory)
	o.Disk.Percent = share(float64(o.Disk.Used), float64(o.Disk.Total))
}

// attend lists what needs attention: nodes first, then what all share, then
// containers and jobs.
func (s *server) attend(ctx context.Context, o *Overview) error {
	list := []Attention{}
	for _, n := range o.Nodes {
		say := func(kind, format string, args ...any) *Attention {
			list = append(list, Attention{Kind: kind, Node: n.ID, Message: "Node " + n.Hostname + " " + fmt.Sprintf(format, args...)})
			return &list[len(list)-1]
		}
		switch {
		case n.State != "ready":
			say("node_down", "does not answer Swarm: it is %s.", n.State).Since = n.LastReport
		case n.Stale:
			say("node_stale", "has no worker that reports: nothing is known of what it uses.").Since = n.LastReport
		case n.rests != nil:
			say("node_failing", "failed some starts in a row that went well on other nodes: it takes nothing until %s.", n.rests.Format("15:04:05 MST"))
		}
		if !n.Stale && n.Disk.Percent > diskFull {
			say("disk", "has used %.0f %% of the disk of its engine.", n.Disk.Percent)
		}
		for _, m := range n.Above {
			if m.Resource != ide.ResourceDisk || n.Disk.Percent <= diskFull {
				say("node_pressure", "takes nothing: its %s.", m).Since = &m.Since
			}
		}
	}
	if a := o.Addresses; a != nil && float64(a.Free) <= float64(a.Total)*addressesShort {
		list = append(list, Attention{Kind: "addresses", Message: fmt.Sprintf("%d of %d addresses are left for containers: make the network larger, or stop some.", a.Free, a.Total)})
	}
	if r := o.Redis; r.MaxMemory > 0 && float64(r.UsedMemory) > float64(r.MaxMemory)*redisFull {
		list = append(list, Attention{Kind: "redis_memory", Message: fmt.Sprintf("Redis uses %d MiB of the %d MiB that it may; at its limit nothing can be started or stopped.", r.UsedMemory>>20, r.MaxMemory>>20)})
	}
	if r := o.Redis; r.Policy != "" && r.Policy != "noeviction" {
		list = append(list, Attention{Kind: "redis_policy", Message: fmt.Sprintf("Redis is set to drop keys at its memory limit (%s): jobs and records would be lost. Set maxmemory-policy to noeviction.", r.Policy)})
	}
	unsaved, many, err := s.deps.Store.Containers(ctx, store.Filter{Status: store.Unsaved, Limit: attentionEach})
	if err != nil {
		return err
	}
	o.Containers.Unsaved = many
	for _, c := range unsaved {
		list = append(list, Attention{Kind: "container_unsaved", Container: c.ID, Node: c.Node, Since: c.StoppedAt,
			Message: fmt.Sprintf("Container %s of %s has files on its node that could not be saved.", c.ID, c.Owner)})
	}
	failed, _, err := s.deps.Store.Jobs(ctx, store.Filter{Status: string(ide.JobFailed), Limit: attentionEach})
	if err != nil {
		return err
	}
	for _, j := range failed {
		if j.FinishedAt == nil || time.Since(*j.FinishedAt) > attentionJobs*time.Hour {
			continue
		}
		a := Attention{Kind: "job_failed", Job: j.ID, Container: j.Container, Since: j.FinishedAt, Message: "Job " + j.ID + " failed."}
		if j.Error != nil {
			a.Message = "Job " + j.ID + " failed: " + j.Error.Message
		}
		list = append(list, a)
	}
	o.Attention = list
	return nil
}

// active returns the running containers that use most CPU; where none was
// measured, the newest.
func (s *server) active(ctx context.Context, rooms []store.Room) ([]ContainerAnswer, error) {
	st := s.deps.Store
	list, err := st.Busiest(ctx, rooms, activeShown)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(c ide.Container) bool { return c.Status != ide.Running })
	if len(list) == 0 {
		if list, _, err = st.Containers(ctx, store.Filter{Status: string(ide.Running), Limit: activeShown}); err != nil {
			return nil, err
		}
	}
	return s.answerContainers(ctx, list)
}

// answerContainers shows several, with two calls to Redis.
func (s *server) answerContainers(ctx context.Context, list []ide.Container) ([]ContainerAnswer, error) {
	ids := make([]string, len(list))
	for i, c := range list {
		ids[i] = c.ID
	}
	seen, err := s.deps.Store.Activity(ctx, ids...)
	if err != nil {
		return nil, err
	}
	uses, err := s.deps.Store.ContainerUses(ctx, list...)
	if err != nil {
		return nil, err
	}
	out := make([]ContainerAnswer, len(list))
	for i, c := range list {
		out[i] = s.answerContainer(c, seen[c.ID])
		if u, ok := uses[c.ID]; ok {
			out[i].ResourceUsage = answerUse(u)
		}
	}
	return out, nil
}
