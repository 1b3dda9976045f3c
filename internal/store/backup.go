package store

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// backedUp lists the forms of keys.go that a backup holds: what Swarm does not
// know.
var backedUp = []string{
	"keys", "keys:used", "schedules:paused", "hook:<id>", "idem:<owner>:<key>", "c:<id>:events", "j:<id>", "j:seq",
}

// leftOut says of every other form why a backup does without.
var leftOut = map[string]string{
	"c:<id>":                  "Swarm's configs have it",
	"c:<id>:jobs":             "open jobs end with the Redis that they were in",
	"cs":                      "follows from c:<id>",
	"cs:s:<status>":           "follows from c:<id>",
	"cs:o:<owner>":            "follows from c:<id>",
	"cs:o:<owner>:s:<status>": "follows from c:<id>",
	"js":                      "follows from j:<id>",
	"js:s:<status>":           "follows from j:<id>",
	"js:o:<owner>":            "follows from j:<id>",
	"js:o:<owner>:s:<status>": "follows from j:<id>",
	"j:due":                   "of open jobs",
	"j:ended":                 "its scores stand with j:<id>",
	"j:open":                  "of open jobs",
	"turn:<queue>:<owner>":    "of open jobs",
	"run:<queue>:<owner>":     "of open jobs",
	"wait:<queue>:<owner>":    "of open jobs",
	"lease:<target>":          "of open jobs",
	"nodes":                   "workers publish it",
	"nodes:down":              "workers publish it",
	"nodes:known":             "workers publish it",
	"join":                    "workers publish it",
	"cap":                     "workers publish it",
	"told:<what>":             "said again once",
	"nodes:failing":           "counted anew",
	"nodes:resting":           "of minutes",
	"nodes:high":              "workers publish it",
	"nodes:pressure":          "workers publish it",
	"addresses":               "workers publish it",
	"use:<node>":              "workers publish it",
	"use:<node>:c":            "workers publish it",
	"past:n:<node>":           "a day of measurements at most",
	"past:c:<container>":      "a day of measurements at most",
	"workers":                 "workers publish it",
	"edges":                   "workers publish it",
	"res":                     "follows from the containers",
	"res:cpu":                 "follows from the containers",
	"res:mem":                 "follows from the containers",
	"res:n":                   "follows from the containers",
	"res:gen":                 "follows from the containers",
	"places":                  "follows from the containers",
	"volumes:<node>":          "sweeps find volumes that nothing needs",
	"events":                  "a container's own history is kept, the stream of all is not",
	"c:<id>:log":              "only a log, and may be large",
	"logs":                    "only a log, and may be large",
	"logs:at:<node>":          "the engines' logs are read again from their beginning",
	"activity":                "old activity would stop containers that are in use",
	"schedules:last":          "a schedule begins anew at its next instant",
	"rate:{berth}:<who>":      "limits count minutes",
	"keys:names":              "follows from keys",
	"session:<id>":            "people sign in again",
	"hooks":                   "follows from hook:<id>",
	"hooks:n:<owner>":         "follows from hook:<id>",
	"hooks:all":               "follows from hook:<id>",
	"hooks:o:<owner>":         "follows from hook:<id>",
	"hooks:c:<container>":     "a webhook that came with a start is forgotten",
	"hooks:due":               "of deliveries",
	"hooks:slow":              "of deliveries",
	"hook:<id>:q":             "what was to be delivered may be long past",
	"hook:<id>:log":           "only a log, and may be large",
	"hook:<id>:d:<event>":     "only a log, and may be large",
	"rebuilt":                 "a restored Redis lacks the containers",
	"restoring":               "says that a backup is being restored",
	"tally":                   "counters begin at 0 with a Redis, as those of a process do",
	"purged:<id>":             "about races that have ended with the Redis",
}

// Backup writes what Swarm does not know to w, and returns the number of
// entries. It is no snapshot: what changes meanwhile is in it or not. It reads
// a few hundred keys at a time.
func (s *Store) Backup(ctx context.Context, w io.Writer, berth string) (int, error) {
	b := newBackupWriter(w)
	b.line(BackupHeader{Format: backupFormat, Berth: berth, At: time.Now().UTC()})
	for _, part := range []func(context.Context, *backupWriter) error{
		s.backupFields("keys"), s.backupFields("keys:used"), s.backupFields("schedules:paused"), s.backupHooks, s.backupAnswers,
		s.backupHistories, s.backupJobs, s.backupFields("j:seq"), // last: no job may have a number that is to come again
	} {
		if err := part(ctx, b); err != nil {
			return b.entries, err
		}
	}
	return b.entries, b.end()
}

// scanner is one of Redis's commands that go through many by a cursor.
type scanner func(cursor uint64) *redis.ScanCmd

// scan calls each with some at a time, until all were seen; some come twice.
func scan(next scanner, each func(some []string) error) error {
	for cursor := uint64(0); ; {
		some, then, err := next(cursor).Result()
		if err != nil {
			return down(err)
		}
		if err := each(some); err != nil {
			return err
		}
		if cursor = then; cursor == 0 {
			return nil
		}
	}
}

