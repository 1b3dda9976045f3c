package swarmtest

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/volume"
)

// Volumes returns the names of this node's volumes, sorted.
func (s *Server) Volumes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.volumes))
}

// AddVolume makes a volume by hand.
func (s *Server) AddVolume(name string, labels map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.volumes[name] = &volume.Volume{Name: name, Driver: "local", Labels: labels}
}

func volumesOf(spec swarm.TaskSpec) (names []string) {
	if spec.ContainerSpec == nil {
		return nil
	}
	for _, m := range spec.ContainerSpec.Mounts {
		if m.Type == mount.TypeVolume {
			names = append(names, m.Source)
		}
	}
	return names
}

// makeVolumes makes the volumes that a task mounts, where they are not there.
func (s *Server) makeVolumes(spec swarm.TaskSpec) {
	if spec.ContainerSpec == nil {
		return
	}
	for _, m := range spec.ContainerSpec.Mounts {
		if m.Type == mount.TypeVolume && s.volumes[m.Source] == nil {
			v := &volume.Volume{Name: m.Source, Driver: "local", CreatedAt: time.Now().UTC().Format(time.RFC3339)}
			if m.VolumeOptions != nil {
				v.Labels = m.VolumeOptions.Labels
			}
			s.volumes[m.Source] = v
		}
	}
}

func (s *Server) serveVolumes(c request) bool {
	if c.is("GET", "volumes") {
		list := volume.ListResponse{Volumes: []*volume.Volume{}}
		for _, v := range s.volumes {
			if c.node == s.self && matches(c.filters, v.Name, v.Name, v.Labels) {
				list.Volumes = append(list.Volumes, v)
			}
		}
		reply(c.w, http.StatusOK, list)
		return true
	}
	if !c.is("DELETE", "volumes", "*") {
		return false
	}
	name := c.parts[0]
	if s.volumes[name] == nil || c.node != s.self {
		fail(c.w, http.StatusNotFound, "get %s: no such volume", name)
		return true
	}
	for _, t := range s.here[s.self] {
		if slices.Contains(volumesOf(t.Spec), name) {
			fail(c.w, http.StatusConflict, "remove %s: volume is in use - [%s]", name, t.container)
			return true
		}
	}
	delete(s.volumes, name)
	c.w.WriteHeader(http.StatusNoContent)
	return true
}
