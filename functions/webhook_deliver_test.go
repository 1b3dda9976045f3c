package functions

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/leaktest"
	"berth/internal/store"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func TestWebhooksHearALife(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	own, other, all, call := newSink(t, nil), newSink(t, nil), newSink(t, nil), newSink(t, nil)
	_, secret := b.hook(alice, own.URL)
	b.hook(bob, other.URL)
	b.hook(admin, all.URL, "container.running", "job.succeeded")
	b.courier()
	const mine = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	out := b.create(CreateContainerRequest{VNCPassword: "hunter22", Labels: map[string]string{"course": "1"}, Webhook: &WebhookRequest{URL: call.URL, Secret: mine}})
	b.execute(out.Job.ID, ide.JobSucceeded)
	b.execute(b.stop(StopContainerArgs{ID: out.Container.ID}).Job.ID, ide.JobSucceeded)

	want := []string{"container.starting", "container.running", "job.succeeded", "container.stopping", "container.stopped", "job.succeeded"}
	for name, s := range map[string]*sink{"the standing one": own, "the one of the call": call} {
		until(t, name+" has heard all", func() bool { return len(s.all()) >= len(want) })
		if diff := cmp.Diff(want, s.types()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	until(t, "the admin's has heard all", func() bool { return len(all.all()) >= 3 })
	if diff := cmp.Diff([]string{"container.running", "job.succeeded", "job.succeeded"}, all.types()); diff != "" {
		t.Errorf("an admin's with types of its own (-want +got):\n%s", diff)
	}
	if got := other.types(); len(got) != 0 {
		t.Errorf("bob hears of alice's: %v", got)
	}
	ids := map[string]bool{}
	secrets, err := Secrets(b.Deps, out.Container)
	b.must(err)
	for _, r := range own.all() {
		verify(t, secret, r)
		ids[r.header.Get("webhook-id")] = true
		for _, s := range []string{"hunter22", secrets.AgentToken, secrets.CodePassword, out.Container.Sealed, out.Container.Probe, secret, mine} {
			if form := leaktest.Find(string(r.body), s); form != "" {
				t.Errorf("a secret in %s (%s)", r.Type, form)
			}
		}
	}
	for _, r := range call.all() {
		verify(t, mine, r)
	}
	if len(ids) != len(want) {
		t.Errorf("%d IDs for %d events", len(ids), len(want))
	}
	second, job := own.all()[1], own.all()[2]
	c := second.Data.Container
	if c == nil || c.ID != out.Container.ID || c.Status != ide.Running || c.Owner != "alice" || c.Labels["course"] != "1" || c.URLs != out.Container.URLs || second.Timestamp.IsZero() {
		t.Errorf("running: got %s", second.body)
	}
	if j := job.Data.Job; j == nil || j.ID != out.Job.ID || j.Status != ide.JobSucceeded {
		t.Errorf("the job: got %s", job.body)
	}
}

func TestWebhooksComeInOrderOneAtATime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var now, most int
	var mu sync.Mutex
	s := newSink(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		defer func() { mu.Lock(); now--; mu.Unlock() }()
		_ = pause(context.Background(), time.Millisecond) // long enough for another to come in
	})
	b.hook(alice, s.URL, "container.idle_warning")
	c := b.running()
	b.courier()
	b.courier() // of another worker
	var want []string
	for n := range 50 {
		want = append(want, fmt.Sprint(n))
		b.warn(c.ID, want[n])
	}
	until(t, "all have come", func() bool { return len(s.all()) >= 50 })
	var got []string
	for _, r := range s.all() {
		got = append(got, r.Data.Message)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	mu.Lock()
	defer mu.Unlock()
	if most != 1 {
		t.Errorf("%d at once at one endpoint", most)
	}
}

func TestWebhookIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSink(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n <= 2 {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "not yet")
		}
	})
	w, _ := b.hook(alice, s.URL, "container.starting")
	b.courier()
	b.create(CreateContainerRequest{})
	d := b.first(w.ID, tried(1))
	if d.Status != ide.DeliveryWaiting || d.Next == nil || time.Until(*d.Next) > 10*time.Second || d.Attempts[0].Status != 500 || d.Attempts[0].Answer != "not yet" {
		t.Errorf("after a 500: got %+v", d)
	}
	if got := b.webhook(w.ID).State; got.Failures != 1 || got.FailingSince == nil || got.Waiting != 1 {
		t.Errorf("after a 500: got %+v", got)
	}
	b.hurry(w.ID)
	b.first(w.ID, tried(2))
	b.hurry(w.ID)
	d = b.first(w.ID, delivered)
	if d.Count != 3 || len(d.Attempts) != 3 || d.Attempts[2].Status != 200 || d.Attempts[2].Error != "" {
		t.Errorf("got %+v", d)
	}
	if got := b.webhook(w.ID).State; got.Failures != 0 || got.Waiting != 0 || got.LastDelivered == nil {
		t.Errorf("got %+v", got)
	}
	all := s.all()
	if all[0].header.Get("webhook-id") != all[2].header.Get("webhook-id") || string(all[0].body) != string(all[2].body) {
		t.Error("the attempts differ: a receiver cannot know that it is the same event")
	}
	b.must(b.Store.RedeliverWebhook(t.Context(), w.ID, d.ID))
	b.first(w.ID, func(d ide.Delivery) bool { return d.Count == 4 && delivered(d) })
}

