package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

var (
	errNoBackup = errors.New("it is no backup of Berth's")
	errCut      = errors.New("it is cut off: the last line, which a whole backup ends with, is missing")
	errChanged  = errors.New("it was changed or damaged: its checksum is another")
)

const (
	// restoringFor is how long a restore that has died keeps workers waiting.
	restoringFor = time.Minute
	// orphanFor is how long a history stays whose container does not come back.
	orphanFor = 24 * time.Hour
)

// RestoreBackup empties this Redis of everything of Berth's and writes what a backup
// holds. The whole file is checked before, and nothing is changed if it is
// not good, or if there are containers, API keys or webhooks here and replace is
// not set. Afterwards workers bring the containers back from Swarm; until then
// nothing is placed.
func (s *Store) RestoreBackup(ctx context.Context, r io.ReadSeeker, replace bool) (h BackupHeader, entries int, err error) {
	if h, _, err = readBackup(r, checkEntry); err != nil {
		return h, 0, fmt.Errorf("nothing was restored: %w", err)
	}
	if !replace {
		if err := s.mustBeEmpty(ctx); err != nil {
			return h, 0, err
		}
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return h, 0, err
	}
	if err := s.keepRestoring(ctx); err != nil {
		return h, 0, err
	}
	if err := s.wipe(ctx); err != nil {
		return h, 0, err
	}
	batch := entryBatch{s: s}
	if h, entries, err = readBackup(r, func(e backupEntry) error { return batch.add(ctx, e) }); err == nil {
		err = batch.flush(ctx)
	}
	if err != nil {
		return h, entries, fmt.Errorf("restored in part, restore again with --replace: %w", err)
	}
	return h, entries, down(s.rdb.Del(ctx, rebuiltKey, restoringKey).Err())
}

// mustBeEmpty refuses a Redis that has something to lose.
func (s *Store) mustBeEmpty(ctx context.Context) error {
	var containers, keys, hooks *redis.IntCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		containers, keys, hooks = p.ZCard(ctx, indexKey("cs", "", "")), p.HLen(ctx, keysKey), p.SCard(ctx, hooksKey)
		return nil
	})
	if err != nil {
		return down(err)
	}
	if containers.Val()+keys.Val()+hooks.Val() > 0 {
		return ide.Errorf(ide.Conflict, "Nothing was restored: this Redis has %d containers, %d API keys and %d webhooks. With --replace they are dropped; containers then come back from Swarm.",
			containers.Val(), keys.Val(), hooks.Val())
	}
	return nil
}

func (s *Store) keepRestoring(ctx context.Context) error {
	return down(s.rdb.Set(ctx, restoringKey, "1", restoringFor).Err())
}

// wipe removes every key of ours.
func (s *Store) wipe(ctx context.Context) error {
	next := func(cursor uint64) *redis.ScanCmd { return s.rdb.Scan(ctx, cursor, prefix+"*", 1000) }
	return scan(next, func(keys []string) error {
		_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, key := range keys {
				if key != restoringKey {
					p.Unlink(ctx, key)
				}
			}
			p.Expire(ctx, restoringKey, restoringFor)
			return nil
		})
		return down(err)
	})
}

// checkEntry refuses what this program would not have written.
func checkEntry(e backupEntry) error {
	ok := len(e.Fields) > 0
	switch formOf(e.Key) {
	case "hook:<id>":
		_, err := decodeWebhook(e.Fields["doc"])
		ok = err == nil
	case "j:<id>":
		_, err := decodeJob([]any{e.Fields["doc"], e.Fields["status"], e.Fields["attempt"]})
		ok = err == nil && ide.JobStatus(e.Fields["status"]).Ended()
	case "idem:<owner>:<key>":
		ok = e.Value != "" && e.Expires != nil
	case "c:<id>:events":
		ok = len(e.Events) > 0
	case "":
		ok = false
	}
	if !ok {
		return fmt.Errorf("this program knows no such entry (%.100q)", e.Key)
	}
	return nil
}

// formOf is the form in backedUp that a key has; ” is none.
func formOf(key string) string {
	parts := strings.Split(key, ":")
	switch n := len(parts); {
	case key == "keys" || key == "keys:used" || key == "schedules:paused" || key == "j:seq":
		return key
	case parts[0] == "hook" && n == 2:
		return "hook:<id>"
	case parts[0] == "idem" && n >= 3:
		return "idem:<owner>:<key>"
	case parts[0] == "c" && n == 3 && parts[2] == "events":
		return "c:<id>:events"
	case parts[0] == "j" && n == 4:
		return "j:<id>"
	}
	return ""
}

// entryBatch writes entries many at a time. What is there meanwhile stays: a
// process that runs on may have made it anew.
type entryBatch struct {
	s    *Store
	list []backupEntry
	size int
}

