package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/internal/ide"
)

// HookLane is one of the two groups of endpoints that have something to be
// told: those that failed or were slow the last time, or were never called, do
// not stand in the way of the others.
type HookLane string

// The lanes.
const (
	HooksDue  HookLane = "due"
	HooksSlow HookLane = "slow"
)

// Claimed is a delivery that this worker is to try.
type Claimed struct {
	Webhook  ide.Webhook
	Delivery ide.Delivery
	Asked    time.Time // when the event happened, or its delivery was asked for again
	Failures int       // attempts in a row that failed at this endpoint
	Since    time.Time // the first of them

	token string
}

// ClaimDelivery takes the next delivery that is due in a lane; ok is false
// when there is none. Until it is settled, or the claim ends, nobody else gets
// one of the same endpoint: so they come in order, one at a time.
func (s *Store) ClaimDelivery(ctx context.Context, lane HookLane) (c Claimed, ok bool, err error) {
	now := s.Time(ctx)
	c.token = ide.NewID()
	got, err := s.run(ctx, claimHookScript, []string{prefix + "hooks:" + string(lane)}, ms(now), ms(now.Add(s.cfg.HookLease)), c.token)
	if err != nil || got[0] != "ok" {
		return c, false, err
	}
	if err := json.Unmarshal([]byte(got[2]), &c.Webhook); err != nil {
		return c, false, fmt.Errorf("decode webhook %s: %w", got[1], err)
	}
	if c.Delivery, err = decodeDelivery(got[1], got[3], got[7], got[4], got[5], got[6]); err != nil {
		return c, false, err
	}
	c.Failures, c.Asked = atoi(got[8]), c.Delivery.At
	if t := instant(got[9]); t != nil {
		c.Since = *t
	}
	if t := instant(got[10]); t != nil {
		c.Asked = *t
	}
	return c, true, nil
}

// Settled is what became of an attempt.
type Settled struct {
	Status  ide.DeliveryStatus
	Next    time.Time // when it is tried again, while waiting
	Hold    time.Time // the endpoint is not called before; zero is at once
	Lane    HookLane  // of the endpoint from now on
	Disable string    // why the endpoint is told nothing more; empty goes on
}

// Settle writes an attempt, and gives the endpoint free. A claim that has
// ended is somebody else's by now, and nothing is written.
func (s *Store) Settle(ctx context.Context, c Claimed, out Settled) error {
	event := ""
	if out.Disable != "" {
		event = encode(ide.Event{Type: "webhook.disabled", At: time.Now().UTC(), Container: c.Webhook.Container, Owner: c.Webhook.Owner, By: "webhook-deliver",
			Message: fmt.Sprintf("Webhook %s is disabled. %s", c.Webhook.ID, out.Disable)})
	}
	var hold int64
	if !out.Hold.IsZero() {
		hold = ms(out.Hold)
	}
	_, err := s.run(ctx, settleHookScript, nil, c.Webhook.ID, c.Delivery.ID, c.token, ms(s.Time(ctx)), encode(c.Delivery), string(out.Status),
		ms(out.Next), hold, string(out.Lane), flag(out.Status == ide.DeliveryDelivered), out.Disable, event, c.Webhook.Container, s.cfg.EventsKept)
	return err
}
