package store

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"berth/internal/ide"
)

// searchChunk is how many records a search reads at once.
const searchChunk = 1000

// Search is what a list asks for that no index answers: every record that the
// filter matches is read. For 10,000 of them that is some ten reads.
type Search struct {
	Text     string // in the ID, the owner, bucket and folder or the labels' values, in capitals or not
	Node     string // engine ID
	Function string // of jobs
	Sort     string // id, status, node, owner, created, cpu or memory; with "-" the largest first; empty is the newest first
}

// SearchContainers is Containers for a search.
func (s *Store) SearchContainers(ctx context.Context, f Filter, q Search) ([]ide.Container, int, error) {
	if q == (Search{}) {
		return s.Containers(ctx, f)
	}
	var found []ide.Container
	text := strings.ToLower(q.Text)
	err := s.all(ctx, "cs", f, func(ids []string) error {
		list, err := s.containers(ctx, ids)
		for _, c := range list {
			if (q.Node == "" || c.Node == q.Node) && hasText(c, text) {
				found = append(found, c)
			}
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if err := s.sortContainers(ctx, found, q.Sort); err != nil {
		return nil, 0, err
	}
	return cut(found, f), len(found), nil
}

// SearchJobs is Jobs for a search by function.
func (s *Store) SearchJobs(ctx context.Context, f Filter, q Search) ([]ide.Job, int, error) {
	if q.Function == "" {
		return s.Jobs(ctx, f)
	}
	var found []string
	err := s.all(ctx, "js", f, func(ids []string) error {
		for _, id := range ids {
			if strings.HasPrefix(id, q.Function+":") {
				found = append(found, id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	list, err := s.jobs(ctx, cut(found, f))
	return list, len(found), err
}

// all goes through an index, the newest first.
func (s *Store) all(ctx context.Context, kind string, f Filter, take func(ids []string) error) error {
	ids, err := s.rdb.ZRevRange(ctx, indexKey(kind, f.Owner, f.Status), 0, -1).Result()
	if err != nil {
		return down(err)
	}
	for some := range slices.Chunk(ids, searchChunk) {
		if err := take(some); err != nil {
			return err
		}
	}
	return nil
}

func cut[T any](list []T, f Filter) []T {
	from := min(f.Offset, len(list))
	return list[from:min(from+f.Limit, len(list))]
}

// hasText says whether text, in small letters, is in what people know a
// container by.
func hasText(c ide.Container, text string) bool {
	if text == "" {
		return true
	}
	where := []string{c.ID, c.Owner, c.S3.Name + "/" + c.S3.Prefix}
	for _, v := range c.Labels {
		where = append(where, v)
	}
	return slices.ContainsFunc(where, func(w string) bool { return strings.Contains(strings.ToLower(w), text) })
}

// sortContainers sorts stably, so that equal ones stay newest first.
func (s *Store) sortContainers(ctx context.Context, list []ide.Container, by string) error {
	name, down := strings.CutPrefix(by, "-")
	var order func(a, b ide.Container) int
	switch name {
	case "id":
		order = func(a, b ide.Container) int { return cmp.Compare(a.ID, b.ID) }
	case "status":
		order = func(a, b ide.Container) int {
			return cmp.Compare(slices.Index(ide.Statuses(), a.Status), slices.Index(ide.Statuses(), b.Status))
		}
	case "node":
		order = func(a, b ide.Container) int { return cmp.Compare(a.Node, b.Node) }
	case "owner":
		order = func(a, b ide.Container) int { return cmp.Compare(a.Owner, b.Owner) }
	case "created":
		order = func(a, b ide.Container) int { return a.CreatedAt.Compare(b.CreatedAt) }
	case "cpu", "memory":
		uses, err := s.ContainerUses(ctx, list...)
		if err != nil {
			return err
		}
		of := func(c ide.Container) float64 {
			u, ok := uses[c.ID]
			switch {
			case !ok:
				return -1
			case name == "cpu":
				return u.CPU
			}
			return float64(u.Memory)
		}
		order = func(a, b ide.Container) int { return cmp.Compare(of(a), of(b)) }
	default:
		return nil
	}
	slices.SortStableFunc(list, func(a, b ide.Container) int {
		if down {
			return order(b, a)
		}
		return order(a, b)
	})
	return nil
}
