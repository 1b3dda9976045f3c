package openapi

import (
	"context"
	"net/http"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
)

// Cores is an amount of CPU.
type Cores struct {
	Used     float64 `json:"used" example:"2.4" doc:"Cores in use, as measured"`
	Reserved float64 `json:"reserved" example:"3" doc:"Cores given away: to containers, and to services of others"`
	Total    float64 `json:"total" example:"8" doc:"Cores there are"`
	Percent  float64 `json:"percent" example:"30" doc:"In use, of those there are where it is measured"`
}

// Bytes is an amount of memory or disk.
type Bytes struct {
	Used     int64   `json:"used" example:"6442450944" doc:"Bytes in use, as measured"`
	Reserved int64   `json:"reserved" example:"4294967296" doc:"Bytes given away: to containers, and to services of others; nobody reserves disk"`
	Total    int64   `json:"total" example:"17179869184" doc:"Bytes there are"`
	Percent  float64 `json:"percent" example:"37.5" doc:"In use, of those there are where it is measured"`
}

// Traffic is what goes over a network, in bytes a second.
type Traffic struct {
	In  float64 `json:"in" example:"125000" doc:"Bytes a second received"`
	Out float64 `json:"out" example:"48000" doc:"Bytes a second sent"`
}

// NodeRow is a node as Swarm sees it, with what its worker measures.
type NodeRow struct {
	ID            string            `json:"id" example:"x8vlm0vmpo1jg5yk4zo2dgpyh" doc:"Engine ID"`
	Hostname      string            `json:"hostname" example:"node-1" doc:"Its name"`
	Address       string            `json:"address" example:"192.0.2.11" doc:"Where Swarm reaches it"`
	Role          string            `json:"role" enum:"manager,worker" doc:"In the Swarm"`
	State         string            `json:"state" enum:"ready,down,unknown,disconnected" doc:"What Swarm says of it"`
	Availability  string            `json:"availability" enum:"active,pause,drain" doc:"Whether Swarm may put tasks on it"`
	Engine        string            `json:"engine" example:"28.3.0" doc:"Version of its engine"`
	StorageDriver string            `json:"storageDriver,omitempty" example:"overlay2" doc:"Of its engine; missing before its worker has reported"`
	Labels        map[string]string `json:"labels,omitempty" doc:"Its labels in the Swarm"`
	Stale         bool              `json:"stale" doc:"Its worker has not reported in the last 30 seconds: what was measured is old, or missing"`
	Isolated      bool              `json:"isolated" doc:"Whether its isolation filter stands, or isolation is off"`
	Placeable     bool              `json:"placeable" doc:"Whether containers may be put there now"`
	Why           string            `json:"why,omitempty" example:"It has joined and waits for the image registry.example.com/ide:3." doc:"Why not, in a sentence"`
	rests         *time.Time        // until when nothing is put there, because starts failed
	MissingImages []string          `json:"missingImages,omitempty" example:"[\"registry.example.com/ide:3\"]" doc:"Images that it waits for before it takes its first container; they are brought from a registry or another node"`
	Generic       map[string]int64  `json:"generic,omitempty" doc:"Other resources that its engine announces, by kind" example:"{\"gpu\": 2}"`
	FreeGeneric   map[string]int64  `json:"freeGeneric,omitempty" doc:"Of those, what can still be reserved" example:"{\"gpu\": 1}"`
	CPU           Cores             `json:"cpu" doc:"Its CPU"`
	Memory        Bytes             `json:"memory" doc:"Its memory"`
	Disk          Bytes             `json:"disk" doc:"The file system of its engine's data directory"`
	FreeCPU       float64           `json:"freeCpu" example:"5" doc:"Cores that can still be reserved"`
	FreeMemory    int64             `json:"freeMemory" example:"12884901888" doc:"Bytes that can still be reserved"`
	Load          []float64         `json:"load" example:"[2.1,1.8,1.5]" doc:"Average load over 1, 5 and 15 minutes; empty before its worker has reported"`
	Network       Traffic           `json:"network" doc:"Over all its devices that are no virtual ones"`
	Stall         *ide.Stall        `json:"stall,omitempty" doc:"For which part of the last 10 seconds something waited for a resource (PSI); missing where its kernel does not tell"`
	Above         []ide.Mark        `json:"above" doc:"What is above its high-water mark: while there is something, nothing is put there"`
	Containers    int               `json:"containers" example:"12" doc:"Containers that hold a place there"`
	Running       int               `json:"running" example:"11" doc:"Containers of Berth that its worker has counted"`
	FreeAddresses int               `json:"freeAddresses" example:"65100" doc:"Addresses left for containers; the network that they are of is shared by all nodes"`
	LastReport    *time.Time        `json:"lastReport,omitempty" doc:"When its worker last reported; missing if it has not within a day"`
}

