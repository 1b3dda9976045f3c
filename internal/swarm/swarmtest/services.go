package swarmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/pkg/stdcopy"
)

func secretsOf(spec swarm.ServiceSpec) []*swarm.SecretReference {
	if spec.TaskTemplate.ContainerSpec == nil {
		return nil
	}
	return spec.TaskTemplate.ContainerSpec.Secrets
}

func (s *Server) service(ref string) *swarm.Service {
	for _, x := range s.services {
		if x.ID == ref || x.Spec.Name == ref {
			return x
		}
	}
	return nil
}

func (s *Server) serveServices(c request) bool {
	if c.kind != "services" {
		return false
	}
	switch {
	case c.is("GET", "services"):
		list := []*swarm.Service{}
		for _, x := range sorted(s.services) {
			if matches(c.filters, x.ID, x.Spec.Name, x.Spec.Labels) {
				list = append(list, x)
			}
		}
		reply(c.w, http.StatusOK, list)
		return true
	case c.is("POST", "services", "create"):
		s.createService(c)
		return true
	}
	if len(c.parts) == 0 {
		return false
	}
	x := s.service(c.parts[0])
	if x == nil {
		fail(c.w, http.StatusNotFound, "service %s not found", c.parts[0])
		return true
	}
	switch {
	case c.is("GET", "services", "*"):
		reply(c.w, http.StatusOK, x)
	case c.is("POST", "services", "*", "update"):
		var spec swarm.ServiceSpec
		if !c.decode(&spec) || c.stale(x.Meta) {
			return true
		}
		s.replaceTasks(x, spec)
		x.Spec = spec
		s.touch(&x.Meta)
		s.emit(events.ServiceEventType, "update", x.ID, map[string]string{"name": x.Spec.Name})
		reply(c.w, http.StatusOK, swarm.ServiceUpdateResponse{})
	case c.is("DELETE", "services", "*"):
		delete(s.services, x.ID)
		s.emit(events.ServiceEventType, "remove", x.ID, map[string]string{"name": x.Spec.Name})
		for _, t := range s.tasks {
			if t.ServiceID == x.ID {
				s.stop(t, swarm.TaskStateRemove)
			}
		}
		c.w.WriteHeader(http.StatusOK)
	default:
		return false
	}
	return true
}

// replaceTasks does what Swarm's update does to the tasks, at once: one whose
// template changes is stopped, and another started if one is wanted.
func (s *Server) replaceTasks(x *swarm.Service, spec swarm.ServiceSpec) {
	wanted := spec.Mode.Replicated == nil || spec.Mode.Replicated.Replicas == nil || *spec.Mode.Replicated.Replicas > 0
	if wanted && reflect.DeepEqual(x.Spec.TaskTemplate, spec.TaskTemplate) && s.hasTask(x.ID) {
		return
	}
	for _, t := range s.tasks {
		if t.ServiceID == x.ID && t.DesiredState == swarm.TaskStateRunning {
			s.stop(t, swarm.TaskStateShutdown)
		}
	}
	x.Spec = spec
	if wanted {
		s.startTask(x, nil)
	}
}

func (s *Server) hasTask(service string) bool {
	for _, t := range s.tasks {
		if t.ServiceID == service && t.DesiredState == swarm.TaskStateRunning {
			return true
		}
	}
	return false
}

func (s *Server) createService(c request) {
	var spec swarm.ServiceSpec
	if !c.decode(&spec) {
		return
	}
	// The order of the checks is the engine's: networks in the daemon, then
	// secrets, then the name, in the Swarm.
	for _, n := range spec.TaskTemplate.Networks {
		if s.network(n.Target) == nil {
			fail(c.w, http.StatusInternalServerError, "network %s not found", n.Target)
			return
		}
	}
	for _, r := range secretsOf(spec) {
		if x := s.secrets[r.SecretID]; x == nil || x.Spec.Name != r.SecretName {
			fail(c.w, http.StatusBadRequest, "rpc error: code = InvalidArgument desc = secret not found: %s", r.SecretName)
			return
		}
	}
	if s.service(spec.Name) != nil {
		fail(c.w, http.StatusConflict,
			"rpc error: code = AlreadyExists desc = name conflicts with an existing object: service %s already exists", spec.Name)
		return
	}
	x := &swarm.Service{ID: newID(), Meta: s.meta(), Spec: spec}
	s.services[x.ID] = x
	s.emit(events.ServiceEventType, "create", x.ID, map[string]string{"name": spec.Name})
	s.startTask(x, nil)
	reply(c.w, http.StatusCreated, swarm.ServiceCreateResponse{ID: x.ID})
}

