package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// Container returns a record, or CONTAINER_NOT_FOUND.
func (s *Store) Container(ctx context.Context, id string) (ide.Container, error) {
	c, _, err := s.read(ctx, id)
	return c, err
}

// read returns a record and its revision.
func (s *Store) read(ctx context.Context, id string) (ide.Container, string, error) {
	v, err := s.rdb.HMGet(ctx, containerKey(id), "doc", "node", "rev").Result()
	if err != nil {
		return ide.Container{}, "", down(err)
	}
	if v[0] == nil {
		return ide.Container{}, "0", notFound(id)
	}
	c, err := decodeContainer(v)
	if err != nil {
		return ide.Container{}, "", fmt.Errorf("decode container %s: %w", id, err)
	}
	rev, _ := v[2].(string)
	return c, rev, nil
}

func notFound(id string) *ide.Error {
	return ide.Errorf(ide.ContainerNotFound, "There is no container %q.", id)
}

// decodeContainer reads the fields doc and node.
func decodeContainer(v []any) (ide.Container, error) {
	var c ide.Container
	doc, _ := v[0].(string)
	if err := json.Unmarshal([]byte(doc), &c); err != nil {
		return c, err
	}
	c.Node, _ = v[1].(string)
	return c, nil
}

// Unsaved stands in a Filter for a status: the containers whose node holds
// files that no bucket has.
const Unsaved = "unsaved"

// Filter of a list. Empty fields match everything.
type Filter struct {
	Owner  string
	Status string
	Limit  int
	Offset int
}

// Containers returns a page of records, newest first, and how many match.
func (s *Store) Containers(ctx context.Context, f Filter) ([]ide.Container, int, error) {
	ids, total, err := s.page(ctx, "cs", f)
	if err != nil {
		return nil, 0, err
	}
	list, err := s.containers(ctx, ids)
	return list, total, err
}

// containers reads the records of ids; one that cannot be read is left out.
func (s *Store) containers(ctx context.Context, ids []string) ([]ide.Container, error) {
	rows := make([]*redis.SliceCmd, len(ids))
	if len(ids) > 0 {
		_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, id := range ids {
				rows[i] = p.HMGet(ctx, containerKey(id), "doc", "node")
			}
			return nil
		})
		if err != nil {
			return nil, down(err)
		}
	}
	list := make([]ide.Container, 0, len(ids))
	for _, row := range rows {
		if c, err := decodeContainer(row.Val()); err == nil {
			list = append(list, c)
		}
	}
	return list, nil
}

// page returns a page of an index, newest first, and its whole length.
func (s *Store) page(ctx context.Context, kind string, f Filter) ([]string, int, error) {
	key := indexKey(kind, f.Owner, f.Status)
	var ids *redis.StringSliceCmd
	var total *redis.IntCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		ids = p.ZRevRange(ctx, key, int64(f.Offset), int64(f.Offset+f.Limit-1))
		total = p.ZCard(ctx, key)
		return nil
	})
	if err != nil {
		return nil, 0, down(err)
	}
	return ids.Val(), int(total.Val()), nil
}

// ByStatus returns every record in one of the states.
func (s *Store) ByStatus(ctx context.Context, states ...ide.Status) ([]ide.Container, error) {
	var ids []string
	for _, st := range states {
		some, err := s.rdb.ZRange(ctx, indexKey("cs", "", string(st)), 0, -1).Result()
		if err != nil {
			return nil, down(err)
		}
		ids = append(ids, some...)
	}
	return s.containers(ctx, ids)
}

// Counts returns how many containers are in each state.
func (s *Store) Counts(ctx context.Context) (map[ide.Status]int, error) {
	cmds := map[ide.Status]*redis.IntCmd{}
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, st := range ide.Statuses() {
			cmds[st] = p.ZCard(ctx, indexKey("cs", "", string(st)))
		}
		return nil
	})
	counts := map[ide.Status]int{}
	for st, cmd := range cmds {
		counts[st] = int(cmd.Val())
	}
	return counts, down(err)
}

// Update changes a record by compare-and-set: edit sees the present record
// and may be called again when somebody else was quicker. An error of edit's
// ends it, and nothing is written.
func (s *Store) Update(ctx context.Context, id string, edit func(*ide.Container) error) (ide.Container, error) {
	return s.change(ctx, id, nil, edit)
}

