package templates

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

func TestBuiltIn(t *testing.T) {
	t.Parallel()
	list, err := Read("", "ide:1")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range list {
		names = append(names, x.Name)
	}
	if diff := cmp.Diff([]string{"default", "python", "node", "java"}, names); diff != "" || list[0].Image != "ide:1" {
		t.Errorf("default runs %s; names (-want +got):\n%s", list[0].Image, diff)
	}
}

func TestOwnFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "t.yaml")
	text := "templates:\n- {name: ml, image: x/ml:2, agent: false, resources: {cpuLimit: 1.5, memoryLimit: 8g}, placement: {constraints: [node.labels.gpu == yes], strategy: pack, generic: [gpu=1]}, env: {A: b}, webCommand: run}\n" +
		"- {name: hard, readOnly: true, capabilities: [CHOWN], resources: {pids: 64}}\n- {name: soft, tmpfs: [/var/tmp]}\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Read(name, "ide:1")
	want := []ide.Template{{Name: "default", Image: "ide:1"}, {Name: "ml", Image: "x/ml:2", CPULimit: 15e8, MemoryLimit: 8 << 30,
		Placement: ide.Placement{Constraints: []string{"node.labels.gpu == yes"}, Strategy: ide.Pack, Generic: []string{"gpu=1"}}, Env: map[string]string{"A": "b"}, WebCommand: "run", NoAgent: true},
		{Name: "hard", Image: "ide:1", Hardening: ide.Hardening{ReadOnly: true, Tmpfs: []string{"/tmp", "/run"}, Capabilities: []string{"CHOWN"}, PIDs: 64}},
		{Name: "soft", Image: "ide:1", Hardening: ide.Hardening{Tmpfs: []string{"/var/tmp"}}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v; (-want +got):\n%s", err, diff)
	}
	if _, err := Read(name+"x", ""); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestWhatCannotBe(t *testing.T) {
	t.Parallel()
	for text, words := range map[string]string{
		"templates: [{name: A}]":                                                      "lower-case",
		"templates: [{name: a}, {name: a}]":                                           "twice",
		"templates: [{name: a, resources: {memoryLimit: 1m}}]":                        "memoryLimit",
		"templates: [{name: a, resources: {memoryLimit: much}}]":                      "memoryLimit",
		"templates: [{name: a, resources: {cpuLimit: -1}}]":                           "cpuLimit",
		"templates: [{name: a, env: {BERTH_ID: x}}]":                                  "BERTH_ID",
		"templates: [{name: a, env: {\"A B\": x}}]":                                   "A B",
		"templates: [{name: a, placement: {constraints: [\"node.role==x; rm -r\"]}}]": "constraint",
		"templates: [{name: a, placement: {constraints: [node.name==x]}}]":            "constraint",
		"templates: [{name: a, placement: {strategy: both}}]":                         "spread or pack",
		"templates: [{name: a, placement: {generic: [gpu=0]}}]":                       "KIND=NUMBER",
		"templates: [{name: a, capabilities: [NET_RAW]}]":                             "NET_RAW",
		"templates: [{name: a, tmpfs: [/]}]":                                          "tmpfs",
		"templates: [{name: a, tmpfs: [/a/../b]}]":                                    "tmpfs",
		"templates: [{name: a, tmpfs: [/home/ide/workspace/x]}]":                      "tmpfs",
		"templates: [{name: a, resources: {pids: -1}}]":                               "pids",
		"templates: 7": "cannot unmarshal",
	} {
		if _, err := parse([]byte(text), "i"); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: got %v, want something of %q", text, err, words)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(builtIn)
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parse(text, "i")
		for _, x := range list {
			if err == nil && (x.Image == "" || !templateName.MatchString(x.Name)) {
				t.Errorf("%q: got %+v", text, x)
			}
		}
	})
}
