package swarmtest

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// serveEngine answers _ping, version, info and swarm.
func (s *Server) serveEngine(c request) bool {
	switch {
	case c.kind == "_ping":
		c.w.Write([]byte("OK"))
	case c.is("GET", "version"):
		reply(c.w, http.StatusOK, map[string]string{"Version": s.info.ServerVersion, "ApiVersion": s.api, "MinAPIVersion": "1.12", "Os": "linux"})
	case c.is("GET", "info"):
		n, info := s.nodes[c.node], s.info
		info.Swarm.NodeID, info.Swarm.ControlAvailable = n.ID, info.Swarm.ControlAvailable && n.Spec.Role == swarm.NodeRoleManager
		info.Name, info.SystemTime = n.Description.Hostname, time.Now().Add(s.ahead).Format(time.RFC3339Nano)
		info.NCPU, info.MemTotal = int(n.Description.Resources.NanoCPUs/1e9), n.Description.Resources.MemoryBytes
		info.Swarm.NodeAddr = n.Status.Addr
		reply(c.w, http.StatusOK, info)
	case c.is("GET", "swarm"):
		reply(c.w, http.StatusOK, swarm.Swarm{ClusterInfo: swarm.ClusterInfo{ID: "fake", DefaultAddrPool: s.pools, SubnetSize: 24}, JoinTokens: swarm.JoinTokens{
			Worker: "SWMTKN-1-worker", Manager: "SWMTKN-1-manager"}})
	case c.r.Method == http.MethodGet && c.kind == "images" && len(c.parts) > 1 && c.parts[len(c.parts)-1] == "json":
		name := strings.Join(c.parts[:len(c.parts)-1], "/")
		if s.lacking[name] {
			fail(c.w, http.StatusNotFound, "No such image: %s", name)
		} else {
			reply(c.w, http.StatusOK, map[string]string{"Id": "sha256:" + newID()})
		}
	default:
		return false
	}
	return true
}

func (s *Server) serveNodes(c request) bool {
	switch {
	case c.is("GET", "nodes"):
		reply(c.w, http.StatusOK, sorted(s.nodes))
	case c.is("GET", "nodes", "*"):
		if n := s.nodes[c.parts[0]]; n != nil {
			reply(c.w, http.StatusOK, n)
		} else {
			fail(c.w, http.StatusNotFound, "node %s not found", c.parts[0])
		}
	case c.is("POST", "nodes", "*", "update"):
		s.updateNode(c)
	case c.is("DELETE", "nodes", "*"):
		n := s.nodes[c.parts[0]]
		switch force := c.r.URL.Query().Get("force") == "1"; {
		case n == nil:
			fail(c.w, http.StatusNotFound, "node %s not found", c.parts[0])
		case n.Spec.Role == swarm.NodeRoleManager:
			fail(c.w, http.StatusBadRequest, "rpc error: code = FailedPrecondition desc = node %s is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal", n.ID)
		case n.Status.State == swarm.NodeStateReady && !force:
			fail(c.w, http.StatusBadRequest, "rpc error: code = FailedPrecondition desc = node %s is not down and can't be removed", n.ID)
		default:
			delete(s.nodes, n.ID)
			s.emit(events.NodeEventType, "remove", n.ID, map[string]string{"name": n.Description.Hostname})
			c.w.WriteHeader(http.StatusOK)
		}
	default:
		return false
	}
	return true
}

// updateNode sets what a node is to be. A drained one loses its tasks.
func (s *Server) updateNode(c request) {
	n := s.nodes[c.parts[0]]
	if n == nil {
		fail(c.w, http.StatusNotFound, "node %s not found", c.parts[0])
		return
	}
	var spec swarm.NodeSpec
	if c.stale(n.Meta) || !c.decode(&spec) {
		return
	}
	if n.Spec.Role == swarm.NodeRoleManager && spec.Role == swarm.NodeRoleWorker {
		managers := 0
		for _, o := range s.nodes {
			if o.Spec.Role == swarm.NodeRoleManager {
				managers++
			}
		}
		if managers == 1 {
			fail(c.w, http.StatusBadRequest, "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm")
			return
		}
		n.ManagerStatus = nil
	}
	n.Spec = spec
	s.touch(&n.Meta)
	if spec.Availability == swarm.NodeAvailabilityDrain {
		for _, t := range s.tasks {
			if t.NodeID == n.ID && t.phase() == placed {
				s.stop(t, swarm.TaskStateShutdown)
			}
		}
	}
	s.emit(events.NodeEventType, "update", n.ID, map[string]string{"name": n.Description.Hostname})
	c.w.WriteHeader(http.StatusOK)
}

