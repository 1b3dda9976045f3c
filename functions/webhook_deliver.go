package functions

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Bounds of deliveries.
const (
	hookTimeout  = 15 * time.Second // of one attempt
	hookAnswer   = 1 << 10          // bytes of an answer that are read
	hookLife     = 72 * time.Hour   // a delivery is tried so long
	hookAttempts = 20               // that are kept of a delivery
	hookSlow     = 3 * time.Second  // an endpoint that takes longer does not share a lane with quick ones
	hookHands    = 32               // attempts in a lane that may be begun without waiting for others to be late
	hookMaxWait  = time.Hour        // the most that Retry-After is believed
	hookMaxHold  = 10 * time.Minute // the most that an endpoint is left alone after a failure
)

// hookWaits are those between the attempts of a delivery; the last one stays.
var hookWaits = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour}

// Courier delivers webhooks. They are no jobs: they have a queue and hands of
// their own, so that no endpoint, however slow, keeps a job waiting. The queue
// is written together with the change that it tells of (package store).
type Courier struct {
	deps  *Deps
	hands map[store.HookLane]chan struct{}
	busy  sync.WaitGroup
}

// NewCourier returns a Courier of one worker.
func NewCourier(d *Deps) *Courier {
	return &Courier{deps: d, hands: map[store.HookLane]chan struct{}{
		store.HooksDue: make(chan struct{}, hookHands), store.HooksSlow: make(chan struct{}, hookHands),
	}}
}

// Deliver begins what is due, so far as there are hands for it, and does not
// wait for it. A worker calls it several times a second, until ctx ends.
func (c *Courier) Deliver(ctx context.Context) error {
	for lane, hands := range c.hands {
		for more := true; more && ctx.Err() == nil; {
			select {
			case hands <- struct{}{}:
			default:
				more = false // all hands are busy
				continue
			}
			claimed, ok, err := c.deps.Store.ClaimDelivery(ctx, lane)
			if err != nil || !ok {
				<-hands
				if err != nil {
					return err
				}
				more = false
				continue
			}
			c.busy.Go(func() { c.work(ctx, lane, claimed) })
		}
	}
	return nil
}

// Wait returns when what has begun is done, which takes an attempt's time at
// most.
func (c *Courier) Wait() { c.busy.Wait() }

// work delivers, and goes on with what else is due in the lane. It has its
// hand for a moment only: an endpoint that does not answer in that time is
// waited for without, and keeps nobody from being served.
func (c *Courier) work(ctx context.Context, lane store.HookLane, claimed store.Claimed) {
	giveBack := sync.OnceFunc(func() { <-c.hands[lane] })
	defer giveBack()
	for ok := true; ok; {
		late := time.AfterFunc(hookSlow, giveBack)
		out := c.attempt(context.WithoutCancel(ctx), &claimed)
		err := c.deps.Store.Settle(context.WithoutCancel(ctx), claimed, out)
		if err != nil {
			c.deps.Log.Warn("webhook's outcome is not written, it is delivered again", "webhook", claimed.Webhook.ID, "delivery", claimed.Delivery.ID, "err", err)
		}
		if !late.Stop() || err != nil || ctx.Err() != nil {
			return
		}
		if claimed, ok, err = c.deps.Store.ClaimDelivery(ctx, lane); err != nil {
			return // the next Deliver says so
		}
	}
}

// attempt posts a delivery once, notes how it went in it, and says what
// follows.
func (c *Courier) attempt(ctx context.Context, claimed *store.Claimed) store.Settled {
	start := time.Now()
	a, after := c.post(ctx, *claimed)
	took := time.Since(start)
	a.At, a.Seconds = start.UTC(), took.Seconds()
	d := &claimed.Delivery
	d.Count++
	d.Attempts = append(d.Attempts, a)
	d.Attempts = d.Attempts[max(len(d.Attempts)-hookAttempts, 0):]
	out := settle(*claimed, a, after, time.Now())
	if out.Lane == store.HooksDue && took > hookSlow {
		out.Lane = store.HooksSlow
	}
	log := c.deps.Log.With("webhook", claimed.Webhook.ID, "delivery", d.ID, "type", d.Type, "attempt", d.Count, "status", a.Status, "took", took)
	switch {
	case out.Disable != "":
		log.Warn("webhook is disabled", "why", out.Disable, "answer", a.Answer)
	case out.Status == ide.DeliveryDelivered:
		log.Debug("webhook delivered", "answer", a.Answer)
	default:
		log.Info("webhook not delivered", "why", a.Error, "answer", a.Answer)
	}
	return out
}

