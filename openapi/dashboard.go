package openapi

import (
	"context"

	"berth/dashboard"
	"berth/internal/store"
)

// view is what the dashboard's page shows: the newest containers and jobs
// that the caller may see, and the health.
func (s *server) view(ctx context.Context) (dashboard.View, error) {
	f := scope(ctx, store.Filter{Limit: 50})
	containers, total, err := s.deps.Store.Containers(ctx, f)
	if err != nil {
		return dashboard.View{}, err
	}
	f.Limit = 20
	jobs, _, err := s.deps.Store.Jobs(ctx, f)
	if err != nil {
		return dashboard.View{}, err
	}
	h := s.look(ctx)
	v := dashboard.View{Status: h.Status, Version: h.Version, Durability: h.Durability, Isolation: h.Isolation, Total: total, Containers: containers, Jobs: jobs}
	for _, name := range []string{"redis", "workers", "swarm"} {
		c := h.Checks[name]
		v.Checks = append(v.Checks, dashboard.Check{Name: name, OK: c.OK, Message: c.Message})
	}
	return v, nil
}