func TestGoneDisablesAWebhook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSink(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	b.courier()
	out := b.create(CreateContainerRequest{Webhook: &WebhookRequest{URL: s.URL}})
	id := out.Container.Webhook
	until(t, "it is disabled", func() bool { return b.webhook(id).State.Disabled != "" })
	b.execute(out.Job.ID, ide.JobSucceeded)
	d := b.first(id, func(d ide.Delivery) bool { return d.Status == ide.DeliveryFailed })
	wantError(t, "redeliver", b.Store.RedeliverWebhook(t.Context(), id, d.ID), ide.Conflict, true)
	if got := len(b.deliveries(id)); got != 1 || len(s.all()) != 1 {
		t.Errorf("%d deliveries, %d requests after it was disabled, want 1", got, len(s.all()))
	}
	history, err := b.Store.History(t.Context(), out.Container.ID)
	b.must(err)
	if !slices.ContainsFunc(history, func(e ide.Event) bool {
		return e.Type == "webhook.disabled" && e.Owner == "alice" && strings.Contains(e.Message, "410")
	}) {
		t.Errorf("the container's history does not say so: %+v", history)
	}
}

func TestWebhookRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	target := newSink(t, nil)
	s := newSink(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.URL, http.StatusTemporaryRedirect)
	})
	w, _ := b.hook(alice, s.URL)
	b.courier()
	b.create(CreateContainerRequest{})
	d := b.first(w.ID, tried(1))
	if d.Attempts[0].Status != 307 || !strings.Contains(d.Attempts[0].Error, "redirect") || len(target.all()) != 0 {
		t.Errorf("got %+v; the target got %d", d.Attempts, len(target.all()))
	}
}

func TestEndlessAnswerIsCut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cut := make(chan struct{})
	s := newSink(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		defer close(cut)
		for {
			if _, err := w.Write([]byte(strings.Repeat("x", 4096))); err != nil {
				return
			}
		}
	})
	w, _ := b.hook(alice, s.URL, "container.starting")
	b.courier()
	b.create(CreateContainerRequest{})
	if d := b.first(w.ID, delivered); len(d.Attempts[0].Answer) != 1024 {
		t.Errorf("%d bytes of the answer are kept", len(d.Attempts[0].Answer))
	}
	select {
	case <-cut:
	case <-time.After(time.Minute):
		t.Error("the answer is still being read")
	}
}

