package redistest

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Skew makes the clock of this process, as who asks Redis sees it, be ahead of
// Redis's by what set says, or behind where that is negative: Redis's answers to TIME
// are changed, and all else stays.
func Skew(c *redis.Client) (set func(ahead time.Duration)) {
	h := &skew{}
	c.AddHook(h)
	return func(ahead time.Duration) { h.ahead.Store(int64(ahead)) }
}

type skew struct{ ahead atomic.Int64 }

func (h *skew) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *skew) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if t, ok := cmd.(*redis.TimeCmd); ok && err == nil {
			t.SetVal(t.Val().Add(-time.Duration(h.ahead.Load())))
		}
		return err
	}
}

func (h *skew) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
