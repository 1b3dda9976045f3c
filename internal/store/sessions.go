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

// Session is what a browser has been given for an API key.
type Session struct {
	ID      string // SHA-256 of the token that only the browser has, in hexadecimal
	Key     string // name of the API key
	Proof   string // says of which key of that name it is, to who has the token
	Expires time.Time
}

// addSessionScript keeps a session until it expires.
//
// KEYS: 1 session
//
// ARGV: 1 name of the key, 2 proof, 3 expires (ms)
//
// Answers: [ok]
var addSessionScript = redis.NewScript(`
redis.call('HSET', KEYS[1], 'key', ARGV[1], 'proof', ARGV[2], 'expires', ARGV[3])
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
return {'ok'}
`)

// sessionScript reads a session, and the key of its name that was made at run
// time.
//
// KEYS: 1 session, 2 keys, 3 names
//
// Answers: [ok, name of the key, proof, expires (ms), doc of the key (” =
// none)] [none]
var sessionScript = redis.NewScript(`
local h = redis.call('HMGET', KEYS[1], 'key', 'proof', 'expires')
if not h[1] then return {'none'} end
local digest = redis.call('HGET', KEYS[3], h[1])
return {'ok', h[1], h[2], h[3], digest and redis.call('HGET', KEYS[2], digest) or ''}
`)

// endSessionScript forgets a session, and says so to the streams that it has
// open.
//
// KEYS: 1 session, 2 events
//
// ARGV: 1 event, 2 events kept
//
// Answers: [ok]
var endSessionScript = redis.NewScript(`
if redis.call('DEL', KEYS[1]) == 1 then redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'e', ARGV[1]) end
return {'ok'}
`)

// AddSession keeps a session until it expires.
func (s *Store) AddSession(ctx context.Context, n Session) error {
	_, err := s.run(ctx, addSessionScript, []string{sessionKey(n.ID)}, n.Key, n.Proof, ms(n.Expires))
	return err
}

// Session returns a session and, where there is one, the key of its name that
// was made at run time. Whether the session is of that key is the caller's to
// see.
func (s *Store) Session(ctx context.Context, id string) (n Session, k ide.Key, ok bool, err error) {
	got, err := s.run(ctx, sessionScript, []string{sessionKey(id), keysKey, namesKey})
	if err != nil || got[0] == "none" {
		return n, k, false, err
	}
	expires, err := strconv.ParseInt(got[3], 10, 64)
	if err == nil && got[4] != "" {
		err = json.Unmarshal([]byte(got[4]), &k)
	}
	if err != nil {
		return n, k, false, fmt.Errorf("decode session: %w", err)
	}
	return Session{ID: id, Key: got[1], Proof: got[2], Expires: fromMS(expires)}, k, true, nil
}

// EndSession forgets a session.
func (s *Store) EndSession(ctx context.Context, n Session) error {
	e := ide.Event{Type: ide.SessionEnded, At: time.Now().UTC(), Owner: n.Key, Message: n.ID}
	_, err := s.run(ctx, endSessionScript, []string{sessionKey(n.ID), eventsKey}, encode(e), s.cfg.EventsKept)
	return err
}
