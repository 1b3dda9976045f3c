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
)

// Step is how long a task stays in one state of its walk; a container that is
// told to stop takes two.
const Step = 5 * time.Millisecond

// Server is the fake. Its methods are safe for concurrent use.
type Server struct {
	http *httptest.Server
	done chan struct{} // closed when the test ends

	mu       sync.Mutex
	api      string
	version  uint64
	self     string // the node whose engine this is
	nodes    map[string]*swarm.Node
	networks map[string]*network.Inspect
	configs  map[string]*swarm.Config
	secrets  map[string]*swarm.Secret
	services map[string]*swarm.Service
	tasks    map[string]*task
	streams  map[chan events.Message]bool

	base     netip.Addr // of the next address given to a task
	left     int        // addresses left; negative is no limit
	rejects  map[string]string
	exits    map[string]int
	onStart  func(Started) func()
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
		done:     make(chan struct{}),
		api:      "1.41",
		version:  10,
		nodes:    map[string]*swarm.Node{},
		networks: map[string]*network.Inspect{},
		configs:  map[string]*swarm.Config{},
		secrets:  map[string]*swarm.Secret{},
		services: map[string]*swarm.Service{},
		tasks:    map[string]*task{},
		streams:  map[chan events.Message]bool{},
		// Of the loopback network, so that a test can listen on a task's
		// address; each server has a part of its own.
		base:    netip.AddrFrom4([4]byte{127, byte(1 + rand.N(250)), byte(rand.N(250)), 1}),
		left:    -1,
		rejects: map[string]string{},
		exits:   map[string]int{},
		down:    make(chan struct{}),
	}
	s.self = s.AddNode("node-1", 4e9, 8<<30)
	s.nodes[s.self].Spec.Role = swarm.NodeRoleManager
	s.nodes[s.self].ManagerStatus = &swarm.ManagerStatus{Leader: true, Reachability: swarm.ReachabilityReachable}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		close(s.done)
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
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

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	path := versionPrefix.ReplaceAllString(r.URL.Path, "")
	if !s.admit(w, r, path) {
		return
	}
	f, err := filters.FromJSON(r.URL.Query().Get("filters"))
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid filter")
		return
	}
	if path == "/events" {
		s.serveEvents(w, r, f)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := strings.Split(strings.Trim(path, "/"), "/")
	call := request{w: w, r: r, filters: f, kind: parts[0], parts: parts[1:]}
	for _, handle := range []func(*Server, request) bool{
		(*Server).serveEngine, (*Server).serveNodes, (*Server).serveNetworks,
		(*Server).serveConfigs, (*Server).serveSecrets, (*Server).serveServices, (*Server).serveTasks,
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
