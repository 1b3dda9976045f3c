package swarmtest

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
)

// serveEngine answers _ping, version, info and swarm.
func (s *Server) serveEngine(c request) bool {
	switch {
	case c.kind == "_ping":
		c.w.Write([]byte("OK"))
	case c.is("GET", "version"):
		reply(c.w, http.StatusOK, map[string]string{"Version": "20.10.24", "ApiVersion": s.api, "MinAPIVersion": "1.12", "Os": "linux"})
	case c.is("GET", "info"):
		n := s.nodes[s.self]
		reply(c.w, http.StatusOK, system.Info{
			Name: n.Description.Hostname, ServerVersion: "20.10.24",
			NCPU: int(n.Description.Resources.NanoCPUs / 1e9), MemTotal: n.Description.Resources.MemoryBytes,
			Swarm: swarm.Info{NodeID: s.self, LocalNodeState: swarm.LocalNodeStateActive, ControlAvailable: true, NodeAddr: n.Status.Addr},
		})
	case c.is("GET", "swarm"):
		reply(c.w, http.StatusOK, swarm.Swarm{ClusterInfo: swarm.ClusterInfo{ID: "fake"}})
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
	default:
		return false
	}
	return true
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
			Attachable: req.Attachable, Internal: req.Internal, Labels: req.Labels}
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
