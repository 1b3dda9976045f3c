package store

import (
	"fmt"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/redistest"
)

// hooked is a store with an endpoint of alice's and a container of hers, about
// which as many events have happened.
func hooked(t *testing.T, events int) (*Store, string) {
	t.Helper()
	s := New(redistest.New(t), Config{})
	id := ide.NewID()
	_, err := s.Admit(t.Context(), Admission{Function: "f", MaxAttempts: 1, By: ide.Principal{Name: "alice"}, New: &ide.Container{ID: id, Owner: "alice", Run: 1,
		Status: ide.Starting, CreatedAt: time.Now()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddWebhook(t.Context(), ide.Webhook{ID: "hook", Owner: "alice", URL: "http://hooks.test/", Secrets: []ide.HookSecret{{Sealed: "s"}}}, 1); err != nil {
		t.Fatal(err)
	}
	for n := range events {
		if err := s.Note(t.Context(), id, "container.idle_warning", fmt.Sprint(n), func(*ide.Container) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	return s, id
}

// claim takes the next delivery of a lane; it must be there.
func claim(t *testing.T, s *Store, lane HookLane) Claimed {
	t.Helper()
	c, ok, err := s.ClaimDelivery(t.Context(), lane)
	if err != nil || !ok {
		t.Fatalf("got %t, %v, want a delivery", ok, err)
	}
	return c
}

func settle(t *testing.T, s *Store, c Claimed, out Settled) {
	t.Helper()
	if err := s.Settle(t.Context(), c, out); err != nil {
		t.Fatal(err)
	}
}

func none(t *testing.T, s *Store, why string) {
	t.Helper()
	for _, lane := range []HookLane{HooksDue, HooksSlow} {
		if c, ok, err := s.ClaimDelivery(t.Context(), lane); ok || err != nil {
			t.Errorf("%s: got %+v, %v", why, c.Delivery, err)
		}
	}
}

func TestEarliestEventThatIsDueComesFirst(t *testing.T) {
	t.Parallel()
	s, _ := hooked(t, 3)
	first := claim(t, s, HooksSlow)
	none(t, s, "a second one at the same endpoint")
	settle(t, s, first, Settled{Status: ide.DeliveryWaiting, Next: time.Now(), Lane: HooksDue})
	again := claim(t, s, HooksDue)
	if again.Delivery.ID != first.Delivery.ID || again.Failures != 1 || again.Since.IsZero() {
		t.Errorf("got %s after %d failures, want the first, %s, although others are due for longer", again.Delivery.ID, again.Failures, first.Delivery.ID)
	}
	settle(t, s, again, Settled{Status: ide.DeliveryWaiting, Next: time.Now().Add(time.Hour), Lane: HooksSlow})
	next := claim(t, s, HooksSlow)
	if !LaterID(next.Delivery.ID, first.Delivery.ID) {
		t.Errorf("got %s, want the next, for the first waits", next.Delivery.ID)
	}
	settle(t, s, next, Settled{Status: ide.DeliveryDelivered, Hold: time.Now().Add(time.Hour), Lane: HooksDue})
	none(t, s, "an endpoint that is held")
}

func TestEndpointThatIsBackGetsWhatWaited(t *testing.T) {
	t.Parallel()
	s, id := hooked(t, 3)
	for range 3 {
		settle(t, s, claim(t, s, HooksSlow), Settled{Status: ide.DeliveryWaiting, Next: time.Now().Add(12 * time.Hour), Lane: HooksSlow})
	}
	none(t, s, "all wait")
	if err := s.Note(t.Context(), id, "container.idle_warning", "new", func(*ide.Container) bool { return true }); err != nil {
		t.Fatal(err)
	}
	last := claim(t, s, HooksSlow)
	settle(t, s, last, Settled{Status: ide.DeliveryDelivered, Lane: HooksDue})
	var before string
	for range 3 {
		c := claim(t, s, HooksDue)
		if before != "" && !LaterID(c.Delivery.ID, before) {
			t.Errorf("%s comes after %s", c.Delivery.ID, before)
		}
		before = c.Delivery.ID
		settle(t, s, c, Settled{Status: ide.DeliveryDelivered, Lane: HooksDue})
	}
	none(t, s, "all are delivered")
}

func TestDisabledEndpointIsToldNothing(t *testing.T) {
	t.Parallel()
	s, id := hooked(t, 2)
	settle(t, s, claim(t, s, HooksSlow), Settled{Status: ide.DeliveryFailed, Lane: HooksSlow, Disable: "It is gone."})
	if err := s.Note(t.Context(), id, "container.idle_warning", "new", func(*ide.Container) bool { return true }); err != nil {
		t.Fatal(err)
	}
	none(t, s, "it is disabled")
	list, total, err := s.WebhookDeliveries(t.Context(), "hook", 10, 0)
	if err != nil || total != 2 || list[0].Status != ide.DeliveryFailed || list[1].Status != ide.DeliveryFailed {
		t.Errorf("got %+v, %v", list, err)
	}
	events, _, _, err := s.EventsAfter(t.Context(), "0-0", 100)
	if err != nil {
		t.Fatal(err)
	}
	var told bool
	for _, e := range events {
		told = told || e.Type == "webhook.disabled" && e.Owner == "alice" && e.Container == ""
	}
	if !told {
		t.Errorf("no event tells of it: %+v", events)
	}
}

func TestDoneDeliveriesAreKeptWithinBounds(t *testing.T) {
	t.Parallel()
	s, id := hooked(t, 0)
	for range 1010 {
		if err := s.Note(t.Context(), id, "container.idle_warning", "again", func(*ide.Container) bool { return true }); err != nil {
			t.Fatal(err)
		}
		settle(t, s, claim(t, s, HooksSlow), Settled{Status: ide.DeliveryDelivered, Lane: HooksSlow})
	}
	if _, total, err := s.WebhookDeliveries(t.Context(), "hook", 1, 0); err != nil || total > 1001 {
		t.Errorf("%d are kept, %v", total, err)
	}
	if n := len(s.rdb.Keys(t.Context(), "{berth}:hook:hook:d:*").Val()); n > 1001 {
		t.Errorf("%d records are kept", n)
	}
}
