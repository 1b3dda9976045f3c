package functions

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
)

func TestWhatFollowsAnAttempt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	refused := ide.Attempt{Status: 500, Error: "It answered 500."}
	for name, tc := range map[string]struct {
		attempt  ide.Attempt
		after    time.Duration
		asked    time.Duration // how long ago
		count    int
		failures int
		since    time.Duration
		status   ide.DeliveryStatus
		least    time.Duration // until it is tried again
		most     time.Duration
		hold     time.Duration // at least
		disabled bool
	}{
		"delivered":                  {attempt: ide.Attempt{Status: 204}, count: 1, status: ide.DeliveryDelivered},
		"first failure holds back":   {attempt: refused, count: 1, status: ide.DeliveryWaiting, least: 4 * time.Second, most: 6 * time.Second, hold: 4 * time.Second},
		"second":                     {attempt: refused, count: 2, failures: 1, since: 5 * time.Second, status: ide.DeliveryWaiting, least: 24 * time.Second, most: 36 * time.Second, hold: 8 * time.Second},
		"tenth":                      {attempt: refused, count: 10, failures: 9, asked: 15 * time.Hour, since: 15 * time.Hour, status: ide.DeliveryWaiting, least: 9 * time.Hour, most: 15 * time.Hour, hold: 8 * time.Minute},
		"never held too long":        {attempt: refused, count: 99, failures: 99, asked: time.Hour, since: time.Hour, status: ide.DeliveryWaiting, least: 9 * time.Hour, most: 15 * time.Hour, hold: 8 * time.Minute},
		"Retry-After":                {attempt: refused, after: 10 * time.Minute, count: 1, status: ide.DeliveryWaiting, least: 10 * time.Minute, most: 10 * time.Minute, hold: 10 * time.Minute},
		"Retry-After in a year":      {attempt: refused, after: 8760 * time.Hour, count: 1, status: ide.DeliveryWaiting, least: time.Hour, most: time.Hour, hold: time.Hour},
		"last try is at the end":     {attempt: refused, count: 13, failures: 5, asked: 70 * time.Hour, since: time.Hour, status: ide.DeliveryWaiting, least: 2 * time.Hour, most: 2 * time.Hour},
		"given up after three days":  {attempt: refused, count: 14, failures: 5, asked: 72 * time.Hour, since: time.Hour, status: ide.DeliveryFailed},
		"failing for three days":     {attempt: refused, count: 3, failures: 50, since: 72 * time.Hour, status: ide.DeliveryFailed, disabled: true},
		"gone":                       {attempt: ide.Attempt{Status: http.StatusGone, Error: "It answered 410."}, count: 1, status: ide.DeliveryFailed, disabled: true},
		"no answer is tried again":   {attempt: ide.Attempt{Error: "It did not answer within 15 s."}, count: 1, status: ide.DeliveryWaiting, least: 4 * time.Second, most: 6 * time.Second},
		"a refusal is tried as well": {attempt: ide.Attempt{Status: 404, Error: "It answered 404."}, count: 1, status: ide.DeliveryWaiting, least: 4 * time.Second, most: 6 * time.Second},
	} {
		c := store.Claimed{Asked: ago(tc.asked), Failures: tc.failures, Delivery: ide.Delivery{Count: tc.count}}
		if tc.failures > 0 {
			c.Since = ago(tc.since)
		}
		got := settle(c, tc.attempt, tc.after, now)
		if got.Status != tc.status || (got.Disable != "") != tc.disabled {
			t.Errorf("%s: got %+v", name, got)
		}
		if wait := got.Next.Sub(now); tc.status == ide.DeliveryWaiting && (wait < tc.least || wait > tc.most) {
			t.Errorf("%s: tried again after %v", name, wait)
		}
		if tc.hold > 0 && got.Hold.Sub(now) < tc.hold {
			t.Errorf("%s: held for %v", name, got.Hold.Sub(now))
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "-1": 0, "soon": 0, "99999999999999999999": 0, "9223372036854775807": time.Hour,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestWebhookIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.WebhooksPerKey = 2
	add := func(p ide.Principal, r WebhookRequest) error {
		_, _, err := AddWebhook(t.Context(), b.Deps, p, r)
		return err
	}
	const url = "https://hooks.example.org/x"
	for name, r := range map[string]WebhookRequest{
		"no URL":       {},
		"loopback":     {URL: "http://127.0.0.1:6379/"},
		"short secret": {URL: url, Secret: "whsec_c2hvcnQ="},
		"plain secret": {URL: url, Secret: "correct horse battery staple correct"},
		"odd type":     {URL: url, Events: []string{"container.exploded"}},
	} {
		wantError(t, name, add(alice, r), ide.ValidationFailed, true)
	}
	_, err := CreateContainer.Enqueue(t.Context(), b.Deps, alice, &CreateContainerArgs{Body: CreateContainerRequest{S3Bucket: "workspace", Webhook: &WebhookRequest{URL: "ftp://x"}}})
	wantError(t, "in a start", err, ide.ValidationFailed, true)
	b.must(errors.Join(add(alice, WebhookRequest{URL: url}), add(alice, WebhookRequest{URL: url}), add(bob, WebhookRequest{URL: url})))
	wantError(t, "one more than the key may have", add(alice, WebhookRequest{URL: url}), ide.Conflict, true)
	b.create(CreateContainerRequest{Webhook: &WebhookRequest{URL: url}}) // counts with its container
}

func TestRevokedKeyHearsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.Store.AddKey(t.Context(), ide.Key{Name: "alice", Role: ide.Client, Digest: "d"}))
	w, _ := b.hook(alice, "http://127.0.0.1:1/")
	b.create(CreateContainerRequest{})
	b.must(b.Store.RemoveKey(t.Context(), "alice"))
	_, err := b.Store.Webhook(t.Context(), w.ID)
	wantError(t, "its webhook", err, ide.NotFound, true)
	if _, ok, err := b.Store.ClaimDelivery(t.Context(), store.HooksSlow); ok || err != nil {
		t.Errorf("something waits for it: %t, %v", ok, err)
	}
}

