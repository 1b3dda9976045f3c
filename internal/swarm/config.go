package swarm

import (
	"context"
	"fmt"

	"berth/internal/ide"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// readAttempts bounds read-and-write loops that lose a race.
const readAttempts = 5

// Record is a container as its config holds it.
type Record struct {
	Container ide.Container // without Sealed and Watch
	Data      []byte        // the config's data: the sealed secrets, immutable

	// Err says why a config could not be read back; Container then holds at
	// most its ID and run.
	Err error
}

// configName is the name of a container's config.
func (c *Client) configName(id string) string { return "berth-" + c.cfg.Instance + "-" + id }

// PutConfig makes the config berth-<instance>-<id>: its labels are the record,
// its data the sealed secrets (Swarm refuses none, and more than 1,000 KB).
// Where it exists it is adopted: its labels are
// updated as by UpdateConfig, its data stays.
func (c *Client) PutConfig(ctx context.Context, rec ide.Container, data []byte) error {
	labels, err := recordLabels(c.cfg.Instance, rec)
	if err != nil {
		return ide.AsError(err)
	}
	for range readAttempts {
		_, err = c.docker.ConfigCreate(ctx, swarm.ConfigSpec{
			Annotations: swarm.Annotations{Name: c.configName(rec.ID), Labels: labels},
			Data:        data,
		})
		if err == nil {
			return nil
		}
		if !nameTaken(err) {
			return classify("create config", err)
		}
		if err := c.UpdateConfig(ctx, rec); !ide.HasCode(err, ide.ContainerNotFound) {
			return err
		}
	}
	return ide.Transient(ide.Conflict, nil, "The container's record is being made and removed at the same time.")
}

// UpdateConfig writes the record into the labels of a container's config. An
// update that another one overtook is read and tried again, a few times. It
// refuses to go back to an older run (CONFLICT, permanent). Without a config it
// is CONTAINER_NOT_FOUND.
func (c *Client) UpdateConfig(ctx context.Context, rec ide.Container) error {
	labels, err := recordLabels(c.cfg.Instance, rec)
	if err != nil {
		return ide.AsError(err)
	}
	for range readAttempts {
		cfg, found, err := c.config(ctx, rec.ID)
		if err != nil {
			return err
		}
		if found && !c.carries(cfg.Spec.Labels, rec.ID) {
			return conflict(nil, "A config of the same name belongs to something else.")
		}
		if !found {
			return ide.Errorf(ide.ContainerNotFound, "The container's record is gone.")
		}
		if _, run, err := parseIdentity(cfg.Spec.Labels); err == nil && run > rec.Run {
			return conflict(fmt.Errorf("run %d, record has %d", rec.Run, run), "A later run of the container has begun.")
		}
		cfg.Spec.Labels = labels
		err = c.docker.ConfigUpdate(ctx, cfg.ID, cfg.Version, cfg.Spec)
		switch {
		case err == nil:
			return nil
		case outOfSequence(err), errdefs.IsNotFound(err): // read again
		default:
			return classify("update config", err)
		}
	}
	return ide.Transient(ide.Conflict, nil, "The container's record changes too fast.")
}

// Configs reads all containers of this instance back. A config that cannot be
// read costs its own row only: see Record.Err.
func (c *Client) Configs(ctx context.Context) ([]Record, error) {
	list, err := c.docker.ConfigList(ctx, swarm.ConfigListOptions{Filters: c.ours()})
	if err != nil {
		return nil, classify("list configs", err)
	}
	records := make([]Record, 0, len(list))
	for _, cfg := range list {
		r := Record{Data: cfg.Spec.Data}
		r.Container, r.Err = parseRecord(cfg.Spec.Labels)
		if r.Err == nil && cfg.Spec.Name != c.configName(r.Container.ID) {
			r.Err = fmt.Errorf("config %q holds the record of %s", cfg.Spec.Name, r.Container.ID)
		}
		if r.Err != nil {
			r.Container = ide.Container{}
			r.Container.ID, r.Container.Run, _ = parseIdentity(cfg.Spec.Labels)
		}
		records = append(records, r)
	}
	return records, nil
}

// RemoveConfig removes a container's config; one that is not there is no
// error, and one of that name without our labels stays.
func (c *Client) RemoveConfig(ctx context.Context, id string) error {
	cfg, found, err := c.config(ctx, id)
	if err != nil || !found || !c.carries(cfg.Spec.Labels, id) {
		return err
	}
	if err := c.docker.ConfigRemove(ctx, cfg.ID); err != nil && !errdefs.IsNotFound(err) {
		return classify("remove config", err)
	}
	return nil
}

// config reads a container's config by its exact name: the engine's filter
// matches prefixes.
func (c *Client) config(ctx context.Context, id string) (swarm.Config, bool, error) {
	name := c.configName(id)
	list, err := c.docker.ConfigList(ctx, swarm.ConfigListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	if err != nil {
		return swarm.Config{}, false, classify("list configs", err)
	}
	for _, cfg := range list {
		if cfg.Spec.Name == name {
			return cfg, true, nil
		}
	}
	return swarm.Config{}, false, nil
}
