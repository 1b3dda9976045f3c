package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// fadeAfter is how long the worker of a node that has left may be silent before
// it is forgotten.
const fadeAfter = 30 * time.Second

// KeepNodes forgets what is kept of nodes that are not among those that are
// there, and the workers that were on them.
func (s *Store) KeepNodes(ctx context.Context, nodes []string) error {
	var known *redis.StringSliceCmd
	var workers *redis.MapStringStringCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.SAdd(ctx, knownKey, nodes)
		known, workers = p.SMembers(ctx, knownKey), p.HGetAll(ctx, workersKey)
		return nil
	})
	if err != nil {
		return down(err)
	}
	list, err := sorted(workers.Val(), nil, func(w ide.Worker) string { return w.ID })
	if err != nil {
		return err
	}
	now := s.Time(ctx)
	gone := slices.DeleteFunc(known.Val(), func(n string) bool { return slices.Contains(nodes, n) })
	list = slices.DeleteFunc(list, func(w ide.Worker) bool { return slices.Contains(nodes, w.Node) || now.Sub(w.At) < fadeAfter })
	if len(gone)+len(list) == 0 {
		return nil
	}
	pairs, err := s.nodePairs(ctx, gone)
	if err != nil {
		return err
	}
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, n := range gone {
			p.Del(ctx, volumesKey(n), logCursorsKey(n))
			p.SRem(ctx, knownKey, n)
		}
		for _, w := range list {
			p.HDel(ctx, workersKey, w.ID)
		}
		if len(pairs) > 0 {
			p.HDel(ctx, seqKey, pairs...)
		}
		return nil
	})
	return down(err)
}

// nodePairs are the numbered pairs of functions and nodes. A node never comes back
// under its ID, so no job of such a pair follows.
func (s *Store) nodePairs(ctx context.Context, nodes []string) ([]string, error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	all, err := s.rdb.HKeys(ctx, seqKey).Result()
	if err != nil {
		return nil, down(err)
	}
	return slices.DeleteFunc(all, func(pair string) bool {
		_, target, _ := strings.Cut(pair, ":")
		return !slices.Contains(nodes, target)
	}), nil
}

// PublishJoin tells what lets machines join, sealed; it is forgotten when it is
// not told again.
func (s *Store) PublishJoin(ctx context.Context, sealed string) error {
	return down(s.rdb.Set(ctx, joinKey, sealed, time.Minute).Err())
}

// Join returns what was last published, sealed; empty is nothing.
func (s *Store) Join(ctx context.Context) (string, error) {
	sealed, err := s.rdb.Get(ctx, joinKey).Result()
	if isNil(err) {
		return "", nil
	}
	return sealed, down(err)
}
