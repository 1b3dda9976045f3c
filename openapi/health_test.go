package openapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/s3"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	node := ide.Node{ID: "n1", State: "ready", Availability: "active", Filtered: true, At: time.Now()}
	unfiltered := node
	unfiltered.Filtered = false
	worker := ide.Worker{ID: "w1", Manager: true, Engine: true, At: time.Now()}
	helper := ide.Worker{ID: "w2", Engine: true, At: time.Now()}
	late := worker
	late.At = time.Now().Add(-16 * time.Second)
	for _, tc := range []struct {
		name           string
		workers        []ide.Worker
		nodes          []ide.Node
		workersOK      bool
		swarmOK        bool
		workersMessage string
		swarmMessage   string
	}{
		{"no worker", nil, []ide.Node{node}, false, false, "No worker has reported", "No worker tells"},
		{"a worker that was silent", []ide.Worker{late}, []ide.Node{node}, false, false, "No worker has reported", ""},
		{"no manager", []ide.Worker{helper}, []ide.Node{node}, true, false, "", "No manager's engine"},
		{"a manager whose engine is away", []ide.Worker{{ID: "w1", Manager: true, At: time.Now()}}, []ide.Node{node}, true, false, "", "No manager's engine"},
		{"no node", []ide.Worker{worker}, nil, true, false, "", "No node can take"},
		{"no node is filtered", []ide.Worker{worker}, []ide.Node{unfiltered}, true, false, "", "No node can take"},
		{"all is well", []ide.Worker{worker, helper}, []ide.Node{unfiltered, node}, true, true, "", ""},
	} {
		if err := b.rdb.Del(t.Context(), "{berth}:workers").Err(); err != nil {
			t.Fatal(err)
		}
		for _, w := range tc.workers {
			if err := b.st.Report(t.Context(), w); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.st.PublishNodes(t.Context(), tc.nodes); err != nil {
			t.Fatal(err)
		}
		status, word := http.StatusServiceUnavailable, "degraded"
		if tc.workersOK && tc.swarmOK {
			status, word = http.StatusOK, "ok"
		}
		var h SystemHealth
		b.read(b.call("", "GET", "/api/health", ""), status, &h)
		w, s := h.Checks["workers"], h.Checks["swarm"]
		if h.Status != word || !h.Checks["redis"].OK || w.OK != tc.workersOK || s.OK != tc.swarmOK ||
			!strings.HasPrefix(w.Message, tc.workersMessage) || !strings.HasPrefix(s.Message, tc.swarmMessage) {
			t.Errorf("%s: got %+v", tc.name, h)
		}
		if h.Version != "v9" || h.Durability != "aof" || h.Isolation != "on" || len(h.Checks) != 3 {
			t.Errorf("%s: got %+v", tc.name, h)
		}
	}
	b.api = New(b.deps, Config{})
	var h SystemHealth
	b.read(b.call("", "GET", "/api/health", ""), http.StatusOK, &h)
	if h.Isolation != "off" {
		t.Errorf("got isolation %q, want it told that it is off", h.Isolation)
	}
	for _, tc := range []struct {
		cfg  s3.Config
		want string
	}{{s3.Config{Off: true}, "off"}, {s3.Config{}, "kept"}, {s3.Config{SingleWriter: true}, "single-writer"}} {
		var err error
		if b.deps.S3, err = s3.New(tc.cfg); err != nil {
			t.Fatal(err)
		}
		if b.read(b.call("", "GET", "/api/health", ""), http.StatusOK, &h); h.Workspaces != tc.want {
			t.Errorf("got workspaces %q, want %q", h.Workspaces, tc.want)
		}
	}
	if w := b.call("", "GET", "/readyz", ""); w.Code != http.StatusNoContent {
		t.Errorf("readyz: got %d", w.Code)
	}
}
