package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// typesOf is what the scripts compare an event's type with; ” hears of all.
func typesOf(w ide.Webhook) string { return strings.Join(w.Events, ",") }

func noWebhook(id string) *ide.Error {
	return ide.Errorf(ide.NotFound, "There is no webhook %q.", id)
}

// AddWebhook keeps a new standing endpoint; for an owner with as many as it may
// have it is a CONFLICT.
func (s *Store) AddWebhook(ctx context.Context, w ide.Webhook, most int) error {
	got, err := s.run(ctx, addHookScript, nil, w.ID, encode(w), typesOf(w), w.Owner, flag(w.All), most)
	if err == nil && got[0] == "limit" {
		return ide.Errorf(ide.Conflict, "Your key has %s webhooks, which is the limit. Delete one first.", got[1])
	}
	return err
}

// RemoveWebhook forgets an endpoint and its deliveries.
func (s *Store) RemoveWebhook(ctx context.Context, id string) error {
	_, err := s.run(ctx, dropHookScript, nil, id)
	return err
}

// Webhook returns an endpoint with its state, or NOT_FOUND.
func (s *Store) Webhook(ctx context.Context, id string) (ide.Webhook, error) {
	list, err := s.webhooks(ctx, []string{id})
	if err != nil {
		return ide.Webhook{}, err
	}
	if len(list) == 0 {
		return ide.Webhook{}, noWebhook(id)
	}
	return list[0], nil
}

// Webhooks returns the standing endpoints of an owner, of everybody if it is
// empty, oldest first.
func (s *Store) Webhooks(ctx context.Context, owner string) ([]ide.Webhook, error) {
	key := hooksKey
	if owner != "" {
		key = standingKey(owner)
	}
	list, err := s.webhooksIn(ctx, key)
	return slices.DeleteFunc(list, func(w ide.Webhook) bool { return w.Container != "" }), err
}

func (s *Store) webhooksIn(ctx context.Context, key string) ([]ide.Webhook, error) {
	ids, err := s.rdb.SMembers(ctx, key).Result()
	if err != nil {
		return nil, down(err)
	}
	return s.webhooks(ctx, ids)
}

// webhooks reads the endpoints of ids, oldest first; one that is gone is left
// out.
func (s *Store) webhooks(ctx context.Context, ids []string) ([]ide.Webhook, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, waiting := make([]*redis.SliceCmd, len(ids)), make([]*redis.IntCmd, len(ids))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			rows[i] = p.HMGet(ctx, hookKey(id), "doc", "dropped", "failures", "since", "last", "off", "offat")
			waiting[i] = p.ZCard(ctx, hookQueueKey(id))
		}
		return nil
	})
	if err != nil {
		return nil, down(err)
	}
	list := make([]ide.Webhook, 0, len(ids))
	for i, row := range rows {
		v := texts(row.Val())
		if v[0] == "" {
			continue
		}
		w, err := decodeWebhook(v[0])
		if err != nil {
			return nil, err
		}
		w.State = &ide.WebhookState{Waiting: int(waiting[i].Val()), Dropped: atoi(v[1]), Failures: atoi(v[2]),
			FailingSince: instant(v[3]), LastDelivered: instant(v[4]), Disabled: v[5], DisabledAt: instant(v[6])}
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b ide.Webhook) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}

func decodeWebhook(doc string) (w ide.Webhook, err error) {
	if err := json.Unmarshal([]byte(doc), &w); err != nil {
		return w, fmt.Errorf("decode webhook: %w", err)
	}
	return w, nil
}

// EditWebhook changes an endpoint's record by compare-and-set; edit may be
// called again when somebody else was quicker.
func (s *Store) EditWebhook(ctx context.Context, id string, edit func(*ide.Webhook)) (w ide.Webhook, err error) {
	for {
		was, err := s.rdb.HGet(ctx, hookKey(id), "doc").Result()
		if isNil(err) {
			return w, noWebhook(id)
		}
		if err != nil {
			return w, down(err)
		}
		if w, err = decodeWebhook(was); err != nil {
			return w, err
		}
		edit(&w)
		got, err := s.run(ctx, rotateHookScript, []string{hookKey(id)}, was, encode(w))
		switch {
		case err != nil:
			return w, err
		case got[0] == "ok":
			return w, nil
		case got[0] == "gone":
			return w, noWebhook(id)
		}
	}
}

