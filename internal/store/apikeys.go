package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// addKeyScript keeps an API key unless its name is taken.
//
// KEYS: 1 keys, 2 names
//
// ARGV: 1 name, 2 digest, 3 doc
//
// Answers: [ok] [taken]
var addKeyScript = redis.NewScript(`
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 0 then return {'taken'} end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return {'ok'}
`)

// removeKeyScript forgets an API key, and its standing webhooks with it: they
// must not go on hearing of what the key may no longer see. It says so to the
// streams that the key has open.
//
// KEYS: 1 keys, 2 names, 3 used, 4 events
//
// ARGV: 1 name, 2 event, 3 events kept
//
// Answers: [ok] [none]
var removeKeyScript = redis.NewScript(library + `
local digest = redis.call('HGET', KEYS[2], ARGV[1])
if not digest then return {'none'} end
redis.call('HDEL', KEYS[1], digest)
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
for _, hid in ipairs(redis.call('SMEMBERS', P..'hooks:n:'..ARGV[1])) do drophook(hid) end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[2])
return {'ok'}
`)

// AddKey keeps a new API key; a name that is taken is a CONFLICT.
func (s *Store) AddKey(ctx context.Context, k ide.Key) error {
	got, err := s.run(ctx, addKeyScript, []string{keysKey, namesKey}, k.Name, k.Digest, encode(k))
	if err == nil && got[0] == "taken" {
		return ide.Errorf(ide.Conflict, "There is an API key named %q.", k.Name)
	}
	return err
}

// RemoveKey forgets an API key and its standing webhooks: from now on no
// process takes it.
func (s *Store) RemoveKey(ctx context.Context, name string) error {
	e := ide.Event{Type: ide.KeyRevoked, At: time.Now().UTC(), Owner: name}
	got, err := s.run(ctx, removeKeyScript, []string{keysKey, namesKey, usedKey, eventsKey}, name, encode(e), s.cfg.EventsKept)
	if err == nil && got[0] == "none" {
		return ide.Errorf(ide.NotFound, "There is no API key %q that was made at run time.", name)
	}
	return err
}

// KeyByDigest returns the API key with the SHA-256, in hexadecimal.
func (s *Store) KeyByDigest(ctx context.Context, digest string) (k ide.Key, ok bool, err error) {
	doc, err := s.rdb.HGet(ctx, keysKey, digest).Bytes()
	if isNil(err) {
		return k, false, nil
	}
	if err != nil {
		return k, false, down(err)
	}
	if err := json.Unmarshal(doc, &k); err != nil {
		return k, false, fmt.Errorf("decode key: %w", err)
	}
	return k, true, nil
}

// KeyUsed notes when a key was used.
func (s *Store) KeyUsed(ctx context.Context, name string, t time.Time) error {
	return down(s.rdb.HSet(ctx, usedKey, name, ms(t)).Err())
}

// Keys returns the API keys that were made at run time, by name, and when
// each key, of any source, was last used.
func (s *Store) Keys(ctx context.Context) (keys []ide.Key, used map[string]time.Time, err error) {
	all, err := s.rdb.HGetAll(ctx, keysKey).Result()
	if keys, err = sorted(all, err, func(k ide.Key) string { return k.Name }); err != nil {
		return nil, nil, err
	}
	noted, err := s.rdb.HGetAll(ctx, usedKey).Result()
	if err != nil {
		return nil, nil, down(err)
	}
	used = map[string]time.Time{}
	for name, text := range noted {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			used[name] = time.UnixMilli(n).UTC()
		}
	}
	return keys, used, nil
}