// Note changes a record and tells of it in the container's history where edit
// says so and there is a message. As in Update, edit may be called again.
func (s *Store) Note(ctx context.Context, id, kind, message string, edit func(*ide.Container) (tell bool)) error {
	_, err := s.Tell(ctx, id, func(c *ide.Container) (*ide.Event, error) {
		if edit(c) && message != "" {
			return &ide.Event{Type: kind, Job: c.Job, Message: message}, nil
		}
		return nil, nil
	})
	return err
}

// Tell is an Update with an event, which is written together with the record;
// nil is none.
func (s *Store) Tell(ctx context.Context, id string, edit func(*ide.Container) (*ide.Event, error)) (ide.Container, error) {
	var event *ide.Event
	return s.change(ctx, id, &event, func(c *ide.Container) (err error) {
		event, err = edit(c)
		return err
	})
}

// Move changes a container's state, the one way to do so: an illegal move is
// a CONFLICT that names the state, repeating a move succeeds without a second
// event. edit, which may be nil, changes further fields with it. A move out of the
// live states keeps the reservation: Release frees it, when the task is gone.
func (s *Store) Move(ctx context.Context, id string, run int, to ide.Status, by, message string, edit func(*ide.Container)) (ide.Container, error) {
	return s.MoveFrom(ctx, id, run, ide.Statuses(), to, by, message, edit)
}

// MoveFrom is a Move that is a CONFLICT as well when the container is in none
// of the states from.
func (s *Store) MoveFrom(ctx context.Context, id string, run int, from []ide.Status, to ide.Status, by, message string, edit func(*ide.Container)) (ide.Container, error) {
	var event *ide.Event
	return s.change(ctx, id, &event, func(c *ide.Container) error {
		event = nil
		if c.Run != run {
			return conflict(*c, "It was started again since.")
		}
		if !ide.CanMove(c.Status, to) || c.Status != to && !slices.Contains(from, c.Status) {
			return conflict(*c, fmt.Sprintf("It is %s, which cannot become %s.", c.Status, to))
		}
		if c.Status != to {
			event = &ide.Event{Type: "container." + string(to), By: by, Job: c.Job, Message: message}
		}
		c.Status = to
		if edit != nil {
			edit(c)
		}
		return nil
	})
}

func conflict(c ide.Container, why string) *ide.Error {
	e := ide.Errorf(ide.Conflict, "The container's state does not allow this. %s", why)
	e.Details = map[string]any{"status": c.Status}
	return e
}

// change is the compare-and-set behind Update and Move. *event, set by edit,
// is written together with the record.
func (s *Store) change(ctx context.Context, id string, event **ide.Event, edit func(*ide.Container) error) (ide.Container, error) {
	for {
		c, rev, err := s.read(ctx, id)
		if err != nil {
			return c, err
		}
		before := routeOf(c)
		if err := edit(&c); err != nil {
			return c, err
		}
		var e *ide.Event
		history := ""
		if event != nil && *event != nil {
			e, history = *event, id
		} else if routeOf(c) != before {
			e = &ide.Event{Type: "container.route"} // for the edges, no part of the container's history
		}
		answer, err := s.run(ctx, updateScript, []string{containerKey(id)}, id, rev, encode(c), string(c.Status), c.Node,
			c.Owner, ms(c.CreatedAt), eventOf(c, e), s.cfg.EventsKept, history)
		if err != nil {
			return c, err
		}
		switch answer[0] {
		case "ok":
			return c, nil
		case "gone":
			return c, notFound(id)
		}
	}
}

// Release frees the reservation of a container's run. Doing it again changes
// nothing, and a later run's stays.
func (s *Store) Release(ctx context.Context, id string, run int) error {
	_, err := s.run(ctx, releaseScript, nil, id, run)
	return err
}

// Drop removes a stopped or failed container's record and history. The numbers of
// jobs of these pairs ("function:target") go with it.
func (s *Store) Drop(ctx context.Context, id string, pairs []string) error {
	for {
		c, rev, err := s.read(ctx, id)
		if ide.HasCode(err, ide.ContainerNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if c.Status != ide.Stopped && c.Status != ide.Failed {
			return conflict(c, "Stop it first.")
		}
		e := ide.Event{Type: "container.purged", At: time.Now().UTC(), Container: id, Owner: c.Owner, Route: &ide.Route{ID: id, Gone: true}}
		args := []any{id, rev, c.Owner, encode(e), s.cfg.EventsKept}
		for _, p := range pairs {
			args = append(args, p)
		}
		answer, err := s.run(ctx, dropScript, []string{containerKey(id)}, args...)
		if err != nil || answer[0] == "ok" {
			return err
		}
	}
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("store: encode: " + err.Error()) // only types of ours, which all encode
	}
	return string(b)
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