// batchSize bounds what is held in memory, in bytes.
const batchSize = 1 << 20

func (b *entryBatch) add(ctx context.Context, e backupEntry) error {
	b.list, b.size = append(b.list, e), b.size+len(e.Value)
	for f, v := range e.Fields {
		b.size += len(f) + len(v)
	}
	for _, m := range e.Events {
		b.size += len(m.Event)
	}
	if len(b.list) < scanCount && b.size < batchSize {
		return nil
	}
	return b.flush(ctx)
}

func (b *entryBatch) flush(ctx context.Context) error {
	if err := b.s.keepRestoring(ctx); err != nil {
		return err
	}
	_, err := b.s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, e := range b.list {
			if err := put(ctx, p, e); err != nil {
				return err
			}
		}
		return nil
	})
	b.list, b.size = nil, 0
	return down(err)
}

func put(ctx context.Context, p redis.Pipeliner, e backupEntry) error {
	key := prefix + e.Key
	switch formOf(e.Key) {
	case "keys":
		for digest, doc := range e.Fields {
			var k ide.Key
			if err := json.Unmarshal([]byte(doc), &k); err != nil {
				return fmt.Errorf("decode key: %w", err)
			}
			addKeyScript.Eval(ctx, p, []string{keysKey, namesKey}, k.Name, digest, doc)
		}
	case "j:seq":
		for pair, number := range e.Fields {
			putNumberScript.Eval(ctx, p, []string{seqKey}, pair, number)
		}
	case "idem:<owner>:<key>":
		if left := time.Until(*e.Expires); left > 0 {
			p.SetNX(ctx, key, e.Value, left)
		}
	case "c:<id>:events":
		args := []any{orphanFor.Milliseconds()}
		for _, m := range e.Events {
			args = append(args, m.ID, m.Event)
		}
		putHistoryScript.Eval(ctx, p, []string{key}, args...)
	case "j:<id>":
		args := []any{strings.TrimPrefix(e.Key, "j:"), e.Ended}
		putJobScript.Eval(ctx, p, []string{key}, append(args, flat(e.Fields)...)...)
	case "hook:<id>":
		w, err := decodeWebhook(e.Fields["doc"])
		if err != nil {
			return err
		}
		args := []any{w.ID, w.Owner, flag(w.All), e.Fields["doc"], e.Fields["types"]}
		putHookScript.Eval(ctx, p, []string{key}, append(args, flat(e.Fields)...)...)
	default:
		for field, value := range e.Fields {
			p.HSetNX(ctx, key, field, value)
		}
	}
	return nil
}

// flat is a map as a list of fields and values.
func flat(m map[string]string) []any {
	list := make([]any, 0, 2*len(m))
	for f, v := range m {
		list = append(list, f, v)
	}
	return list
}

// putNumberScript raises the number of a pair's last job.
//
// KEYS: 1 numbers
//
// ARGV: 1 function:container, 2 number
var putNumberScript = redis.NewScript(`
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return 'ok'
`)

// putHistoryScript writes the history of a container. Until its record comes back
// from Swarm it is kept for a while only.
//
// KEYS: 1 history
//
// ARGV: 1 for how long (ms), 2… ID and event by turns
var putHistoryScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then return 'there' end
for i = 2, #ARGV, 2 do redis.call('XADD', KEYS[1], ARGV[i], 'e', ARGV[i+1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'ok'
`)

// putJobScript writes a job that has ended.
//
// KEYS: 1 job
//
// ARGV: 1 ID, 2 end as it counts for pruning (ms), 3… fields and values by turns
var putJobScript = redis.NewScript(library + `
if redis.call('EXISTS', KEYS[1]) == 1 then return 'there' end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i+1]) end
local h = redis.call('HMGET', KEYS[1], 'owner', 'status', 'queued')
index('js', ARGV[1], h[1], '', h[2], h[3])
redis.call('ZADD', P..'j:ended', ARGV[2], ARGV[1])
return 'ok'
`)

// putHookScript writes a standing webhook.
//
// KEYS: 1 webhook
//
// ARGV: 1 ID, 2 owner, 3 hears of everything (0 or 1), 4 doc, 5 types it hears of,
// by commas (” = all), 6… fields and values by turns
var putHookScript = redis.NewScript(library + `
if redis.call('EXISTS', KEYS[1]) == 1 then return 'there' end
local who = 'hooks:o:'..ARGV[2]
if ARGV[3] == '1' then who = 'hooks:all' end
addhook(ARGV[1], ARGV[4], ARGV[5], who)
redis.call('SADD', P..'hooks:n:'..ARGV[2], ARGV[1])
for i = 6, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i+1]) end
return 'ok'
`)
