package store

import (
	"context"
	"fmt"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// lineBytes is what a line may take in a stream, on average over the whole
// stream. Streams whose lines are longer are kept shorter.
const lineBytes = 512

// logCursorTTL is how long the place in the logs of a node is remembered that
// has no worker.
const logCursorTTL = 7 * 24 * time.Hour

// LogCursor is a place in the log of a container: an instant, and how many
// lines of that instant were taken. The zero value is the beginning.
type LogCursor struct {
	At    time.Time
	Lines int
}

// After is the place after another line. A line of an earlier instant (the two
// streams of a program are not quite in order) leaves it where it is.
func (c LogCursor) After(at time.Time) LogCursor {
	switch {
	case at.After(c.At):
		return LogCursor{At: at, Lines: 1}
	case at.Equal(c.At):
		c.Lines++
	}
	return c
}

func (c LogCursor) String() string {
	if c.At.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d %d", c.At.UnixNano(), c.Lines)
}

func parseLogCursor(text string) LogCursor {
	var ns int64
	var c LogCursor
	if n, _ := fmt.Sscanf(text, "%d %d", &ns, &c.Lines); n != 2 {
		return LogCursor{}
	}
	c.At = time.Unix(0, ns).UTC()
	return c
}

// Shipment is what is new in one log. Without an engine ID it is the control
// plane's own and has no cursor.
type Shipment struct {
	EngineID string
	From, To LogCursor
	Lines    []ide.LogLine
}

// ShipLogs adds lines to the stream of all, and those of containers to their
// own, as long as there is a record of them. A log that is not at From any more
// is left alone and named as stale, unless it is at To, because then this call
// has been made before.
func (s *Store) ShipLogs(ctx context.Context, node string, shipments []Shipment) (stale []string, err error) {
	args := []any{s.cfg.LogLines, s.cfg.LogLines * lineBytes, s.cfg.ContainerLines, s.cfg.ContainerLines * lineBytes, node, int(logCursorTTL.Seconds())}
	for _, sh := range shipments {
		args = append(args, sh.EngineID, sh.From.String(), sh.To.String(), len(sh.Lines))
		for _, l := range sh.Lines {
			args = append(args, l.At.UnixNano(), l.Container, l.Source, l.Level, l.Text)
		}
	}
	return s.run(ctx, shipScript, []string{logsKey, logCursorsKey(node)}, args...)
}

// shipScript adds lines to the streams, and moves the places in the logs that
// they are from.
//
// KEYS: 1 logs, 2 places in the node's logs
//
// ARGV: 1 lines kept, 2 bytes kept, 3 lines kept of a container, 4 bytes kept
// of a container, 5 node, 6 TTL of the places (s); then of each log: engine
// ID, place before, place after, number of lines; and of each line: time (ns),
// container, source, level, text
//
// Answers: [engine ID of a log that is at another place…]
var shipScript = redis.NewScript(`
local P = '{berth}:'
local stale, touched, i = {}, {}, 7
local function trim(key, lines, bytes)
  redis.call('XTRIM', key, 'MAXLEN', '~', lines)
  local used = redis.call('MEMORY', 'USAGE', key)
  if used and used > tonumber(bytes) then
    redis.call('XTRIM', key, 'MAXLEN', '~', math.floor(redis.call('XLEN', key) * bytes / used))
  end
end
while i <= #ARGV do
  local engine, from, to, n = ARGV[i], ARGV[i+1], ARGV[i+2], tonumber(ARGV[i+3])
  local at = engine ~= '' and (redis.call('HGET', KEYS[2], engine) or '') or from
  i = i + 4
  if at == from then
    for k = i, i + 5 * n - 1, 5 do
      local c = ARGV[k+1]
      local id = redis.call('XADD', KEYS[1], '*', 't', ARGV[k], 'n', ARGV[5], 'c', c, 's', ARGV[k+2], 'l', ARGV[k+3], 'm', ARGV[k+4])
      if c ~= '' then
        if touched[c] == nil then touched[c] = redis.call('EXISTS', P..'c:'..c) == 1 end
        if touched[c] then
          redis.pcall('XADD', P..'c:'..c..':log', id, 't', ARGV[k], 'n', ARGV[5], 'c', c, 's', ARGV[k+2], 'l', ARGV[k+3], 'm', ARGV[k+4])
        end
      end
    end
    if engine ~= '' and to ~= '' then
      redis.call('HSET', KEYS[2], engine, to)
      redis.call('EXPIRE', KEYS[2], ARGV[6])
    end
  elseif at ~= to then
    stale[#stale+1] = engine
  end
  i = i + 5 * n
end
trim(KEYS[1], ARGV[1], ARGV[2])
for c, kept in pairs(touched) do
  if kept then trim(P..'c:'..c..':log', ARGV[3], ARGV[4]) end
end
return stale
`)

// LogCursors returns how far the logs of a node's containers were read, by
// engine ID, and remembers it for another while.
func (s *Store) LogCursors(ctx context.Context, node string) (map[string]LogCursor, error) {
	var all *redis.MapStringStringCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		all = p.HGetAll(ctx, logCursorsKey(node))
		p.Expire(ctx, logCursorsKey(node), logCursorTTL)
		return nil
	})
	if err != nil {
		return nil, down(err)
	}
	cursors := make(map[string]LogCursor, len(all.Val()))
	for id, text := range all.Val() {
		cursors[id] = parseLogCursor(text)
	}
	return cursors, nil
}

// ForgetLogs drops the places in logs that are no more.
func (s *Store) ForgetLogs(ctx context.Context, node string, engineIDs []string) error {
	if len(engineIDs) == 0 {
		return nil
	}
	return down(s.rdb.HDel(ctx, logCursorsKey(node), engineIDs...).Err())
}
