package cli

import (
	"strings"
	"testing"
)

func TestWhatIsShownOfAContainer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		call, answer string
		args, want   []string
	}{
		{"GET /api/containers/abc/credentials", `{"vncPassword":"v","codeServerPassword":"c","webhookSecret":"whsec_x"}`, []string{"credentials", "abc"}, []string{"Code     c", "Desktop  v", "Webhook  whsec_x"}},
		{"GET /api/containers/abc/events", `{"events":[{"type":"container.stopped","at":"2026-01-02T03:04:05Z","by":"sweep-idle","message":"Nobody used it."}]}`, []string{"events", "abc"}, []string{"2026-01-02T03:04:05Z  container.stopped  sweep-idle  Nobody used it."}},
		{"GET /api/containers/abc/generations", `{"generations":[{"generation":12,"at":"2026-01-02T03:04:05Z"}]}`, []string{"generations", "abc"}, []string{"12          2026-01-02T03:04:05Z"}},
		{"GET /api/templates", `{"templates":[{"name":"python","image":"ide-python:3","cpuLimit":1.5,"memoryLimit":2147483648}]}`, []string{"templates"}, []string{"python  1.5  2048 MiB  ide-python:3"}},
	} {
		out, _, _, err := berth(t, map[string][]string{tc.call: {tc.answer}}, tc.args...)
		for _, want := range tc.want {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%v: got %q, %v, want %q", tc.args, out, err, want)
			}
		}
	}
}

func TestWhatIsDoneToAContainerIsFollowed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		call, body string
		args       []string
	}{
		{"POST /api/containers/abc/save", "", []string{"save", "abc"}},
		{"POST /api/containers/abc/restart", "", []string{"restart", "abc"}},
		{"POST /api/containers/abc/restore", `{"generation":12}`, []string{"generations", "restore", "abc", "12"}},
	} {
		_, stderr, a, err := berth(t, map[string][]string{tc.call: {running}, "GET /api/jobs/container-create:abc:1": {succeeded}}, tc.args...)
		if err != nil || a.bodies[tc.call] != tc.body || !strings.Contains(stderr, "task") {
			t.Errorf("%v: sent %q, %v, %q", tc.args, a.bodies[tc.call], err, stderr)
		}
	}
}