const scanCount = 200

// backupFields writes a hash, some fields a line.
func (s *Store) backupFields(key string) func(context.Context, *backupWriter) error {
	return func(ctx context.Context, b *backupWriter) error {
		next := func(cursor uint64) *redis.ScanCmd { return s.rdb.HScan(ctx, prefix+key, cursor, "", scanCount) }
		return scan(next, func(some []string) error {
			if len(some) == 0 {
				return nil
			}
			return b.entry(backupEntry{Key: key, Fields: pairs(some)})
		})
	}
}

// pairs is a flat list of fields and values as a map.
func pairs(flat []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(flat); i += 2 {
		m[flat[i]] = flat[i+1]
	}
	return m
}

// hashes reads the hashes of keys; one that is gone is empty.
func (s *Store) hashes(ctx context.Context, keys []string) ([]map[string]string, error) {
	rows := make([]*redis.MapStringStringCmd, len(keys))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			rows[i] = p.HGetAll(ctx, key)
		}
		return nil
	})
	if err != nil {
		return nil, down(err)
	}
	all := make([]map[string]string, len(keys))
	for i, row := range rows {
		all[i] = row.Val()
	}
	return all, nil
}

// backupHooks writes the standing webhooks, without what is about a delivery
// under way.
func (s *Store) backupHooks(ctx context.Context, b *backupWriter) error {
	next := func(cursor uint64) *redis.ScanCmd { return s.rdb.SScan(ctx, hooksKey, cursor, "", scanCount) }
	return scan(next, func(ids []string) error {
		keys := make([]string, len(ids))
		for i, id := range ids {
			keys[i] = hookKey(id)
		}
		rows, err := s.hashes(ctx, keys)
		if err != nil {
			return err
		}
		for i, fields := range rows {
			w, err := decodeWebhook(fields["doc"])
			if err != nil || w.Container != "" {
				continue // gone, or a container's
			}
			for _, f := range []string{"claim", "token", "hold"} {
				delete(fields, f)
			}
			if err := b.entry(backupEntry{Key: "hook:" + ids[i], Fields: fields}); err != nil {
				return err
			}
		}
		return nil
	})
}

// backupAnswers writes what requests with an Idempotency-Key were answered.
func (s *Store) backupAnswers(ctx context.Context, b *backupWriter) error {
	next := func(cursor uint64) *redis.ScanCmd { return s.rdb.Scan(ctx, cursor, prefix+"idem:*", 10*scanCount) }
	return scan(next, func(keys []string) error {
		values, lives := make([]*redis.StringCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
		_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range keys {
				values[i], lives[i] = p.Get(ctx, key), p.PTTL(ctx, key)
			}
			return nil
		})
		if err != nil && !isNil(err) {
			return down(err)
		}
		for i, key := range keys {
			if values[i].Err() != nil || lives[i].Val() <= 0 {
				continue // ended meanwhile
			}
			until := time.Now().Add(lives[i].Val()).UTC()
			if err := b.entry(backupEntry{Key: strings.TrimPrefix(key, prefix), Value: values[i].Val(), Expires: &until}); err != nil {
				return err
			}
		}
		return nil
	})
}

// backupHistories writes what happened to each container.
func (s *Store) backupHistories(ctx context.Context, b *backupWriter) error {
	next := func(cursor uint64) *redis.ScanCmd {
		return s.rdb.ZScan(ctx, indexKey("cs", "", ""), cursor, "", scanCount)
	}
	return scan(next, func(some []string) error {
		for id := range pairs(some) {
			messages, err := s.rdb.XRange(ctx, containerEventsKey(id), "-", "+").Result()
			if err != nil {
				return down(err)
			}
			e := backupEntry{Key: "c:" + id + ":events"}
			for _, m := range messages {
				text, _ := m.Values["e"].(string)
				e.Events = append(e.Events, backupEvent{ID: m.ID, Event: text})
			}
			if len(e.Events) == 0 {
				continue
			}
			if err := b.entry(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// backupJobs writes the jobs that have ended.
func (s *Store) backupJobs(ctx context.Context, b *backupWriter) error {
	next := func(cursor uint64) *redis.ScanCmd { return s.rdb.ZScan(ctx, endedKey, cursor, "", scanCount) }
	return scan(next, func(some []string) error {
		ended := pairs(some)
		var keys []string
		for id := range ended {
			keys = append(keys, jobKey(id))
		}
		slices.Sort(keys)
		rows, err := s.hashes(ctx, keys)
		if err != nil {
			return err
		}
		for i, fields := range rows {
			if fields["doc"] == "" {
				continue // pruned meanwhile
			}
			e := backupEntry{Key: strings.TrimPrefix(keys[i], prefix), Fields: fields}
			var score float64
			if _, err := fmt.Sscan(ended[strings.TrimPrefix(keys[i], jobKey(""))], &score); err != nil {
				return fmt.Errorf("read end of %s: %w", keys[i], err)
			}
			e.Ended = int64(score)
			if err := b.entry(e); err != nil {
				return err
			}
		}
		return nil
	})
}
