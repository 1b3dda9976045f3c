package functions

import (
	"context"
	"fmt"
	"time"

	"berth/internal/ide"
)

// Keepalive puts off the idle stop of a running container: until a time, or if
// that is zero for its idle timeout from now. It never brings the stop forward.
// It is done at once and is no job: it only counts if it is in time. Errors:
// VALIDATION_FAILED for a time that is past or further ahead than MAX_KEEPALIVE,
// CONFLICT for one that does not run or whose stop is decided.
func Keepalive(ctx context.Context, d *Deps, p ide.Principal, id string, until time.Time) (ide.Container, error) {
	c, err := own(ctx, d, p, id)
	if err != nil {
		return c, err
	}
	now := d.Store.Time(ctx)
	if until.IsZero() {
		until = now.Add(min(time.Duration(c.IdleTimeout)*time.Second, d.MaxKeepalive))
	}
	until = until.UTC().Truncate(time.Second)
	if until.Before(now.Truncate(time.Second)) {
		return c, invalid("body.until", "until must not be past")
	}
	if until.After(now.Add(d.MaxKeepalive)) {
		return c, invalid("body.until", fmt.Sprintf("until must be at most %s ahead", d.MaxKeepalive))
	}
	return d.Store.Tell(ctx, id, func(c *ide.Container) (*ide.Event, error) {
		if c.Status != ide.Running || c.Watch.Decided {
			return nil, state(*c, "Only one that runs, and is not about to stop, can be kept alive.")
		}
		k := c.Watch.KeepUntil
		if k != nil && !until.After(*k) {
			return nil, nil
		}
		c.Watch.KeepUntil = &until
		if k != nil && k.After(now) && c.Watch.StopsAt == nil {
			return nil, nil // a client that says so every minute does not fill the history
		}
		return &ide.Event{Type: "container.keepalive", By: p.Name, Job: c.Job,
			Message: "It does not stop for want of use before " + until.Format(time.RFC3339) + "."}, nil
	})
}
