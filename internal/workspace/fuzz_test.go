package workspace

import (
	"strings"
	"testing"
)

// FuzzPrefix has every key of a workspace below its prefix, and two prefixes
// that are not the same place apart.
func FuzzPrefix(f *testing.F) {
	for _, p := range []string{"", "a", "/a/", "a/b", "a//b", "ü/日本", "a b", "..", "%2F", "\xff"} {
		f.Add(p, "f")
	}
	f.Fuzz(func(t *testing.T, prefix, p string) {
		b, err := New(Config{Endpoint: "http://127.0.0.1:1", Bucket: "bucket", Prefix: prefix})
		if err != nil || checkPath(p) != nil {
			return
		}
		other, err := New(Config{Endpoint: "http://127.0.0.1:1", Bucket: "bucket", Prefix: "/" + prefix + "/"})
		if err != nil || other.place() != b.place() {
			t.Fatalf("prefix %q: %v; with slashes around it is another place", prefix, err)
		}
		for _, key := range []string{b.key(p), b.objectKey(emptySum), b.manifestKey(1), b.journalKey(1), b.collectKey(1)} {
			if rest, ok := strings.CutPrefix(key, b.prefix); !ok || rest == "" || strings.HasPrefix(key, "/") && !strings.HasPrefix(p, "/") {
				t.Fatalf("prefix %q: key %q", prefix, key)
			}
		}
		w := &Workspace{b: b}
		if key := b.key(p); strings.HasPrefix(key, b.key(reserved+"/")) && w.unmirrored(p) == "" {
			t.Fatalf("file %q has Berth's own key %q", p, key)
		}
	})
}