func (s *Server) network(ref string) *network.Inspect {
	for _, n := range s.networks {
		if n.ID == ref || n.Name == ref {
			return n
		}
	}
	return nil
}

func (s *Server) serveNetworks(c request) bool {
	switch {
	case c.is("GET", "networks"):
		list := []*network.Inspect{}
		for _, n := range sorted(s.networks) {
			if matches(c.filters, n.ID, n.Name, n.Labels) {
				list = append(list, n)
			}
		}
		reply(c.w, http.StatusOK, list)
	case c.is("POST", "networks", "create"):
		var req network.CreateRequest
		if !c.decode(&req) {
			return true
		}
		if s.network(req.Name) != nil {
			fail(c.w, http.StatusConflict, "network with name %s already exists", req.Name)
			return true
		}
		n := &network.Inspect{ID: newID(), Name: req.Name, Created: time.Now(), Scope: req.Scope, Driver: req.Driver,
			Attachable: req.Attachable, Internal: req.Internal, Labels: req.Labels, Options: req.Options}
		n.IPAM.Config = []network.IPAMConfig{{Subnet: fmt.Sprintf("10.0.%d.0/24", len(s.networks)+1)}}
		if req.IPAM != nil {
			n.IPAM = *req.IPAM
		}
		s.networks[n.ID] = n
		reply(c.w, http.StatusCreated, network.CreateResponse{ID: n.ID})
	case c.is("GET", "networks", "*"):
		if n := s.network(c.parts[0]); n != nil {
			reply(c.w, http.StatusOK, n)
		} else {
			fail(c.w, http.StatusNotFound, "network %s not found", c.parts[0])
		}
	case c.is("DELETE", "networks", "*"):
		if n := s.network(c.parts[0]); n != nil {
			delete(s.networks, n.ID)
			c.w.WriteHeader(http.StatusNoContent)
		} else {
			fail(c.w, http.StatusNotFound, "network %s not found", c.parts[0])
		}
	default:
		return false
	}
	return true
}

// stale says, and answers, whether an update carries an old version index.
func (c request) stale(m swarm.Meta) bool {
	v, err := strconv.ParseUint(c.r.URL.Query().Get("version"), 10, 64)
	switch {
	case err != nil:
		fail(c.w, http.StatusBadRequest, "invalid version")
	case v != m.Version.Index:
		fail(c.w, http.StatusInternalServerError, "rpc error: code = Unknown desc = update out of sequence")
	default:
		return false
	}
	return true
}

// badData says, and answers, whether data is of a size that Swarm refuses.
func (c request) badData(kind string, data []byte, limit int) bool {
	bad := len(data) == 0 || len(data) >= limit
	if bad {
		fail(c.w, http.StatusBadRequest,
			"rpc error: code = InvalidArgument desc = %s data must be larger than 0 and less than %d bytes", kind, limit)
	}
	return bad
}

