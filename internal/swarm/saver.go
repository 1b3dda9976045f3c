package swarm

import (
	"context"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/volume"
)

// What a saver may use. It reserves nothing: the place of a container whose
// files are parked was given back, and they must be saved on a full node, too.
const (
	saverCPU    = 1e9
	saverMemory = 512 << 20
	saverPIDs   = 256
)

const saverVariable = ide.ModeVariable + "=" + ide.ModeSave

// saverSpec is the service of rec's run as one that only saves what its volume
// holds: the same name, secret and volume, so that nothing new has to be
// cleaned up, and no route.
func saverSpec(cfg Config, rec ide.Container, secretID string) swarm.ServiceSpec {
	cfg.Routing = RoutingGateway
	rec.Placement = nil
	spec := Spec(cfg, rec, secretID)
	spec.TaskTemplate.ContainerSpec.Env = append(spec.TaskTemplate.ContainerSpec.Env, saverVariable)
	spec.TaskTemplate.Resources = resources(ide.Resources{CPULimit: saverCPU, MemoryLimit: saverMemory, PIDs: saverPIDs}, nil)
	return spec
}

// isSaver says whether a task only saves.
func isSaver(t swarm.TaskSpec) bool {
	return t.ContainerSpec != nil && slices.Contains(t.ContainerSpec.Env, saverVariable)
}

// RunSaver makes the service of rec's run one that only saves, on the node
// that has its volume, and makes one where it was removed by hand. A saver that
// runs is left alone. Errors are those of CreateService.
func (c *Client) RunSaver(ctx context.Context, rec ide.Container, secretID string) error {
	spec := saverSpec(c.cfg, rec, secretID)
	if c.docker.NewVersionError(ctx, modernAPI, "health check with a start interval") == nil {
		modernize(&spec, rec)
	}
	for range readAttempts {
		s, found, err := c.serviceNamed(ctx, rec.ServiceName())
		if err != nil {
			return err
		}
		if !found {
			_, err := c.docker.ServiceCreate(ctx, spec, swarm.ServiceCreateOptions{})
			switch {
			case err == nil:
				return nil
			case nameTaken(err): // read again
			default:
				return classify("create service", err)
			}
			continue
		}
		if err := c.adopt(s, rec); err != nil {
			return err
		}
		if isSaver(s.Spec.TaskTemplate) && replicas(s.Spec) > 0 && c.anyAlive(ctx, rec, s.ID) {
			return nil
		}
		// the number makes Swarm start a task also where the last one has given up
		spec.TaskTemplate.ForceUpdate = s.Spec.TaskTemplate.ForceUpdate + 1
		_, err = c.docker.ServiceUpdate(ctx, s.ID, s.Version, spec, swarm.ServiceUpdateOptions{})
		switch {
		case err == nil:
			return nil
		case outOfSequence(err), errdefs.IsNotFound(err): // read again
		default:
			return classify("update service", err)
		}
	}
	return ide.Transient(ide.Conflict, nil, "The container's service changes too fast.")
}

// anyAlive says whether the service has a saver that is not at its end.
func (c *Client) anyAlive(ctx context.Context, rec ide.Container, service string) bool {
	tasks, err := c.tasksOf(ctx, rec.ID, rec.Run, service)
	return err == nil && slices.ContainsFunc(tasks, func(t swarm.Task) bool {
		return isSaver(t.Spec) && t.DesiredState == swarm.TaskStateRunning && phaseOf(t.Status.State) != phaseEnded
	})
}

// WaitSaver waits until the saver of rec's run runs, as WaitRunning does for
// the container itself.
func (c *Client) WaitSaver(ctx context.Context, rec ide.Container, progress func(string)) (ide.Task, error) {
	return c.waitTask(ctx, startWait{c: c, rec: rec, saver: true, progress: progress, seen: time.Now()})
}

// Park scales the service of a run to no task at all; its volume stays. No
// service, or a later run's, is no error.
func (c *Client) Park(ctx context.Context, id string, run int) error {
	for range readAttempts {
		s, found, err := c.serviceNamed(ctx, ide.Container{ID: id}.ServiceName())
		if err != nil || !found {
			return err
		}
		svc, err := makeService(s)
		if err != nil || svc.Run > run || s.Spec.Labels[LabelInstance] != c.cfg.Instance || replicas(s.Spec) == 0 {
			return nil
		}
		s.Spec.Mode = swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: ptr(uint64(0))}}
		_, err = c.docker.ServiceUpdate(ctx, s.ID, s.Version, s.Spec, swarm.ServiceUpdateOptions{})
		switch {
		case err == nil, errdefs.IsNotFound(err):
			return nil
		case outOfSequence(err):
		default:
			return classify("update service", err)
		}
	}
	return ide.Transient(ide.Conflict, nil, "The container's service changes too fast.")
}

func replicas(s swarm.ServiceSpec) uint64 {
	if s.Mode.Replicated == nil || s.Mode.Replicated.Replicas == nil {
		return 1
	}
	return *s.Mode.Replicated.Replicas
}

// Volumes returns the containers that have a workspace volume on this engine's
// node.
func (c *Client) Volumes(ctx context.Context) ([]string, error) {
	f := c.ours()
	f.Add("label", LabelID)
	return c.volumes(ctx, f)
}

// volumes returns those of the volumes of this engine's node that are ours by their
// labels, and have the name that goes with them.
func (c *Client) volumes(ctx context.Context, f filters.Args) ([]string, error) {
	list, err := c.docker.VolumeList(ctx, volume.ListOptions{Filters: f})
	if err != nil {
		return nil, classify("list volumes", err)
	}
	var ids []string
	for _, v := range list.Volumes {
		if id := v.Labels[LabelID]; ide.ValidID(id) && v.Name == volumeName(c.cfg.Instance, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// RemoveEnded removes a container that has ended from this engine's node, by the
// engine's ID, some seconds before Swarm does. One that is not there is no error,
// nor is one that is being removed; one that runs is CONFLICT.
func (c *Client) RemoveEnded(ctx context.Context, engineID string) error {
	err := c.docker.ContainerRemove(ctx, engineID, container.RemoveOptions{}) // without Force: the engine refuses what runs
	switch {
	case err == nil, errdefs.IsNotFound(err), errdefs.IsConflict(err) && strings.Contains(err.Error(), "already in progress"):
		return nil
	case errdefs.IsConflict(err):
		return ide.Transient(ide.Conflict, err, "The container still runs.")
	default:
		return classify("remove container", err)
	}
}

// RemoveVolume removes a container's workspace volume from this engine's node;
// one that is not there is no error, and one of that name without our labels, which
// is somebody else's, stays. One that a container still has is
// CONFLICT, transient: Swarm removes ended containers a moment later.
func (c *Client) RemoveVolume(ctx context.Context, id string) error {
	f := c.ours()
	f.Add("label", LabelID+"="+id)
	ours, err := c.volumes(ctx, f)
	if err != nil || len(ours) == 0 {
		return err
	}
	err = c.docker.VolumeRemove(ctx, volumeName(c.cfg.Instance, id), false)
	switch {
	case err == nil, errdefs.IsNotFound(err):
		return nil
	case errdefs.IsConflict(err):
		return ide.Transient(ide.Conflict, err, "The workspace volume is still in use.")
	default:
		return classify("remove volume", err)
	}
}