func TestDeadEndpointsDelayNobody(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	release := make(chan struct{})
	hang := func(_ int, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	dead, good := newSink(t, hang), newSink(t, nil)
	defer close(release)
	proven, _ := b.hook(bob, good.URL)
	b.courier()
	ask := func() {
		_, err := CreateContainer.Enqueue(t.Context(), b.Deps, bob, &CreateContainerArgs{Body: CreateContainerRequest{S3Bucket: "workspace"}})
		b.must(err)
	}
	ask()
	b.first(proven.ID, delivered)
	for range hookHands + 20 {
		b.hook(alice, dead.URL)
	}
	b.create(CreateContainerRequest{})
	until(t, "the dead ones are called", func() bool { return len(dead.all()) >= hookHands })
	ask()
	until(t, "the other owner's comes all the same", func() bool { return len(good.all()) == 2 })
	until(t, "the rest is called without waiting for the first", func() bool { return len(dead.all()) >= hookHands+20 })
}

// A worker that claimed a delivery and was never heard of again.
func TestDeliveryOfADeadWorkerGoesOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Store = store.New(b.rdb, store.Config{HookLease: 100 * time.Millisecond})
	s := newSink(t, nil)
	w, _ := b.hook(alice, s.URL)
	b.create(CreateContainerRequest{})
	dead, ok, err := b.Store.ClaimDelivery(t.Context(), store.HooksSlow)
	if !ok || err != nil {
		t.Fatalf("got %t, %v", ok, err)
	}
	b.courier()
	b.first(w.ID, delivered)
	b.must(b.Store.Settle(t.Context(), dead, store.Settled{Status: ide.DeliveryFailed, Lane: store.HooksDue, Disable: "It wakes up late."}))
	if got := b.webhook(w.ID).State; got.Disabled != "" {
		t.Errorf("the dead worker's outcome counts: %+v", got)
	}
}

func TestRotatedSecretSignsOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSink(t, nil)
	w, first := b.hook(alice, s.URL)
	second, err := RotateWebhook(t.Context(), b.Deps, w.ID)
	b.must(err)
	b.courier()
	b.create(CreateContainerRequest{})
	until(t, "the first comes", func() bool { return len(s.all()) == 1 })
	verify(t, first, s.all()[0])
	verify(t, second, s.all()[0])
	if n := len(strings.Fields(s.all()[0].header.Get("webhook-signature"))); n != 2 {
		t.Errorf("%d signatures", n)
	}
	_, err = b.Store.EditWebhook(t.Context(), w.ID, func(w *ide.Webhook) {
		if left := time.Until(*w.Secrets[1].Until); left > 24*time.Hour || left < 23*time.Hour {
			t.Errorf("the old one signs for %v", left)
		}
		past := time.Now().Add(-time.Second)
		w.Secrets[1].Until = &past
	})
	b.must(err)
	b.create(CreateContainerRequest{S3Prefix: "b"})
	until(t, "the second comes", func() bool { return len(s.all()) == 2 })
	verify(t, second, s.all()[1])
	key, _ := standardwebhooks.NewWebhook(first)
	if last := s.all()[1]; key.Verify(last.body, last.header) == nil {
		t.Error("the old secret still signs")
	}
	for range 6 {
		_, err = RotateWebhook(t.Context(), b.Deps, w.ID)
		b.must(err)
	}
	if n := len(b.webhook(w.ID).Secrets); n != 1+hookOldSecrets {
		t.Errorf("%d secrets are kept", n)
	}
	redis, err := leaktest.Redis(t.Context(), b.rdb)
	b.must(err)
	for k, text := range redis {
		for _, secret := range []string{first, second} {
			if form := leaktest.Find(text, strings.TrimPrefix(secret, "whsec_")); form != "" {
				t.Errorf("%s holds the secret (%s)", k, form)
			}
		}
	}
}