// WebhookDeliveries returns a page of an endpoint's deliveries, newest first,
// and how many are kept.
func (s *Store) WebhookDeliveries(ctx context.Context, id string, limit, offset int) ([]ide.Delivery, int, error) {
	var events *redis.StringSliceCmd
	var total *redis.IntCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		events = p.ZRevRange(ctx, hookLogKey(id), int64(offset), int64(offset+limit-1))
		total = p.ZCard(ctx, hookLogKey(id))
		return nil
	})
	if err != nil {
		return nil, 0, down(err)
	}
	list := make([]ide.Delivery, 0, len(events.Val()))
	for _, event := range events.Val() {
		d, err := s.WebhookDelivery(ctx, id, event)
		if ide.HasCode(err, ide.NotFound) {
			continue // pruned meanwhile
		}
		if err != nil {
			return nil, 0, err
		}
		list = append(list, d)
	}
	return list, int(total.Val()), nil
}

// WebhookDelivery returns one delivery of an endpoint, or NOT_FOUND.
func (s *Store) WebhookDelivery(ctx context.Context, id, event string) (d ide.Delivery, err error) {
	var row *redis.SliceCmd
	var due *redis.FloatCmd
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		row = p.HMGet(ctx, deliveryKey(id, event), "doc", "body", "type", "at", "status")
		due = p.ZScore(ctx, hookQueueKey(id), event)
		return nil
	})
	if err != nil && !isNil(err) {
		return d, down(err)
	}
	v := texts(row.Val())
	if v[2] == "" {
		return d, ide.Errorf(ide.NotFound, "There is no delivery %q.", event)
	}
	if d, err = decodeDelivery(id, event, v[0], v[2], v[1], v[3]); err != nil {
		return d, err
	}
	d.Status = ide.DeliveryStatus(v[4])
	if d.Status == ide.DeliveryWaiting {
		d.Next = instant(strconv.FormatFloat(due.Val(), 'f', 0, 64))
	}
	return d, nil
}

func decodeDelivery(hook, event, doc, kind, body, at string) (ide.Delivery, error) {
	var d ide.Delivery
	if doc != "" {
		if err := json.Unmarshal([]byte(doc), &d); err != nil {
			return d, fmt.Errorf("decode delivery %s: %w", event, err)
		}
	}
	d.ID, d.Webhook, d.Type, d.Body, d.Status = event, hook, kind, body, ide.DeliveryWaiting
	if t := instant(at); t != nil {
		d.At = *t
	}
	return d, nil
}

// RedeliverWebhook makes a delivery due now, also one that is done. Errors: NOT_FOUND,
// CONFLICT for an endpoint that is disabled.
func (s *Store) RedeliverWebhook(ctx context.Context, id, event string) error {
	got, err := s.run(ctx, redeliverHookScript, nil, id, event, ms(s.Time(ctx)))
	switch {
	case err != nil:
		return err
	case got[0] == "gone":
		return ide.Errorf(ide.NotFound, "There is no delivery %q.", event)
	case got[0] == "off":
		return ide.Errorf(ide.Conflict, "The webhook is disabled. %s", got[1])
	}
	return nil
}

// PruneWebhooks forgets deliveries that are done and older than ended jobs are
// kept, and endpoints of containers that are gone. It returns how many
// deliveries it forgot.
func (s *Store) PruneWebhooks(ctx context.Context) (int, error) {
	list, err := s.webhooksIn(ctx, hooksKey)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, w := range list {
		for {
			got, err := s.run(ctx, pruneHookScript, nil, w.ID, ms(s.Time(ctx).Add(-s.cfg.JobRetention)), w.Container)
			if err != nil {
				return total, err
			}
			total += atoi(got[0])
			if atoi(got[0]) == 0 {
				break
			}
		}
	}
	return total, nil
}

// texts are the values of a hash's fields; a missing one is empty.
func texts(row []any) []string {
	out := make([]string, len(row))
	for i, v := range row {
		out[i], _ = v.(string)
	}
	return out
}

// instant reads milliseconds since 1970; none, or 0, is nil.
func instant(text string) *time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n == 0 {
		return nil
	}
	t := time.UnixMilli(n).UTC()
	return &t
}