// settle says what follows on an attempt: delivered, tried again, given up, or
// the endpoint disabled.
func settle(c store.Claimed, a ide.Attempt, after time.Duration, now time.Time) store.Settled {
	if a.Error == "" {
		return store.Settled{Status: ide.DeliveryDelivered, Lane: store.HooksDue}
	}
	out := store.Settled{Status: ide.DeliveryFailed, Lane: store.HooksSlow}
	if a.Status == http.StatusGone {
		out.Disable = "It answered 410 Gone."
		return out
	}
	end := c.Asked.Add(hookLife)
	if c.Failures > 0 && now.Sub(c.Since) >= hookLife-time.Hour {
		out.Disable = "It has failed for three days. " + a.Error
		return out
	}
	wait := jitter(hookWaits[min(c.Delivery.Count-1, len(hookWaits)-1)])
	hold := jitter(min(hookWaits[0]<<min(c.Failures, 10), hookMaxHold))
	if c.Failures == 0 {
		hold = wait // once, so that a short failure changes no order
	}
	after = min(after, hookMaxWait)
	out.Hold = now.Add(max(hold, after))
	if end.Sub(now) < time.Minute {
		return out
	}
	out.Status, out.Next = ide.DeliveryWaiting, now.Add(max(wait, after))
	if out.Next.After(end) {
		out.Next = end
	}
	return out
}

// jitter is a duration give or take 20 %.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// post sends a delivery, signed with each secret that is in force. A 2xx
// within the time has no error. after is what the endpoint asks for in
// Retry-After.
func (c *Courier) post(ctx context.Context, claimed store.Claimed) (a ide.Attempt, after time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	d := claimed.Delivery
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, claimed.Webhook.URL, strings.NewReader(d.Body))
	if err != nil {
		a.Error = "Its URL cannot be used."
		return a, 0
	}
	signature, err := c.sign(claimed.Webhook, d, time.Now())
	if err != nil {
		a.Error = ide.AsError(err).Message
		return a, 0
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Berth-Webhooks")
	req.Header.Set(standardwebhooks.HeaderWebhookID, d.MessageID())
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(signature.at.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature.text)
	res, err := c.deps.Hooks.Do(req)
	if err != nil {
		a.Error = unreachable(err)
		return a, 0
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, hookAnswer)) // what came in time; the status counts
	a.Status, a.Answer = res.StatusCode, strings.ToValidUTF8(string(text), "\uFFFD")
	switch {
	case a.Status >= 200 && a.Status < 300:
	case a.Status >= 300 && a.Status < 400:
		a.Error = fmt.Sprintf("It answered %d; redirects are not followed.", a.Status)
	default:
		a.Error = fmt.Sprintf("It answered %d.", a.Status)
	}
	return a, retryAfter(res.Header.Get("Retry-After"), time.Now())
}

// signed is a signature header and the time that it is of.
type signed struct {
	at   time.Time
	text string
}

// sign returns the signatures of a delivery, by blanks, one for each secret.
func (c *Courier) sign(w ide.Webhook, d ide.Delivery, at time.Time) (signed, error) {
	secrets, err := hookSecrets(c.deps, w)
	if err != nil {
		return signed{}, err
	}
	var all []string
	for _, secret := range secrets {
		key, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return signed{}, err
		}
		one, err := key.Sign(d.MessageID(), at, []byte(d.Body))
		if err != nil {
			return signed{}, err
		}
		all = append(all, one)
	}
	return signed{at, strings.Join(all, " ")}, nil
}

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds
// or a date. What is neither, or past, is 0.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil {
		return max(time.Duration(min(n, int(hookMaxWait.Seconds())))*time.Second, 0)
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}
