package openapi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
)

// TestMonitoringAsksForWhatThereIs compares the names in deploy/monitoring with
// those that a server gives.
func TestMonitoringAsksForWhatThereIs(t *testing.T) {
	t.Parallel()
	b := fleetBench(t)
	h, err := b.st.Take(t.Context(), b.create(alice, "bucket-1").Job.ID, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	h.Job.Steps = append(h.Job.Steps, ide.Step{Name: "service", Status: ide.StepDone, Seconds: 0.3})
	if _, err := h.End(t.Context(), ide.JobFailed); err != nil {
		t.Fatal(err)
	}
	if err := b.st.Report(t.Context(), ide.Worker{ID: "w1", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	b.call(aliceKey, "GET", "/api/containers", "")
	given := map[string]bool{}
	for line := range strings.Lines(b.call(viewKey, "GET", "/metrics", "").Body.String()) {
		if name, _, ok := strings.Cut(line, "{"); ok {
			given[name] = true
		} else if name, _, ok := strings.Cut(line, " "); ok {
			given[name] = true
		}
	}
	name := regexp.MustCompile(`\bberth_[a-z_]+\b`)
	notMetrics := map[string]bool{"berth_api": true, "berth_redis": true, "berth_worker": true, "berth_step_seconds": true} // services, and a histogram that is only spoken of
	files, err := filepath.Glob("../deploy/monitoring/*.*")
	if err != nil || len(files) < 4 {
		t.Fatalf("got %q, %v", files, err)
	}
	asked := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(text) {
			t.Errorf("%s is no JSON", file)
		}
		if strings.HasSuffix(file, ".md") {
			continue
		}
		for _, n := range name.FindAllString(string(text), -1) {
			if asked++; !given[n] && !notMetrics[n] {
				t.Errorf("%s asks for %s, which no server gives", file, n)
			}
		}
	}
	if asked < 50 {
		t.Errorf("only %d names were found", asked)
	}
}
