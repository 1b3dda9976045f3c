package queue

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// snapshotEvery is what a crash of a process with an in-memory Redis may
// cost.
const snapshotEvery = 30 * time.Second

// snapshotFile is its name in the data directory.
const snapshotFile = "redis.snapshot"

// memory runs a Redis in this process. miniredis never expires keys by
// itself, so its clock is pushed; and it keeps nothing, so what it holds is
// written to a file.
func memory(ctx context.Context, file string, log *slog.Logger) (*Redis, error) {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		return nil, fmt.Errorf("start in-memory redis: %w", err)
	}
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), PoolSize: poolSize})
	if err := load(ctx, client, file); err != nil {
		m.Close()
		return nil, errors.Join(fmt.Errorf("load %s: %w", file, err), client.Close())
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick, write := time.NewTicker(250*time.Millisecond), time.NewTicker(snapshotEvery)
		defer tick.Stop()
		defer write.Stop()
		last := time.Now()
		for {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				m.FastForward(now.Sub(last))
				last = now
			case <-write.C:
				if err := save(context.WithoutCancel(ctx), client, file); err != nil {
					log.Error("snapshot was not written", "file", file, "err", err)
				}
			}
		}
	}()
	ours := redis.NewClient(&redis.Options{Addr: m.Addr()}) // outlives Client, for the last snapshot
	return &Redis{Client: client, Durability: Snapshot, close: func() error {
		close(stop)
		<-stopped
		err := save(context.WithoutCancel(ctx), ours, file)
		err = errors.Join(err, ours.Close())
		m.Close()
		return err
	}}, nil
}

// entry is a key in a snapshot. Values are flat: member and score, field and
// value, or stream ID and its fields joined by zero bytes.
type entry struct {
	Key, Type string
	TTL       int64 // ms; -1 is none
	Values    []string
}

// dumpScript reads everything at one moment.
//
// Answers: for each key [key, type, ttl, values…]
var dumpScript = redis.NewScript(`
local out = {}
for _, k in ipairs(redis.call('KEYS', '*')) do
  local t = redis.call('TYPE', k)
  if type(t) == 'table' then t = t.ok end
  local v
  if t == 'string' then v = {redis.call('GET', k)}
  elseif t == 'list' then v = redis.call('LRANGE', k, 0, -1)
  elseif t == 'set' then v = redis.call('SMEMBERS', k)
  elseif t == 'hash' then v = redis.call('HGETALL', k)
  elseif t == 'zset' then v = redis.call('ZRANGE', k, 0, -1, 'WITHSCORES')
  elseif t == 'stream' then
    v = {}
    for _, m in ipairs(redis.call('XRANGE', k, '-', '+')) do
      v[#v+1] = m[1]
      v[#v+1] = table.concat(m[2], '\0')
    end
  end
  if v then out[#out+1] = {k, t, redis.call('PTTL', k), v} end
end
return out
`)

// save writes a snapshot: to a new file, onto the disk, and then in place of
// the old one.
func save(ctx context.Context, c *redis.Client, file string) error {
	rows, err := dumpScript.Run(ctx, c, nil).Slice()
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	var entries []entry
	for _, row := range rows {
		r := row.([]any)
		e := entry{Key: r[0].(string), Type: r[1].(string), TTL: r[2].(int64)}
		for _, v := range r[3].([]any) {
			e.Values = append(e.Values, fmt.Sprint(v))
		}
		entries = append(entries, e)
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriter(f)
	if err := errors.Join(gob.NewEncoder(w).Encode(entries), w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// load reads a snapshot; no file is none.
func load(ctx context.Context, c *redis.Client, file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var entries []entry
	if err := gob.NewDecoder(bufio.NewReader(f)).Decode(&entries); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	_, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, e := range entries {
			if err := put(ctx, p, e); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func put(ctx context.Context, p redis.Pipeliner, e entry) error {
	values := make([]any, len(e.Values))
	for i, v := range e.Values {
		values[i] = v
	}
	pairs := func(do func(a, b string)) {
		for i := 0; i+1 < len(e.Values); i += 2 {
			do(e.Values[i], e.Values[i+1])
		}
	}
	switch e.Type {
	case "string":
		p.Set(ctx, e.Key, e.Values[0], 0)
	case "list":
		p.RPush(ctx, e.Key, values...)
	case "set":
		p.SAdd(ctx, e.Key, values...)
	case "hash":
		p.HSet(ctx, e.Key, values...)
	case "zset":
		pairs(func(member, score string) { p.Do(ctx, "ZADD", e.Key, score, member) })
	case "stream":
		pairs(func(id, fields string) {
			p.XAdd(ctx, &redis.XAddArgs{Stream: e.Key, ID: id, Values: strings.Split(fields, "\x00")})
		})
	default:
		return fmt.Errorf("key %q has the unknown type %q", e.Key, e.Type)
	}
	if e.TTL > 0 {
		p.PExpire(ctx, e.Key, time.Duration(e.TTL)*time.Millisecond)
	}
	return nil
}

// containsLine says whether text has a line, as INFO's answers do.
func containsLine(text, line string) bool {
	for l := range strings.Lines(text) {
		if strings.TrimSpace(l) == line {
			return true
		}
	}
	return false
}
