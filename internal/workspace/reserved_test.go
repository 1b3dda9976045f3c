package workspace

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyOwn writes Berth's own objects into a directory, as a user does who copies
// the bucket into the workspace.
func copyOwn(t *testing.T, b *Bucket, dir string) {
	t.Helper()
	for _, key := range b.keys(t) {
		data, found, err := b.get(t.Context(), b.key(key), 1<<20)
		if err != nil || !found {
			t.Fatal(key, err)
		}
		if strings.HasPrefix(key, reserved+"/") {
			write(t, dir, key, string(data))
		}
	}
}

// A user's folder .berth has no plain files. So its removal deletes no object at
// those keys, though each has the bytes, and the ETag, of the user's file.
func TestRemovedCopyOfTheBucket(t *testing.T) {
	t.Parallel()
	s := memory(t)
	b := s.bucket(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, b, dir)
	write(t, dir, "f", "1")
	write(t, dir, "g", "22")
	mustSave(t, w)
	copyOwn(t, b, dir)
	mustSave(t, w)
	before := b.keys(t)
	os.RemoveAll(filepath.Join(dir, reserved))
	mustSave(t, w)
	has := map[string]bool{}
	for _, key := range b.keys(t) {
		has[key] = true
	}
	for _, key := range before {
		if !has[key] {
			t.Errorf("lost: %s has gone from the bucket", key)
		}
	}
	back := t.TempDir()
	mustRestore(t, b, back)
	wantSame(t, picture(t, back), picture(t, dir))
}

// Of a generation whose header names such keys, nothing is deleted either.
func TestHeaderThatCondemnsOwnObjects(t *testing.T) {
	t.Parallel()
	s := memory(t)
	b := s.bucket(t)
	w, _ := mustRestore(t, b, t.TempDir())
	write(t, w.local.dir, "f", "1")
	mustSave(t, w)
	for _, k := range maps.Clone(w.base) {
		p := objectsDir + k.Sum.String()
		w.plain[p] = plainFile{etags: map[string]Sum{k.ETag: k.Sum}, gone: true}
	}
	mustSave(t, w) // which verifies
	write(t, w.local.dir, "g", "1")
	mustSave(t, w)
	if len(w.header.Gone) != 0 {
		t.Errorf("gone are %v, want none", w.header.Gone)
	}
}

// The plain files of an inner workspace stay, also where the outer one had files
// of the same content there before it was begun.
func TestInnerPlainFilesStay(t *testing.T) {
	t.Parallel()
	s := memory(t)
	outer := s.bucket(t)
	w, _ := mustRestore(t, outer, t.TempDir())
	write(t, w.local.dir, "alice/work", "1")
	mustSave(t, w)
	w.Close()
	putPlain(t, outer, "alice/"+claimKey, "{}", nil)
	w, _ = mustRestore(t, outer, t.TempDir())
	os.RemoveAll(filepath.Join(w.local.dir, "alice"))
	mustSave(t, w)
	if got := plainFiles(t, outer)["alice/work"]; got != "1" {
		t.Errorf("lost: the inner workspace's plain file is %q", got)
	}
}
