package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/internal/ide"
)

// Pause says that a schedule rests, since when and by whom.
type Pause struct {
	At time.Time `json:"at" doc:"Since when"`
	By string    `json:"by" doc:"Name of the API key that paused it" example:"admin"`
}

// Pauses returns which schedules rest, by function.
func (s *Store) Pauses(ctx context.Context) (map[string]Pause, error) {
	all, err := s.rdb.HGetAll(ctx, pausedKey).Result()
	if err != nil {
		return nil, down(err)
	}
	pauses := map[string]Pause{}
	for name, text := range all {
		var p Pause
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return nil, fmt.Errorf("decode pause of %s: %w", name, err)
		}
		pauses[name] = p
	}
	return pauses, nil
}

// Pause lets a function's schedule rest. The first pause stands.
func (s *Store) Pause(ctx context.Context, function string, p Pause) error {
	return down(s.rdb.HSetNX(ctx, pausedKey, function, encode(p)).Err())
}

// Resume ends a pause.
func (s *Store) Resume(ctx context.Context, function string) error {
	return down(s.rdb.HDel(ctx, pausedKey, function).Err())
}

// LastInstants returns the last instant that had a job, by function.
func (s *Store) LastInstants(ctx context.Context) (map[string]time.Time, error) {
	all, err := s.rdb.HGetAll(ctx, instantsKey).Result()
	if err != nil {
		return nil, down(err)
	}
	instants := map[string]time.Time{}
	for name, text := range all {
		instants[name] = fromMS(int64(atoi(text)))
	}
	return instants, nil
}

// LastJob returns the newest job of a function that is about no container; ok
// is false when there was none, or none that is remembered.
func (s *Store) LastJob(ctx context.Context, function string) (j ide.Job, ok bool, err error) {
	seq, err := s.rdb.HGet(ctx, seqKey, function+":").Result()
	if isNil(err) {
		return j, false, nil
	}
	if err != nil {
		return j, false, down(err)
	}
	j, err = s.Job(ctx, function+"::"+seq)
	if ide.HasCode(err, ide.JobNotFound) {
		return j, false, nil
	}
	return j, err == nil, err
}

// TrimEvents drops what happened before t from the shared stream. A
// container's own history stays as long as its record.
func (s *Store) TrimEvents(ctx context.Context, t time.Time) (int, error) {
	n, err := s.rdb.XTrimMinID(ctx, eventsKey, fmt.Sprint(ms(t))).Result()
	return int(n), down(err)
}