func (s *Server) serveConfigs(c request) bool {
	if c.kind != "configs" {
		return false
	}
	var cfg *swarm.Config
	if len(c.parts) > 0 && !c.is("POST", "configs", "create") {
		for _, x := range s.configs {
			if x.ID == c.parts[0] || x.Spec.Name == c.parts[0] {
				cfg = x
			}
		}
		if cfg == nil {
			fail(c.w, http.StatusNotFound, "config %s not found", c.parts[0])
			return true
		}
	}
	switch {
	case c.is("GET", "configs"):
		list := []*swarm.Config{}
		for _, x := range sorted(s.configs) {
			if matches(c.filters, x.ID, x.Spec.Name, x.Spec.Labels) {
				list = append(list, x)
			}
		}
		reply(c.w, http.StatusOK, list)
	case c.is("POST", "configs", "create"):
		var spec swarm.ConfigSpec
		if !c.decode(&spec) || c.badData("config", spec.Data, 1024000) {
			return true
		}
		for _, x := range s.configs {
			if x.Spec.Name == spec.Name {
				fail(c.w, http.StatusConflict, "rpc error: code = AlreadyExists desc = config %s already exists", spec.Name)
				return true
			}
		}
		x := &swarm.Config{ID: newID(), Meta: s.meta(), Spec: spec}
		s.configs[x.ID] = x
		reply(c.w, http.StatusCreated, swarm.ConfigCreateResponse{ID: x.ID})
	case c.is("GET", "configs", "*"):
		reply(c.w, http.StatusOK, cfg)
	case c.is("POST", "configs", "*", "update"):
		var spec swarm.ConfigSpec
		if s.overtake > 0 {
			s.overtake--
			s.touch(&cfg.Meta)
		}
		if !c.decode(&spec) || c.stale(cfg.Meta) {
			return true
		}
		if spec.Name != cfg.Spec.Name || spec.Data != nil && !bytes.Equal(spec.Data, cfg.Spec.Data) {
			fail(c.w, http.StatusBadRequest, "rpc error: code = InvalidArgument desc = only updates to Labels are allowed")
			return true
		}
		cfg.Spec.Labels = maps.Clone(spec.Labels)
		s.touch(&cfg.Meta)
		c.w.WriteHeader(http.StatusOK)
	case c.is("DELETE", "configs", "*"):
		delete(s.configs, cfg.ID)
		c.w.WriteHeader(http.StatusNoContent)
	default:
		return false
	}
	return true
}

func (s *Server) serveSecrets(c request) bool {
	if c.kind != "secrets" {
		return false
	}
	public := func(x *swarm.Secret) swarm.Secret {
		hidden := *x
		hidden.Spec.Data = nil
		return hidden
	}
	switch {
	case c.is("GET", "secrets"):
		list := []swarm.Secret{}
		for _, x := range sorted(s.secrets) {
			if matches(c.filters, x.ID, x.Spec.Name, x.Spec.Labels) {
				list = append(list, public(x))
			}
		}
		reply(c.w, http.StatusOK, list)
		return true
	case c.is("POST", "secrets", "create"):
		var spec swarm.SecretSpec
		if !c.decode(&spec) || c.badData("secret", spec.Data, 512000) {
			return true
		}
		for _, x := range s.secrets {
			if x.Spec.Name == spec.Name {
				fail(c.w, http.StatusConflict, "rpc error: code = AlreadyExists desc = secret %s already exists", spec.Name)
				return true
			}
		}
		x := &swarm.Secret{ID: newID(), Meta: s.meta(), Spec: spec}
		s.secrets[x.ID] = x
		reply(c.w, http.StatusCreated, swarm.SecretCreateResponse{ID: x.ID})
		return true
	case len(c.parts) != 1 || s.secrets[c.parts[0]] == nil:
		fail(c.w, http.StatusNotFound, "secret %s not found", strings.Join(c.parts, "/"))
		return true
	}
	x := s.secrets[c.parts[0]]
	switch c.r.Method {
	case "GET":
		reply(c.w, http.StatusOK, public(x))
	case "DELETE":
		for _, svc := range sorted(s.services) {
			if slices.ContainsFunc(secretsOf(svc.Spec), func(r *swarm.SecretReference) bool { return r.SecretID == x.ID }) {
				fail(c.w, http.StatusBadRequest, "rpc error: code = InvalidArgument desc = secret '%s' is in use by the following service: %s",
					x.Spec.Name, svc.Spec.Name)
				return true
			}
		}
		delete(s.secrets, x.ID)
		c.w.WriteHeader(http.StatusNoContent)
	default:
		return false
	}
	return true
}

// emit sends an event to every stream; one that does not keep up loses it.
func (s *Server) emit(kind events.Type, action events.Action, id string, attributes map[string]string) {
	now := time.Now()
	m := events.Message{Type: kind, Action: action, Actor: events.Actor{ID: id, Attributes: attributes},
		Time: now.Unix(), TimeNano: now.UnixNano()}
	for ch := range s.streams {
		select {
		case ch <- m:
		default:
		}
	}
}