// NodeList is all nodes.
type NodeList struct {
	Nodes     []NodeRow      `json:"nodes" doc:"By host name"`
	Addresses *AddressAnswer `json:"addresses,omitempty" doc:"Of the containers' network; missing before a manager has counted them"`
}

// AddressAnswer is how many addresses a network has.
type AddressAnswer struct {
	Free  int       `json:"free" example:"65100" doc:"Left"`
	Total int       `json:"total" example:"65533" doc:"All that can be given to tasks"`
	At    time.Time `json:"at" doc:"When they were counted"`
}

// buildNodes returns a row for each node. It costs four calls to Redis.
func (s *server) buildNodes(ctx context.Context) (NodeList, error) {
	rooms, err := s.deps.Store.Room(ctx)
	if err != nil {
		return NodeList{}, err
	}
	addresses, err := s.deps.Store.Addresses(ctx)
	if err != nil {
		return NodeList{}, err
	}
	return listNodes(rooms, addresses), nil
}

func listNodes(rooms []store.Room, addresses *ide.Addresses) NodeList {
	list := NodeList{Nodes: make([]NodeRow, len(rooms))}
	if addresses != nil {
		list.Addresses = &AddressAnswer{addresses.Free, addresses.Total, addresses.At}
	}
	for i, r := range rooms {
		list.Nodes[i] = makeRow(r)
		if addresses != nil {
			list.Nodes[i].FreeAddresses = addresses.Free
		}
	}
	return list
}

func makeRow(r store.Room) NodeRow {
	n := r.Node
	row := NodeRow{
		ID: n.ID, Hostname: n.Hostname, Address: n.Address, Role: n.Role, State: n.State, Availability: n.Availability, Engine: n.Engine, Labels: n.Labels,
		Stale: r.Stale(), Isolated: n.Filtered, Placeable: r.Fresh && n.Placeable() && len(r.Above()) == 0,
		CPU:     Cores{Reserved: float64(n.CPU-r.FreeCPU) / 1e9, Total: float64(n.CPU) / 1e9},
		Memory:  Bytes{Reserved: n.Memory - r.FreeMemory, Total: n.Memory},
		FreeCPU: float64(r.FreeCPU) / 1e9, FreeMemory: r.FreeMemory, Load: []float64{}, Above: []ide.Mark{}, Containers: r.Reservation,
		Why: r.Why(ide.Container{}), rests: n.RestsUntil, MissingImages: n.Missing, Generic: n.Generic,
	}
	if len(n.Generic) > 0 {
		row.FreeGeneric = r.FreeGeneric
	}
	u := r.Use
	if u == nil {
		return row
	}
	row.StorageDriver, row.Load, row.Network, row.Stall = u.Storage, u.Load[:], Traffic{u.NetIn, u.NetOut}, u.Stall
	row.CPU.Used, row.CPU.Percent = u.CPU, share(u.CPU, u.Cores)
	row.Memory.Used, row.Memory.Percent = u.Memory, share(float64(u.Memory), float64(u.MemoryTotal))
	row.Disk = Bytes{Used: u.Disk, Total: u.DiskTotal, Percent: share(float64(u.Disk), float64(u.DiskTotal))}
	row.Running, row.LastReport = u.Containers, &u.At
	row.Above = append(row.Above, r.Above()...)
	return row
}

// share is a part in percent, with one decimal.
func share(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return tenth(part / whole * 100)
}

// fleet serves what there is, over all nodes and containers.
func (s *server) fleet(api huma.API) {
	op := read("get-overview", "/api/dashboard/overview", "dashboard", "What there is, what it uses, and what needs attention", http.StatusForbidden)
	huma.Register(api, op, func(ctx context.Context, _ *struct{}) (*body[Overview], error) {
		out, err := s.buildOverview(ctx)
		if err != nil {
			return nil, err
		}
		return &body[Overview]{out}, nil
	})
	op = read("list-nodes", "/api/dashboard/nodes", "dashboard", "All nodes, with what their workers measure", http.StatusForbidden)
	huma.Register(api, op, func(ctx context.Context, _ *struct{}) (*body[NodeList], error) {
		out, err := s.buildNodes(ctx)
		if err != nil {
			return nil, err
		}
		return &body[NodeList]{out}, nil
	})
}
