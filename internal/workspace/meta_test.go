package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func inode(t *testing.T, name string) (ino, links uint64, blocks int64) {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return st.Ino, uint64(st.Nlink), st.Blocks
}

// Times of links and of far centuries, extended attributes, hard links and holes
// come back as they were.
func TestMetadataComesBack(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"f", "d/first", "future", "past", "attrs", "withdir/x"} {
		write(t, dir, name, "1")
	}
	os.Symlink("nowhere", at("link"))
	for name, ts := range map[string]unix.Timespec{"link": {Sec: 1e9, Nsec: 5}, "future": {Sec: 13e9, Nsec: 7}, "past": {Sec: -2e9}} {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, at(name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"attrs", "withdir"} {
		if err := unix.Lsetxattr(at(name), "user.note", []byte("a\x00b"), 0); err != nil {
			t.Skipf("the file system of the temporary folder has no extended attributes: %v", err)
		}
		if err := unix.Lsetxattr(at(name), "user.\xff", []byte("c"), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a-second", "d/third"} {
		if err := os.Link(at("d/first"), at(name)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(at("sparse"))
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("end"), 20<<20)
	f.Close()
	if got, err := w.Finish(t.Context()); err != nil || got.LeftOutCount != 0 {
		t.Fatalf("saved %+v, %v", got, err)
	}
	back := t.TempDir()
	w2, r := mustRestore(t, s.bucket(t), back)
	if len(r.Skipped) != 0 {
		t.Errorf("restored %+v", r)
	}
	wantSame(t, picture(t, back), picture(t, dir))
	for _, name := range []string{"link", "future", "past"} {
		had, err1 := os.Lstat(at(name))
		has, err2 := os.Lstat(filepath.Join(back, name))
		if err1 != nil || err2 != nil || stampOf(has) != stampOf(had) {
			t.Errorf("lost: the time of %s is %v, was %v (%v, %v)", name, has.ModTime(), had.ModTime(), err1, err2)
		}
	}
	for _, name := range []string{"attrs", "withdir"} {
		if all, err := attributes(nil, filepath.Join(back, name)); err != nil || all["user.note"] != "a\x00b" || all["user.\xff"] != "c" || len(all) != 2 {
			t.Errorf("lost: the attributes of %s are %q, %v", name, all, err)
		}
	}
	ino, links, _ := inode(t, filepath.Join(back, "d/first"))
	for _, name := range []string{"a-second", "d/third"} {
		if other, _, _ := inode(t, filepath.Join(back, name)); other != ino || links != 3 {
			t.Errorf("lost: %s is not the file of d/first any more, which has %d names", name, links)
		}
	}
	if _, _, had := inode(t, at("sparse")); had < 100 {
		if _, _, has := inode(t, filepath.Join(back, "sparse")); has > 2*had+64 {
			t.Errorf("lost: the holes: %d blocks, %d before", has, had)
		}
	}
	// Nothing of it is a change.
	if got := mustSave(t, w2); got.Changed {
		t.Errorf("saved %+v, want no generation", got)
	}
	// A change of metadata alone is one.
	for what, change := range map[string]func(){
		"attribute":  func() { unix.Lremovexattr(filepath.Join(back, "attrs"), "user.note") },
		"link":       func() { os.Remove(filepath.Join(back, "d/third")); write(t, back, "d/third", "1") },
		"link time":  func() { os.Remove(filepath.Join(back, "link")); os.Symlink("nowhere", filepath.Join(back, "link")) },
		"attribute2": func() { unix.Lsetxattr(filepath.Join(back, "withdir"), "user.note", []byte("c"), 0) },
	} {
		change()
		if got := mustSave(t, w2); !got.Changed {
			t.Errorf("%s: no generation was made", what)
		}
	}
	third := t.TempDir()
	mustRestore(t, s.bucket(t), third)
	if all, err := attributes(nil, filepath.Join(third, "withdir")); err != nil || all["user.note"] != "c" {
		t.Errorf("the attributes are %q, %v", all, err)
	}
	if _, links, _ := inode(t, filepath.Join(third, "d/first")); links != 2 {
		t.Errorf("d/first has %d names, want 2", links)
	}
}

// A manifest from anybody's bucket sets no attribute but a user's, and makes no
// link to what is not in it.
func TestForeignMetadataIsRefused(t *testing.T) {
	t.Parallel()
	const file = `{"path":"b","kind":"file","size":1,"sha256":"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"`
	for name, entry := range map[string]string{
		"system attribute": file + `,"attrs":{"security.capability":"AA=="}}`,
		"trusted":          file + `,"attrs":{"trusted.x":"AA=="}}`,
		"in base64":        file + `,"attrs64":{"dHJ1c3RlZC54":"AA=="}}`,
		"no base64":        file + `,"attrs64":{"user.x":"AA=="}}`,
		"link outside":     file + `,"hard":"../a"}`,
		"link to a later":  file + `,"hard":"c"}`,
		"link to itself":   file + `,"hard":"b"}`,
		"link absolute":    file + `,"hard":"/etc/passwd"}`,
		"time":             file + `,"ns":1000000000}`,
		"holes":            file + `,"disk":-1}`,
	} {
		if _, err := readManifest(strings.NewReader(manifestOf(entry, 1, 1)), nil, nil); err == nil {
			t.Errorf("%s: the manifest was taken", name)
		}
	}
	if _, err := readManifest(strings.NewReader(manifestOf(file+`,"hard":"a","attrs":{"user.x":"AA=="}}`, 1, 1)), nil, nil); err != nil {
		t.Errorf("a sound one: %v", err)
	}
}

// What is one file on a volume and two in the generation that is restored there has
// the mode and time of each.
func TestHardLinkOfTheVolumeIsParted(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir, other := t.TempDir(), t.TempDir()
	w, _ := mustRestore(t, s.run(t, "c/1"), dir)
	write(t, dir, "a", "1")
	for _, name := range []string{"b", "c"} {
		if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	mustSave(t, w)
	w.Close()
	w, _ = mustRestore(t, s.run(t, "c/2"), other)
	os.Remove(filepath.Join(other, "b"))
	write(t, other, "b", "1")
	os.Chmod(filepath.Join(other, "b"), 0o600)
	mustSave(t, w)
	w.Close()
	_, r := mustRestore(t, s.run(t, "c/3"), dir)
	wantSame(t, picture(t, dir), picture(t, other))
	if _, links, _ := inode(t, filepath.Join(dir, "a")); links != 2 || r.RecoveredFiles != 0 {
		t.Errorf("a has %d names, want 2; restored %+v", links, r)
	}
}