func TestSweepOfWebhooks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Store = store.New(b.rdb, store.Config{JobRetention: time.Nanosecond, LeaseTTL: 30 * time.Second})
	done, waiting := newSink(t, nil), newSink(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	a, _ := b.hook(alice, done.URL, "container.starting")
	z, _ := b.hook(alice, waiting.URL, "container.starting")
	b.courier()
	out := b.create(CreateContainerRequest{Webhook: &WebhookRequest{URL: done.URL}})
	b.first(a.ID, delivered)
	b.first(z.ID, tried(1))
	b.execute(out.Job.ID, ide.JobSucceeded)
	b.execute(b.stop(StopContainerArgs{ID: out.Container.ID, Purge: true}).Job.ID, ide.JobSucceeded)
	until(t, "the container's own has heard all", func() bool { return b.webhook(out.Container.Webhook).State.Waiting == 0 })
	sweep, err := RunSchedule(t.Context(), b.Deps, admin, "webhooks-sweep")
	b.must(err)
	b.execute(sweep.ID, ide.JobSucceeded)
	if n := len(b.deliveries(a.ID)); n != 0 {
		t.Errorf("%d that are done are kept", n)
	}
	if n := len(b.deliveries(z.ID)); n != 1 {
		t.Errorf("%d that wait are kept, want 1", n)
	}
	_, err = b.Store.Webhook(t.Context(), out.Container.Webhook)
	wantError(t, "that of the purged container", err, ide.NotFound, true)
	if keys := b.rdb.Keys(t.Context(), "{berth}:hook:"+out.Container.Webhook+"*").Val(); len(keys) != 0 {
		t.Errorf("it left %v", keys)
	}
}

func TestNodesGoingDownAreTold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, own := newSink(t, nil), newSink(t, nil)
	b.hook(admin, s.URL)
	b.hook(alice, own.URL)
	b.courier()
	n := ide.Node{ID: "n1", Hostname: "node-1", Availability: "active", At: time.Now()}
	for _, state := range []string{"ready", "down", "down", "unknown", "ready", "ready"} {
		n.State = state
		b.must(b.Store.PublishNodes(t.Context(), []ide.Node{n}))
	}
	until(t, "both are told", func() bool { return len(s.all()) >= 2 })
	if got := s.types(); len(got) != 2 || got[0] != "node.down" || got[1] != "node.up" {
		t.Errorf("got %v", got)
	}
	if d := s.all()[0].Data; d.Node == nil || d.Node.Hostname != "node-1" || d.Node.State != "down" {
		t.Errorf("got %s", s.all()[0].body)
	}
	if len(own.all()) != 0 {
		t.Errorf("a client hears of nodes: %v", own.types())
	}
}
