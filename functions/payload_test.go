package functions

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

// payloads has arguments of every function as the queue may hold them, with
// every field set. Their files are those of the last release: a field that is
// missing in a file is new, one that does not come back from it was renamed.
var payloads = map[string]any{
	"container-create":  CreateContainerArgs{ID: "k3xqh5zt2mwfa", Run: 1},
	"container-start":   StartContainerArgs{ID: "k3xqh5zt2mwfa", Run: 2},
	"container-restore": RestoreContainerArgs{ID: "k3xqh5zt2mwfa", Body: RestoreRequest{Generation: 12}, Run: 2},
	"container-stop": StopContainerArgs{ID: "k3xqh5zt2mwfa", Force: true, Purge: true, Run: 2, Reason: ide.Inactivity, Parked: true,
		Cause: &ide.Error{Code: ide.Docker, Message: "Its node does not answer."}, Of: 2, Aged: true},
	"container-save":    SaveContainerArgs{ID: "k3xqh5zt2mwfa", Run: 2},
	"container-probe":   ProbeContainerArgs{ID: "k3xqh5zt2mwfa", Run: 2},
	"container-move":    MoveContainerArgs{ID: "k3xqh5zt2mwfa", Run: 2, From: "x8vlm0vmpo1jg5yk4zo2dgpyh", To: "y8vlm0vmpo1jg5yk4zo2dgpyh"},
	"node-images":       BringImagesArgs{ID: "x8vlm0vmpo1jg5yk4zo2dgpyh"},
	"node-drain":        DrainNodeArgs{NodeInput{ID: "x8vlm0vmpo1jg5yk4zo2dgpyh"}},
	"node-activate":     ActivateNodeArgs{NodeInput{ID: "x8vlm0vmpo1jg5yk4zo2dgpyh"}},
	"node-remove":       RemoveNodeArgs{NodeInput{ID: "x8vlm0vmpo1jg5yk4zo2dgpyh"}},
	"node-labels":       LabelNodeArgs{NodeInput: NodeInput{ID: "x8vlm0vmpo1jg5yk4zo2dgpyh"}, Body: NodeLabels{Labels: map[string]string{"gpu": "true"}}},
	"container-restart": RestartContainerArgs{ID: "k3xqh5zt2mwfa", By: Caller{"course-1", ide.Client, ide.Limits{RateLimit: 9, MaxContainers: 3, Buckets: []string{"course-1-*"}}}},
	"containers-action": ContainersActionArgs{Body: ContainersActionRequest{Action: "stop", IDs: []string{"k3xqh5zt2mwfa"}}, By: Caller{"admin", ide.Admin, ide.Limits{RateLimit: 9, MaxContainers: 3, Buckets: []string{"course-1-*"}}}},
	"sweep-jobs":        SweepJobsArgs{},
	"sweep-webhooks":    SweepWebhooksArgs{},
	"sweep-unsaved":     SweepUnsavedArgs{},
	"sweep-credentials": SweepCredentialsArgs{},
	"sweep-probe":       SweepProbeArgs{},
	"sweep-idle":        SweepIdleArgs{},
	"sweep-purge":       SweepPurgeArgs{},
	"sweep-reconcile":   SweepReconcileArgs{},
	"sweep-pressure":    SweepPressureArgs{},
}

func TestPayloadsStillDecode(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("testdata", "payloads")
	for name, want := range payloads {
		file := filepath.Join(dir, name+".json")
		if *update {
			text, err := json.MarshalIndent(want, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		got := reflect.New(reflect.TypeOf(want))
		if err := json.Unmarshal(text, got.Interface()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got.Elem().Interface()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(f.Name(), ".json"); registry[name] == nil {
			t.Errorf("%s: no function of that name runs what the queue may hold", f.Name())
		}
	}
	var before string
	for _, f := range All() {
		if f.Name <= before {
			t.Errorf("All has %s after %s", f.Name, before)
		}
		before = f.Name
		if _, ok := payloads[f.Name]; !ok && !strings.HasPrefix(f.Name, "test-") {
			t.Errorf("%s has no payload here", f.Name)
		}
	}
}

// What a job stores is what a worker reads: no secret, nothing of the
// request's headers.
func TestPayloadIsSmall(t *testing.T) {
	t.Parallel()
	args := CreateContainerArgs{Request: Request{IdempotencyKey: "idem"}, ID: "k3xqh5zt2mwfa", Run: 1,
		Body: CreateContainerRequest{S3Bucket: "b", VNCPassword: "hunter22", AWSSecretAccessKey: "aws"}}
	text, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(text), `{"id":"k3xqh5zt2mwfa","run":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNamesAreThoseOfAllFunctions(t *testing.T) {
	t.Parallel()
	if got := names(); len(got) != len(registry) || !slices.Contains(got, "container-stop") {
		t.Errorf("got %v", got)
	}
}
