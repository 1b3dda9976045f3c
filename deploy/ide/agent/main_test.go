package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, c := range map[string]struct{ id, file, want string }{
		"no ID":          {"", "", "BERTH_ID"},
		"no file":        {testID, filepath.Join(dir, "none"), "no such file"},
		"not JSON":       {testID, write("text", "hush"), "not the JSON"},
		"password empty": {testID, write("part", `{"agentToken":"hush","vncPassword":"hush"}`), "lacks"},
	} {
		_, err := readConfig(func(k string) string {
			return map[string]string{"BERTH_ID": c.id, "BERTH_SECRET_FILE": c.file}[k]
		})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want %q and nothing of the file", name, err, c.want)
		}
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	none := func(string) string { return "" }
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"version"}, 0, version()},
		{[]string{"help"}, 2, "usage"},
		{[]string{"health", "now"}, 2, "usage"},
		{nil, 1, "BERTH_ID is not set"},
	} {
		var out bytes.Buffer
		if code := command(c.args, none, &out); code != c.code || !strings.Contains(out.String(), c.out) {
			t.Errorf("%v: got %d %s, want %d %s", c.args, code, &out, c.code, c.out)
		}
	}
}
