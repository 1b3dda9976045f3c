package functions

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// received is a request that an endpoint got.
type received struct {
	header http.Header
	body   []byte
	ide.Payload
}

// sink is an endpoint of a test's own.
type sink struct {
	*httptest.Server
	mu  sync.Mutex
	got []received
}

// newSink answers the nth request as answer says, 204 if it is nil.
func newSink(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *sink {
	t.Helper()
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one := received{header: r.Header}
		one.body, _ = io.ReadAll(r.Body)
		_ = json.Unmarshal(one.body, &one.Payload)
		s.mu.Lock()
		s.got = append(s.got, one)
		n := len(s.got)
		s.mu.Unlock()
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(n, w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *sink) types() []string {
	var list []string
	for _, r := range s.all() {
		list = append(list, r.Type)
	}
	return list
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// courier delivers on the bench until the test ends.
func (b *bench) courier() {
	b.Helper()
	b.Hooks, b.WebhookAllow, b.WebhooksPerKey = WebhookClient(loopback), loopback, 100
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	deps := *b.Deps
	c := NewCourier(&deps)
	go func() {
		defer close(done)
		for pause(ctx, 5*time.Millisecond) == nil {
			_ = c.Deliver(ctx)
		}
		c.Wait()
	}()
	b.Cleanup(func() { cancel(); <-done })
}

// hook makes a standing endpoint and returns it with its secret.
func (b *bench) hook(p ide.Principal, url string, events ...string) (ide.Webhook, string) {
	b.Helper()
	b.WebhookAllow, b.WebhooksPerKey = loopback, 100
	w, secret, err := AddWebhook(b.Context(), b.Deps, p, WebhookRequest{URL: url, Events: events})
	b.must(err)
	return w, secret
}

// hurry has every wait of an endpoint be over.
func (b *bench) hurry(id string) {
	b.Helper()
	ctx := b.Context()
	hook := "{berth}:hook:" + id
	b.must(b.rdb.HSet(ctx, hook, "hold", 0).Err())
	for _, event := range b.rdb.ZRange(ctx, hook+":q", 0, -1).Val() {
		b.must(b.Store.RedeliverWebhook(ctx, id, event))
	}
}

func (b *bench) webhook(id string) ide.Webhook {
	b.Helper()
	w, err := b.Store.Webhook(b.Context(), id)
	b.must(err)
	return w
}

// deliveries are those of an endpoint, oldest first.
func (b *bench) deliveries(id string) []ide.Delivery {
	b.Helper()
	list, _, err := b.Store.WebhookDeliveries(b.Context(), id, 1000, 0)
	b.must(err)
	slices.Reverse(list)
	return list
}

// warn makes an event about a container.
func (b *bench) warn(id, message string) {
	b.Helper()
	b.must(b.Store.Note(b.Context(), id, "container.idle_warning", message, func(*ide.Container) bool { return true }))
}

// first is the only delivery of an endpoint, once it is as ok wants it.
func (b *bench) first(id string, ok func(ide.Delivery) bool) ide.Delivery {
	b.Helper()
	var d ide.Delivery
	until(b.TB, "the delivery is as it should be", func() bool {
		list := b.deliveries(id)
		if len(list) == 0 {
			return false
		}
		d = list[0]
		return ok(d)
	})
	return d
}

func delivered(d ide.Delivery) bool { return d.Status == ide.DeliveryDelivered }

func tried(n int) func(ide.Delivery) bool {
	return func(d ide.Delivery) bool { return d.Count == n }
}

// verify checks a delivery as a receiver does.
func verify(t *testing.T, secret string, r received) {
	t.Helper()
	key, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Verify(r.body, r.header); err != nil {
		t.Errorf("%s: %v", r.Type, err)
	}
}
