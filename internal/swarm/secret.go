package swarm

import (
	"context"
	"strconv"

	"berth/internal/ide"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// secretName is the name of a run's secret.
func secretName(id string, run int) string { return id + "-" + strconv.Itoa(run) }

// PutSecret makes the Swarm secret <id>-<run> and returns its engine ID. One
// that exists is adopted as it is: a secret's data cannot be changed, and the
// run that made it is the same.
func (c *Client) PutSecret(ctx context.Context, id string, run int, data []byte) (secretID string, err error) {
	name := secretName(id, run)
	for range readAttempts {
		made, err := c.docker.SecretCreate(ctx, swarm.SecretSpec{
			Annotations: swarm.Annotations{Name: name, Labels: identityLabels(c.cfg.Instance, id, run)},
			Data:        data,
		})
		if err == nil {
			return made.ID, nil
		}
		if !nameTaken(err) {
			return "", classify("create secret", err)
		}
		s, found, err := c.secret(ctx, name)
		if err != nil {
			return "", err
		}
		if !found {
			continue // removed between the two calls
		}
		if !c.isFence(s, id, run) {
			return "", conflict(nil, "A secret of the same name belongs to something else.")
		}
		return s.ID, nil
	}
	return "", ide.Transient(ide.Conflict, nil, "The secret is being made and removed at the same time.")
}

// RemoveSecret removes the secret of a run; one that is not there is no error.
// A secret that a service refers to stays: CONFLICT, transient.
func (c *Client) RemoveSecret(ctx context.Context, id string, run int) error {
	s, found, err := c.secret(ctx, secretName(id, run))
	if err != nil || !found || !c.isFence(s, id, run) {
		return err
	}
	err = c.docker.SecretRemove(ctx, s.ID)
	switch {
	case err == nil, errdefs.IsNotFound(err):
		return nil
	case inUse(err):
		return ide.Transient(ide.Conflict, err, "The container's secret is still in use by its service.")
	default:
		return classify("remove secret", err)
	}
}

// isFence says whether a secret of the right name is the run's by its labels.
func (c *Client) isFence(s swarm.Secret, id string, run int) bool {
	return c.carries(s.Spec.Labels, id) && s.Spec.Labels[LabelRun] == strconv.Itoa(run)
}

// secret reads a secret by its exact name. The engine's own filter matches
// prefixes, and an inspect by name would take an ID's prefix for one.
func (c *Client) secret(ctx context.Context, name string) (swarm.Secret, bool, error) {
	list, err := c.docker.SecretList(ctx, swarm.SecretListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	if err != nil {
		return swarm.Secret{}, false, classify("list secrets", err)
	}
	for _, s := range list {
		if s.Spec.Name == name {
			return s, true, nil
		}
	}
	return swarm.Secret{}, false, nil
}
