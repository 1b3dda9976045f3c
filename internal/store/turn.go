package store

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// window is how many jobs of one owner stand in a queue at a time. The queue
// itself is first come, first served; because nobody has more in it than
// this, and the next one joins at its end when one has begun, the owners take
// turns: a job waits for at most window of each other owner, however many
// they have asked for. A larger window only keeps more workers from running
// dry between two looks at the queue.
const window = 8

// letIn is put before scripts after which others of a lane may be delivered:
// letin adds them to out. At most window of a lane are delivered and have not
// begun, and with those that run and begin no more than may run at once (0 = any
// number).
const letIn = `
local function letin(out, lane, now, window, most, begin)
  local function full()
    local turn = redis.call('SCARD', P..'turn:'..lane)
    return turn >= window or most > 0 and turn + begin + redis.call('SCARD', P..'run:'..lane) >= most
  end
  while not full() do
    local j = redis.call('LPOP', P..'wait:'..lane)
    if not j then break end
    local s = redis.call('HGET', P..'j:'..j, 'status')
    if (s == 'queued' or s == 'retrying' or s == 'running') and redis.call('SISMEMBER', P..'run:'..lane, j) == 0 then -- else it came out of turn, to be canceled
      redis.call('SADD', P..'turn:'..lane, j)
      redis.call('ZADD', P..'j:due', now, j)
      out[#out+1] = j
    end
  end
end
`

// turnScript notes that a delivered job came to a worker, and lets in those
// that waited for it.
//
// KEYS: 1 job
//
// ARGV: 1 job ID, 2 now (ms), 3 the most of a lane that are delivered at once,
// 4 that run at once
//
// Answers: [jobs to deliver…]
var turnScript = redis.NewScript(library + letIn + `
local out = {}
local lane = redis.call('HGET', KEYS[1], 'lane')
if not lane or lane == '' then return out end
redis.call('SREM', P..'turn:'..lane, ARGV[1])
letin(out, lane, ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), 1 - redis.call('SISMEMBER', P..'run:'..lane, ARGV[1]))
return out
`)

// Turn says that a delivery of a job came to a worker, and returns the jobs
// of the same owner that are to be delivered now. From then on they are due:
// if they are not delivered, the ticker sees to it.
func (s *Store) Turn(ctx context.Context, id string) (next []string, err error) {
	return s.run(ctx, turnScript, []string{jobKey(id)}, id, ms(s.Time(ctx)), window, s.cfg.Running)
}
