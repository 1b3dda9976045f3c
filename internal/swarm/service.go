package swarm

import (
	"context"
	"time"

	"berth/internal/ide"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// Service is the Swarm service of one run of a container.
type Service struct {
	EngineID  string
	Container string
	Run       int
	Image     string
	CreatedAt time.Time
	UpdatedAt time.Time
	Parked    bool // it is to have no task
	Saver     bool // its task only saves
}

// CreateService makes the service of rec's run, or adopts the one that carries
// its ID and run. Otherwise it is CONFLICT: transient while a service of an
// older run is still there, permanent where a later run has begun or the run's
// secret is gone, because then the run was stopped.
func (c *Client) CreateService(ctx context.Context, rec ide.Container, secretID string) error {
	spec := Spec(c.cfg, rec, secretID)
	// Asking negotiates the version first; an engine out of reach shows below.
	if c.docker.NewVersionError(ctx, modernAPI, "health check with a start interval") == nil {
		modernize(&spec, rec)
	}
	for range readAttempts {
		// The registry is not asked for a digest: images may be on nodes only.
		_, err := c.docker.ServiceCreate(ctx, spec, swarm.ServiceCreateOptions{})
		switch {
		case err == nil:
			return nil
		case nameTaken(err):
		case errdefs.IsInvalidArgument(err) || errdefs.IsNotFound(err):
			if _, _, gone := c.docker.SecretInspectWithRaw(ctx, secretID); errdefs.IsNotFound(gone) {
				return conflict(err, "This run of the container was stopped.")
			}
			return classify("create service", err)
		default:
			return classify("create service", err)
		}
		s, found, err := c.serviceNamed(ctx, rec.ServiceName())
		if err != nil {
			return err
		}
		if found {
			return c.adopt(s, rec)
		}
	}
	return ide.Transient(ide.Conflict, nil, "The container's service is being made and removed at the same time.")
}

// adopt says whether a service that bears the name is the one that was wanted.
func (c *Client) adopt(s swarm.Service, rec ide.Container) error {
	id, run, err := parseIdentity(s.Spec.Labels)
	switch {
	case err != nil || id != rec.ID || s.Spec.Labels[LabelInstance] != c.cfg.Instance:
		return conflict(err, "A service of the same name belongs to something else.")
	case run > rec.Run:
		return conflict(nil, "A later run of the container has begun.")
	case run < rec.Run:
		return ide.Transient(ide.Conflict, nil, "The container's previous run is still going down.")
	default:
		return nil
	}
}

// Service reads the service of a container; found is false where there is
// none.
func (c *Client) Service(ctx context.Context, id string) (svc Service, found bool, err error) {
	s, found, err := c.serviceNamed(ctx, ide.Container{ID: id}.ServiceName())
	if err != nil || !found || !c.carries(s.Spec.Labels, id) {
		return Service{}, false, err
	}
	svc, err = makeService(s)
	if err != nil {
		return Service{}, false, conflict(err, "A service of the same name belongs to something else.")
	}
	return svc, true, nil
}

// Services lists the services of this instance's containers. What carries our
// instance but no container's ID (the control plane's own) is left out.
func (c *Client) Services(ctx context.Context) ([]Service, error) {
	services, _, err := c.services(ctx)
	return services, err
}

// Foreign is an object that carries our labels and is not what Berth makes: somebody
// has copied them. It is left alone.
type Foreign struct{ EngineID, Name string }

// services lists the services of containers, and those that only say so.
func (c *Client) services(ctx context.Context) (services []Service, foreign []Foreign, err error) {
	f := c.ours()
	f.Add("label", LabelID)
	list, err := c.docker.ServiceList(ctx, swarm.ServiceListOptions{Filters: f})
	if err != nil {
		return nil, nil, classify("list services", err)
	}
	services = make([]Service, 0, len(list))
	for _, s := range list {
		if svc, err := makeService(s); err == nil && s.Spec.Name == (ide.Container{ID: svc.Container}).ServiceName() {
			services = append(services, svc)
		} else {
			foreign = append(foreign, Foreign{s.ID, s.Spec.Name})
		}
	}
	return services, foreign, nil
}

// RemoveService removes the service of a run, or of one before it, by its
// engine ID: a later run's service has another, so it cannot be hit however
// late the call comes. No service, or a later run's, is no error.
func (c *Client) RemoveService(ctx context.Context, id string, run int) error {
	s, found, err := c.Service(ctx, id)
	if err != nil || !found || s.Run > run {
		return err
	}
	if err := c.docker.ServiceRemove(ctx, s.EngineID); err != nil && !errdefs.IsNotFound(err) {
		return classify("remove service", err)
	}
	return nil
}

func makeService(s swarm.Service) (Service, error) {
	id, run, err := parseIdentity(s.Spec.Labels)
	if err != nil {
		return Service{}, err
	}
	svc := Service{EngineID: s.ID, Container: id, Run: run, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
		Parked: replicas(s.Spec) == 0, Saver: isSaver(s.Spec.TaskTemplate)}
	if cs := s.Spec.TaskTemplate.ContainerSpec; cs != nil {
		svc.Image = cs.Image
	}
	return svc, nil
}

// serviceNamed reads a service by its exact name: the engine's filter matches
// prefixes.
func (c *Client) serviceNamed(ctx context.Context, name string) (swarm.Service, bool, error) {
	list, err := c.docker.ServiceList(ctx, swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	if err != nil {
		return swarm.Service{}, false, classify("list services", err)
	}
	for _, s := range list {
		if s.Spec.Name == name {
			return s, true, nil
		}
	}
	return swarm.Service{}, false, nil
}
