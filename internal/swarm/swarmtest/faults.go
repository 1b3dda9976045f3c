package swarmtest

import (
	"net/http"
	"strings"
	"time"

	"berth/internal/swarm"

	"github.com/docker/docker/api/types/network"
	engine "github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
)

// fault is something that goes wrong with matching calls.
type fault struct {
	method, prefix string
	status         int           // answered instead
	times          int           // how often; negative is for ever
	hang           chan struct{} // not answered before this is closed
}

// Fail answers the next calls of a method ("" is any) to paths that begin with
// prefix ("/services/create", without version) with a status, so many times;
// negative is for ever.
func (s *Server) Fail(method, prefix string, status, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{method: method, prefix: prefix, status: status, times: times})
}

// Hang keeps matching calls waiting until release is called or the caller
// goes away; afterwards they are answered.
func (s *Server) Hang(method, prefix string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &fault{method: method, prefix: prefix, times: -1, hang: make(chan struct{})}
	s.faults = append(s.faults, f)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.times != 0 {
			f.times = 0
			close(f.hang)
		}
	}
}

// Linger has processes that are told to end go on until release is called, as
// one does that uses its grace.
func (s *Server) Linger() (release func()) {
	set := func(lingers bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lingers = lingers
	}
	set(true)
	return func() { set(false) }
}

// Keep has Swarm keep the containers of ended tasks until release is called, as it
// does for some seconds.
func (s *Server) Keep() (release func()) {
	set := func(keeps bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keeps = keeps
	}
	set(true)
	return func() { set(false) }
}

// Heal ends all faults of Fail.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.hang == nil {
			f.times = 0
		}
	}
}

// Down drops all connections, and every new one, until Up. Tasks go on: the
// engine is away, not its Swarm.
func (s *Server) Down() {
	s.mu.Lock()
	select {
	case <-s.down:
	default:
		close(s.down)
	}
	s.mu.Unlock()
	s.http.CloseClientConnections()
}

// Up ends Down.
func (s *Server) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.down:
		s.down = make(chan struct{})
	default:
	}
}

// Reject makes tasks of an image end as rejected with a message ("No such
// image: X").
func (s *Server) Reject(image, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejects[image] = message
}

// Registry is what the engine passes on of a registry that has no verdict on an
// image; "" is one that has none of that name.
func (s *Server) Registry(said string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry = said
}

// Break makes all tasks on a node end as rejected with a message; "" mends it.
func (s *Server) Break(node, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[node] = message
}

// Exit makes containers of an image end with a code as soon as they run.
func (s *Server) Exit(image string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exits[image] = code
}

// Addresses leaves n free addresses on the overlays; negative is no limit.
func (s *Server) Addresses(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = n
}

// Overtake makes the next n updates of configs come too late: something else
// has changed the config since it was read.
func (s *Server) Overtake(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overtake = n
}

// SetConfigLabels edits the labels of a config, as an operator might.
func (s *Server) SetConfigLabels(name string, change func(map[string]string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.configs {
		if x.Spec.Name == name {
			change(x.Spec.Labels)
			s.touch(&x.Meta)
		}
	}
}

// SetInfo changes what the engine says of itself: its version, its storage
// driver, its place in the Swarm.
func (s *Server) SetInfo(change func(*system.Info)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.info)
}

// SetPools sets where overlays without a subnet of their own take a /24 from.
func (s *Server) SetPools(pools ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pools = pools
}

// SetClock sets the engine's clock so much ahead.
func (s *Server) SetClock(ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = ahead
}

// Lack takes an image off this node; it has all others.
func (s *Server) Lack(image string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lacking[image] = true
}

// AddNetwork makes a network that is not Berth's doing.
func (s *Server) AddNetwork(name, driver string, attachable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &network.Inspect{ID: newID(), Name: name, Driver: driver, Attachable: attachable, Created: time.Now()}
	s.networks[n.ID] = n
}

// RemoveNetwork takes a network away.
func (s *Server) RemoveNetwork(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.network(name); n != nil {
		delete(s.networks, n.ID)
	}
}

// ServiceSpec returns the spec of a service as it came in.
func (s *Server) ServiceSpec(name string) engine.ServiceSpec {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.service(name); x != nil {
		return x.Spec
	}
	return engine.ServiceSpec{}
}

// Requests counts the calls of a method ("" is any) to paths that begin with
// prefix.
func (s *Server) Requests(method, prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.requests {
		m, path, _ := strings.Cut(r, " ")
		if (method == "" || m == method) && strings.HasPrefix(path, prefix) {
			n++
		}
	}
	return n
}

// admit notes a call and lets faults happen to it; false if it is over.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, path string) bool {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+path)
	if _, ok := swarm.Made(r.Method, r.URL.EscapedPath()); !ok {
		s.t.Errorf("the engine is asked for %s %s, which is in no list of calls: add it to swarm.Calls", r.Method, r.URL)
	}
	w.Header().Set("Api-Version", s.api)
	w.Header().Set("Ostype", "linux")
	down := s.down
	var hit *fault
	for _, f := range s.faults {
		if f.times != 0 && (f.method == "" || f.method == r.Method) && strings.HasPrefix(path, f.prefix) {
			hit = f
			break
		}
	}
	status := 0
	if hit != nil && hit.hang == nil {
		status = hit.status
		if hit.times > 0 {
			hit.times--
		}
	}
	s.mu.Unlock()
	if hit != nil && hit.hang != nil {
		select {
		case <-hit.hang:
		case <-r.Context().Done():
			return false
		case <-down:
		case <-s.done:
			return false
		}
	}
	select {
	case <-down:
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			conn.Close()
		}
		return false
	default:
	}
	if status != 0 {
		fail(w, status, "fault injected by the test")
		return false
	}
	return true
}

// Say sets what a task's program has printed.
func (s *Server) Say(task, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[task] = text
}
