package doctor

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// leastRedis is the oldest major version that is tested.
const leastRedis = 6

// What a call to Redis may take: several make one request.
const (
	slowRedis    = 5 * time.Millisecond
	tooSlowRedis = 50 * time.Millisecond
)

// info reads INFO, which every Redis answers, also where CONFIG is forbidden.
func (e *examination) info(ctx context.Context) (map[string]string, error) {
	text, err := e.cfg.Redis.Info(ctx).Result()
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[k] = v
		}
	}
	return fields, nil
}

func (e *examination) lookRedis(ctx context.Context) []Finding {
	const away = "See that Redis runs and that REDIS_URL has its address and password."
	if e.store == nil {
		return fail(away, "%s", e.cfg.RedisErr)
	}
	info, err := e.info(ctx)
	if err != nil {
		return fail(away, "%s", err)
	}
	var found []Finding
	version := info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, _ := strconv.Atoi(major); n < leastRedis {
		found = append(found, fail("Use Redis 7, or Valkey.", "Redis is version %s; %d is the oldest that is tested.", version, leastRedis)...)
	}
	if info["redis_mode"] == "cluster" {
		found = append(found, fail("Use one Redis, or Redis with Sentinel.", "This is a Redis Cluster.")...)
	}
	if p := info["maxmemory_policy"]; p != "noeviction" {
		found = append(found, fail("redis-cli CONFIG SET maxmemory-policy noeviction, and the same in its configuration.",
			"Redis may drop what it holds when memory is short (maxmemory-policy %s): jobs and records would be lost.", p)...)
	}
	if info["aof_enabled"] == "0" {
		found = append(found, warn("redis-cli CONFIG SET appendonly yes, and the same in its configuration.", "Redis has no append-only file: a crash costs all that came since its last snapshot.")...)
	} else if info["aof_last_write_status"] == "err" {
		found = append(found, fail("See Redis's log; most often the disk is full.", "Redis cannot write its append-only file.")...)
	}
	if info["role"] == "slave" {
		found = append(found, fail("Let REDIS_URL name the master, or Sentinel (redis-sentinel://…?master=name).", "This Redis is a replica: it takes no writes.")...)
	}
	if len(found) == 0 {
		return ok("Redis %s, noeviction, append-only file.", version)
	}
	return found
}

func (e *examination) lookRedisMemory(ctx context.Context) []Finding {
	if e.store == nil {
		return skip("Redis does not answer.")
	}
	info, err := e.info(ctx)
	if err != nil {
		return skip("Redis does not answer.")
	}
	used, _ := strconv.ParseInt(info["used_memory"], 10, 64)
	most, _ := strconv.ParseInt(info["maxmemory"], 10, 64)
	const more = "Give it more (maxmemory, and the service's limit), or keep less: JOB_RETENTION, EVENT_RETENTION, LOG_LINES, RECORD_RETENTION."
	switch {
	case most == 0:
		return ok("%d MiB used; no limit is set.", used>>20)
	case used*20 > most*19:
		return fail(more, "%d of %d MiB are used: Redis soon refuses all writes.", used>>20, most>>20)
	case used*5 > most*4:
		return warn(more, "%d of %d MiB are used.", used>>20, most>>20)
	}
	return ok("%d of %d MiB are used.", used>>20, most>>20)
}

func (e *examination) lookRedisLatency(ctx context.Context) []Finding {
	if e.store == nil {
		return skip("Redis does not answer.")
	}
	var took []time.Duration
	for range 15 {
		began := time.Now()
		if err := e.cfg.Redis.Ping(ctx).Err(); err != nil {
			return fail("See that Redis runs, and what the network loses.", "Redis stopped answering: %s", err)
		}
		took = append(took, time.Since(began))
	}
	return latency(took)
}

// latency judges how long calls to Redis took.
func latency(took []time.Duration) []Finding {
	slices.Sort(took)
	median := took[len(took)/2].Round(10 * time.Microsecond)
	const near = "Run Redis in the same data centre as API and workers; look at its SLOWLOG and at the load of its machine."
	switch {
	case median > tooSlowRedis:
		return fail(near, "A call takes %v (median of %d).", median, len(took))
	case median > slowRedis:
		return warn(near, "A call takes %v (median of %d).", median, len(took))
	}
	return ok("A call takes %v (median of %d).", median, len(took))
}
