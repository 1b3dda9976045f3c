// Package swarmtest is a fake Docker Engine that is the manager of a Swarm,
// spoken to on the wire as a real one, and a suite that package swarm passes on
// both: what the fake gets wrong, the suite finds on the real engine.
//
// Answers, status codes and words are those of Engine 20.10 (API 1.41).
package swarmtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/volume"
)

// Step is how long a task stays in one state of its walk; a container that is
// told to stop takes two.
const Step = 5 * time.Millisecond

// Server is the fake. Its methods are safe for concurrent use.
type Server struct {
	t    testing.TB
	http *httptest.Server
	done chan struct{} // closed when the test ends

	mu       sync.Mutex
	api      string
	info     system.Info
	pools    []string        // of overlays' subnets
	ahead    time.Duration   // of the engine's clock
	lacking  map[string]bool // images that this node does not have
	version  uint64
	self     string // the node whose engine this is
	nodes    map[string]*swarm.Node
	networks map[string]*network.Inspect
	configs  map[string]*swarm.Config
	secrets  map[string]*swarm.Secret
	services map[string]*swarm.Service
	tasks    map[string]*task
	volumes  map[string]*volume.Volume // of this node, by name
	offered  map[string]bool           // images that registries give
	streams  map[chan events.Message]bool
	here     map[string]map[string]*task // containers by node and engine ID

	base     netip.Addr // of the next address given to a task
	left     int        // addresses left; negative is no limit
	rejects  map[string]string
	registry string
	broken   map[string]string // node -> what its tasks are rejected with
	exits    map[string]int
	said     map[string]string // by a task's program
	onStart  func(Started) func()
	lingers  bool // processes that are told to end
	keeps    bool // containers that have ended
	faults   []*fault
	overtake int
	down     chan struct{} // closed while down
	requests []string      // "METHOD /path" of each
}

// NewServer starts a fake of one node with 4 CPUs and 8 GiB, which is a
// manager. It ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		t:    t,
		done: make(chan struct{}),
		api:  "1.41",
		info: system.Info{ServerVersion: "20.10.24", Driver: "overlay2", DockerRootDir: "/var/lib/docker", SecurityOptions: []string{"name=seccomp,profile=default", "name=no-new-privileges"},
			Swarm: swarm.Info{LocalNodeState: swarm.LocalNodeStateActive, ControlAvailable: true}},
		pools:    []string{"10.0.0.0/8"},
		lacking:  map[string]bool{},
		version:  10,
		nodes:    map[string]*swarm.Node{},
		networks: map[string]*network.Inspect{},
		configs:  map[string]*swarm.Config{},
		secrets:  map[string]*swarm.Secret{},
		services: map[string]*swarm.Service{},
		tasks:    map[string]*task{},
		volumes:  map[string]*volume.Volume{},
		offered:  map[string]bool{},
		streams:  map[chan events.Message]bool{},
		here:     map[string]map[string]*task{},
		// Of the loopback network, so that a test can listen on a task's
		// address; each server has a part of its own.
		base:    netip.AddrFrom4([4]byte{127, byte(1 + rand.N(250)), byte(rand.N(250)), 1}),
		left:    -1,
		rejects: map[string]string{},
		broken:  map[string]string{},
		exits:   map[string]int{},
		said:    map[string]string{},
		down:    make(chan struct{}),
	}
	s.self = s.AddNode("node-1", 4e9, 8<<30)
	s.info.Swarm.NodeID = s.self
	s.nodes[s.self].Spec.Role = swarm.NodeRoleManager
	s.nodes[s.self].ManagerStatus = &swarm.ManagerStatus{Leader: true, Reachability: swarm.ReachabilityReachable, Addr: "192.0.2.1:2377"}
	s.http = s.listen(t, s.self)
	t.Cleanup(func() { close(s.done) })
	return s
}

// listen serves the engine of a node until the test ends.
func (s *Server) listen(t testing.TB, node string) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, node) }))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv
}

// Engine starts the engine of another node, which has that node's containers
// and no volumes, and returns its address.
func (s *Server) Engine(t testing.TB, node string) string {
	return "tcp://" + s.listen(t, node).Listener.Addr().String()
}

// Host is the engine's address, as DOCKER_HOST has it.
func (s *Server) Host() string { return "tcp://" + s.http.Listener.Addr().String() }

// NodeID is the engine ID of the node whose engine this is.
func (s *Server) NodeID() string { return s.self }

// SetAPI sets the API version that the engine offers.
func (s *Server) SetAPI(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api = version
}