// serveTasks answers tasks, and inspects of containers on this node.
func (s *Server) serveTasks(c request) bool {
	switch {
	case c.is("GET", "tasks"):
		s.listTasks(c)
	case c.is("GET", "tasks", "*", "logs"):
		s.serveLog(c)
	case c.is("GET", "containers", "json"):
		s.listContainers(c)
	case c.is("GET", "containers", "*", "json"), c.is("GET", "containers", "*", "stats"):
		if t := s.here[c.node][c.parts[0]]; t != nil {
			if c.parts[1] == "stats" {
				reply(c.w, http.StatusOK, t.stats())
			} else {
				reply(c.w, http.StatusOK, t.inspect())
			}
			return true
		}
		fail(c.w, http.StatusNotFound, "No such container: %s", c.parts[0])
	case c.is("DELETE", "containers", "*"):
		switch t := s.here[c.node][c.parts[0]]; {
		case t == nil:
			fail(c.w, http.StatusNotFound, "No such container: %s", c.parts[0])
		case t.running:
			fail(c.w, http.StatusConflict, "You cannot remove a running container %s. Stop the container before attempting removal or force remove", c.parts[0])
		default:
			delete(s.here[c.node], c.parts[0])
			c.w.WriteHeader(http.StatusNoContent)
		}
	default:
		return false
	}
	return true
}

// serveLog answers what a task's program has printed: what Say says, or what
// the suite's own programs do when they end.
func (s *Server) serveLog(c request) {
	text := s.said[c.parts[0]]
	if t := s.tasks[c.parts[0]]; t != nil && t.code != 0 && text == "" {
		text = fmt.Sprintf("begins\nends with code %d\n", t.code)
	}
	c.w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(stdcopy.NewStdWriter(c.w, stdcopy.Stdout), text) // a client that has gone away
}

func (s *Server) listTasks(c request) {
	f := c.filters
	for _, ref := range f.Get("service") {
		if s.service(ref) == nil {
			fail(c.w, http.StatusNotFound, "service %s not found", ref)
			return
		}
	}
	list := []swarm.Task{}
	for _, t := range sorted(s.tasks) {
		// Tasks are filtered by their service's labels, also after it is gone.
		if !matches(f, t.ID, "", t.serviceLabels) ||
			f.Contains("desired-state") && !slices.Contains(f.Get("desired-state"), string(t.DesiredState)) ||
			f.Contains("node") && !slices.Contains(f.Get("node"), t.NodeID) ||
			f.Contains("service") && !slices.ContainsFunc(f.Get("service"), func(ref string) bool {
				return s.service(ref).ID == t.ServiceID
			}) {
			continue
		}
		list = append(list, t.Task)
	}
	reply(c.w, http.StatusOK, list)
}

// serveEvents streams events as JSON values until the caller goes away or the
// engine does.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request, f filters.Args) {
	ch := make(chan events.Message, 1000)
	s.mu.Lock()
	s.streams[ch] = true
	down := s.down
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, ch)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	out.Flush()
	enc := json.NewEncoder(w)
	for {
		select {
		case m := <-ch:
			if f.Contains("type") && !f.ExactMatch("type", string(m.Type)) {
				continue
			}
			if err := enc.Encode(m); err != nil {
				return
			}
			out.Flush()
		case <-r.Context().Done():
			return
		case <-down:
			return
		case <-s.done:
			return
		}
	}
}

func exitError(code int) string { return "task: non-zero exit (" + strconv.Itoa(code) + ")" }
