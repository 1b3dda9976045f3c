package swarm

import (
	"maps"
	"strings"
	"testing"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

func TestRecordReadsBack(t *testing.T) {
	t.Parallel()
	rec := sample()
	labels, err := recordLabels("main", rec)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range labels {
		if strings.Contains(v, rec.Sealed) {
			t.Errorf("label %s shows the sealed secrets", k)
		}
	}
	if got, want := labels[LabelCreated], "2026-01-02T03:04:05.000000006Z"; got != want {
		t.Errorf("label %s is %q, want %q", LabelCreated, got, want)
	}
	got, err := parseRecord(labels)
	if err != nil {
		t.Fatal(err)
	}
	rec.Sealed = ""
	if diff := cmp.Diff(rec, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestBrokenRecordsAreRefused(t *testing.T) {
	t.Parallel()
	whole, err := recordLabels("main", sample())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]string){
		"no labels":            func(l map[string]string) { clear(l) },
		"ID is no ID":          func(l map[string]string) { l[LabelID] = "Main" },
		"run is no number":     func(l map[string]string) { l[LabelRun] = "three" },
		"run is negative":      func(l map[string]string) { l[LabelRun] = "-1" },
		"record is cut":        func(l map[string]string) { l[LabelRecord] = l[LabelRecord][:20] },
		"another ID":           func(l map[string]string) { l[LabelID] = "zzzzzzzzzzzzz" },
		"another run":          func(l map[string]string) { l[LabelRun] = "4" },
		"another owner":        func(l map[string]string) { l[LabelOwner] = "somebody" },
		"another status":       func(l map[string]string) { l[LabelStatus] = "running" },
		"record is of no type": func(l map[string]string) { l[LabelRecord] = "[]" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := maps.Clone(whole)
			change(l)
			if rec, err := parseRecord(l); err == nil {
				t.Errorf("read as %+v", rec)
			}
		})
	}
}

func TestUserLabelsObeyNobody(t *testing.T) {
	t.Parallel()
	rec := sample()
	rec.Labels = map[string]string{LabelInstance: "other", LabelEdge: "true", "traefik.enable": "true"}
	for k, v := range serviceLabels(Config{Instance: "main", Routing: RoutingGateway}, rec) {
		switch {
		case strings.HasPrefix(k, userLabel):
		case k == LabelInstance && v == "main", k == LabelID, k == LabelRun, k == LabelOwner:
		default:
			t.Errorf("label %s=%s reached the service", k, v)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	l, err := recordLabels("main", sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l[LabelID], l[LabelRun], l[LabelOwner], l[LabelStatus], l[LabelRecord])
	f.Add("", "", "", "", "")
	f.Add("abcdefghijk23", "0", "", "", "{}")
	f.Add("abcdefghijk23", "1", "o", "running", `{"id":"abcdefghijk23","run":1,"owner":"o","status":"running","sealed":"x"}`)
	f.Fuzz(func(t *testing.T, id, run, owner, status, record string) {
		rec, err := parseRecord(map[string]string{
			LabelID: id, LabelRun: run, LabelOwner: owner, LabelStatus: status, LabelRecord: record,
		})
		if err != nil {
			return
		}
		if !ide.ValidID(rec.ID) || rec.ID != id || rec.Run < 0 || rec.Sealed != "" {
			t.Errorf("taken, but not sound: %+v", rec)
		}
		again, err := recordLabels("main", rec)
		if err != nil {
			return // a time that JSON cannot hold
		}
		back, err := parseRecord(again)
		if err != nil {
			t.Fatalf("what was read cannot be read back: %v", err)
		}
		if diff := cmp.Diff(rec, back); diff != "" {
			t.Errorf("reads back differently (-first +second):\n%s", diff)
		}
	})
}