// AddNode adds a ready worker with so many nano-CPUs and bytes, and returns its
// engine ID.
func (s *Server) AddNode(hostname string, cpu, memory int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &swarm.Node{
		ID:   newID(),
		Meta: s.meta(),
		Spec: swarm.NodeSpec{Role: swarm.NodeRoleWorker, Availability: swarm.NodeAvailabilityActive},
		Description: swarm.NodeDescription{
			Hostname:  hostname,
			Platform:  swarm.Platform{Architecture: "x86_64", OS: "linux"},
			Resources: swarm.Resources{NanoCPUs: cpu, MemoryBytes: memory},
			Engine:    swarm.EngineDescription{EngineVersion: "20.10.24"},
		},
		Status: swarm.NodeStatus{State: swarm.NodeStateReady, Addr: fmt.Sprintf("192.0.2.%d", len(s.nodes)+1)},
	}
	s.nodes[n.ID] = n
	return n.ID
}

// SetNode changes a node: its state, its availability.
func (s *Server) SetNode(id string, change func(*swarm.Node)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.nodes[id])
	s.emit(events.NodeEventType, "update", id, map[string]string{"name": s.nodes[id].Description.Hostname})
}

// RemoveNode takes a node away, as after docker node rm.
func (s *Server) RemoveNode(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, id)
}

var versionPrefix = regexp.MustCompile(`^/v1\.[0-9]+`)

func (s *Server) serve(w http.ResponseWriter, r *http.Request, node string) {
	path := versionPrefix.ReplaceAllString(r.URL.Path, "")
	if !s.admit(w, r, path) {
		return
	}
	f, err := filters.FromJSON(r.URL.Query().Get("filters"))
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid filter")
		return
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch { // those that stream
	case path == "/events":
		s.serveEvents(w, r, f)
		return
	case len(parts) == 3 && parts[0] == "containers" && parts[2] == "logs":
		s.followLog(w, r, node, parts[1])
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	call := request{w: w, r: r, node: node, filters: f, kind: parts[0], parts: parts[1:]}
	for _, handle := range []func(*Server, request) bool{
		(*Server).serveEngine, (*Server).serveNodes, (*Server).serveNetworks,
		(*Server).serveConfigs, (*Server).serveSecrets, (*Server).serveServices, (*Server).serveTasks, (*Server).serveVolumes, (*Server).serveImages,
	} {
		if handle(s, call) {
			return
		}
	}
	fail(w, http.StatusNotFound, "page not found")
}

// request is one call, taken apart: METHOD /kind/parts….
type request struct {
	w       http.ResponseWriter
	r       *http.Request
	node    string // whose engine was asked
	filters filters.Args
	kind    string
	parts   []string
}

// is matches a call; "*" stands for any one part.
func (c request) is(method, kind string, parts ...string) bool {
	if c.r.Method != method || c.kind != kind || len(c.parts) != len(parts) {
		return false
	}
	for i, p := range parts {
		if p != "*" && p != c.parts[i] {
			return false
		}
	}
	return true
}

func (c request) decode(v any) bool {
	if err := json.NewDecoder(c.r.Body).Decode(v); err != nil {
		fail(c.w, http.StatusBadRequest, "%s", err)
		return false
	}
	return true
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if v != nil {
		json.NewEncoder(w).Encode(v)
	}
}

func fail(w http.ResponseWriter, status int, format string, args ...any) {
	reply(w, status, map[string]string{"message": fmt.Sprintf(format, args...)})
}

// newID returns 25 characters as Swarm's own IDs have.
func newID() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, 25)
	for i := range b {
		b[i] = alphabet[rand.N(len(alphabet))]
	}
	return string(b)
}

func (s *Server) meta() swarm.Meta {
	s.version++
	now := time.Now().UTC()
	return swarm.Meta{Version: swarm.Version{Index: s.version}, CreatedAt: now, UpdatedAt: now}
}

func (s *Server) touch(m *swarm.Meta) {
	s.version++
	m.Version.Index, m.UpdatedAt = s.version, time.Now().UTC()
}

// matches applies the filters that lists of named things have; as in Docker,
// names and IDs match by prefix.
func matches(f filters.Args, id, name string, labels map[string]string) bool {
	prefix := func(field, value string) bool {
		return !f.Contains(field) || slices.ContainsFunc(f.Get(field), func(p string) bool { return strings.HasPrefix(value, p) })
	}
	return prefix("id", id) && prefix("name", name) && f.MatchKVList("label", labels)
}

// sorted returns a map's values in the order of their keys.
func sorted[V any](m map[string]V) []V {
	var list []V
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[k])
	}
	return list
}
