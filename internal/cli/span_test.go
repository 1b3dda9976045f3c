package cli

import (
	"strings"
	"testing"
)

// Durations are written in one way, and are never negative.
func TestDurationsOfFlags(t *testing.T) {
	t.Parallel()
	start := map[string][]string{"POST /api/containers/check": {`{"fits":true}`}, "POST /api/containers/abc/keepalive": {`{"timeout":60}`}}
	for args, want := range map[string]string{
		"check b --idle-timeout 30m": `"idleTimeout":1800`, "check b --idle-timeout 90": `"idleTimeout":90`, "check b --idle-timeout 0": `"idleTimeout":0`,
		"check b --bucket": `"bucket":true`,
	} {
		_, _, a, err := berth(t, start, strings.Fields(args)...)
		if err != nil || !strings.Contains(a.bodies["POST /api/containers/check"], want) {
			t.Errorf("%s: sent %v, %v", args, a.bodies, err)
		}
	}
	for text, want := range map[string]string{"-5m": "must not be negative", "-5": "must be a duration", "soon": "must be a duration", "": "must be a duration"} {
		if err := new(Span).UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, _, a, err := berth(t, start, "keepalive", "abc", "--for=0"); err == nil || len(a.bodies) > 0 {
		t.Errorf("for no time at all: sent %v, %v", a.bodies, err)
	}
	_, _, a, err := berth(t, map[string][]string{"GET /api/containers": {`{"containers":[]}`}}, "list", "-q", "alice", "--owner", "course-1", "--sort=-cpu")
	if err != nil || a.queries["GET /api/containers"] != "limit=50&offset=0&owner=course-1&q=alice&sort=-cpu" {
		t.Errorf("list: asked %v, %v", a.queries, err)
	}
}
