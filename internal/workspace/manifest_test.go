package workspace

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const someSum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func manifestOf(entries string, files int, size int64) string {
	return fmt.Sprintf(`{"format":1,"generation":1,"author":"A","files":%d,"bytes":%d,"later":{"x":[1]},"entries":[%s]}`, files, size, entries)
}

func TestManifestRoundTrip(t *testing.T) {
	t.Parallel()
	var sum Sum
	if err := sum.UnmarshalText([]byte(someSum)); err != nil {
		t.Fatal(err)
	}
	entries := []Entry{
		{Path: "\xff\xfe", Kind: Link, Mode: 0o777, Target: "\x80\n"},
		{Path: "a<b>&\u2028", Kind: File, Mode: 0o6755, MTime: Stamp{-1, 999999999}, Size: 5, Sum: sum, ETag: "e", Plain: "p"},
		{Path: "a\nb", Kind: Dir, Mode: 0o1777, MTime: Stamp{1 << 40, 0}},
		{Path: "a\nb/c", Kind: File, Size: 0, Sum: emptySum, Stale: map[string]Sum{"x": emptySum, "y": emptySum}},
	}
	entries[0], entries[1], entries[2], entries[3] = entries[2], entries[3], entries[1], entries[0]
	h := Header{Format: format, Generation: 7, Base: 6, Author: "me", At: time.Unix(1, 0).UTC(), Files: 2, Bytes: 5, Added: []Sum{sum}, Dropped: []Sum{}, Gone: map[string]map[string]Sum{"old": {"x": emptySum, "y": emptySum}}}
	var b bytes.Buffer
	if err := writeManifest(&b, h, entries); err != nil {
		t.Fatal(err)
	}
	var got []Entry
	gotHeader, err := readManifest(bytes.NewReader(b.Bytes()), nil, func(e Entry) error {
		got = append(got, e)
		return nil
	})
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	if diff := cmp.Diff(entries, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(h, gotHeader); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

func TestHostileManifestIsRefused(t *testing.T) {
	t.Parallel()
	file := func(path string) string {
		return `{"path":"` + path + `","kind":"file","size":5,"sha256":"` + someSum + `"}`
	}
	dir := func(path string) string { return `{"path":"` + path + `","kind":"dir"}` }
	for name, text := range map[string]string{
		"nothing":               "",
		"not JSON":              "hello",
		"an array":              "[]",
		"no entries":            `{"format":1}`,
		"unknown format":        `{"format":2,"entries":[]}`,
		"no format":             `{"entries":[]}`,
		"cut off":               manifestOf(file("a"), 1, 5)[:150],
		"parent":                manifestOf(file(".."), 1, 5),
		"path through a parent": manifestOf(dir("a")+","+file("a/../../b"), 1, 5),
		"absolute":              manifestOf(file("/etc/passwd"), 1, 5),
		"dot":                   manifestOf(file("./a"), 1, 5),
		"empty name":            manifestOf(file("a//b"), 1, 5),
		"trailing slash":        manifestOf(dir("a/"), 0, 0),
		"no path":               manifestOf(file(""), 1, 5),
		"a zero byte":           manifestOf(file(`a\u0000b`), 1, 5),
		"twice":                 manifestOf(file("a")+","+file("a"), 2, 10),
		"out of order":          manifestOf(file("b")+","+file("a"), 2, 10),
		"in no directory":       manifestOf(file("a/b"), 1, 5),
		"below a file":          manifestOf(file("a")+","+file("a/b"), 2, 10),
		"below a link":          manifestOf(`{"path":"a","kind":"link","target":"/etc"},`+file("a/passwd"), 1, 5),
		"link to nothing":       manifestOf(`{"path":"a","kind":"link"}`, 0, 0),
		"a device":              manifestOf(`{"path":"a","kind":"device"}`, 0, 0),
		"no hash":               manifestOf(`{"path":"a","kind":"file","size":5}`, 1, 5),
		"short hash":            manifestOf(`{"path":"a","kind":"file","size":5,"sha256":"2cf2"}`, 1, 5),
		"hash with a slash":     manifestOf(`{"path":"a","kind":"file","size":5,"sha256":"../../`+someSum[6:]+`"}`, 1, 5),
		"negative size":         manifestOf(`{"path":"a","kind":"file","size":-5,"sha256":"`+someSum+`"}`, 1, -5),
		"strange mode":          manifestOf(`{"path":"a","kind":"dir","mode":65535}`, 0, 0),
		"two names":             manifestOf(`{"path":"a","path64":"Yg==","kind":"dir"}`, 0, 0),
		"bad base64":            manifestOf(`{"path64":"***","kind":"dir"}`, 0, 0),
		"miscounted":            manifestOf(file("a"), 2, 5),
		"deep JSON":             `{"format":1,"x":` + strings.Repeat("[", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if h, err := readManifest(strings.NewReader(text), nil, nil); err == nil {
				t.Errorf("taken: %+v", h)
			}
		})
	}
}

func TestHostileManifestRestoresNothing(t *testing.T) {
	t.Parallel()
	b := memory(t).bucket(t)
	text := manifestOf(`{"path":"a","kind":"link","target":".."},{"path":"a/b","kind":"file","size":5,"sha256":"`+someSum+`"}`, 1, 5)
	for key, data := range map[string]string{manifestsDir + "1.json": text, objectsDir + someSum: "hello"} {
		if _, err := b.put(t.Context(), b.key(key), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	up := t.TempDir()
	dir := filepath.Join(up, "ws")
	if _, _, err := b.Restore(t.Context(), dir, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("restore: %v, want ErrDamaged", err)
	}
	if _, err := os.Lstat(filepath.Join(up, "b")); err == nil {
		t.Error("a file was written outside the workspace")
	}
	if _, err := b.Verify(t.Context(), 1); !errors.Is(err, ErrDamaged) {
		t.Errorf("verify: %v, want ErrDamaged", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(manifestOf(`{"path":"a","kind":"dir"},{"path":"a/b","kind":"file","size":5,"sha256":"`+someSum+`"}`, 1, 5)))
	f.Add([]byte(manifestOf(`{"path64":"/w==","kind":"link","target64":"gA=="}`, 0, 0)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var entries []Entry
		h, err := readManifest(bytes.NewReader(data), nil, func(e Entry) error {
			if !filepath.IsLocal(e.Path) {
				t.Fatalf("path %q was taken", e.Path)
			}
			entries = append(entries, e)
			return nil
		})
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := writeManifest(&b, h, entries); err != nil {
			t.Skip(err) // a time that JSON has no form for
		}
		var again []Entry
		if _, err := readManifest(&b, nil, func(e Entry) error {
			again = append(again, e)
			return nil
		}); err != nil {
			t.Fatalf("what was read cannot be written and read: %v", err)
		}
		if diff := cmp.Diff(entries, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
