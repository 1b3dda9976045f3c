package workspace

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLimitsAreReported(t *testing.T) {
	t.Parallel()
	s := memory(t)
	for _, c := range []struct {
		name  string
		limit func(*Config)
		want  []string
	}{
		{"files", func(c *Config) { c.MaxFiles = 3 }, []string{"n3", "n4"}},
		{"bytes", func(c *Config) { c.MaxBytes = 25 }, []string{"n2", "n3", "n4"}},
		{"bytes of one", func(c *Config) { c.MaxFileBytes = 9 }, []string{"n0", "n1", "n2", "n3", "n4"}},
	} {
		b := s.bucket(t, c.limit, func(cfg *Config) { cfg.Prefix = c.name })
		dir := t.TempDir()
		w, _ := mustRestore(t, b, dir)
		for i := range 5 {
			write(t, dir, fmt.Sprint("n", i), "0123456789")
		}
		got := mustSave(t, w)
		var skipped []string
		for _, n := range got.LeftOut {
			skipped = append(skipped, n.Path)
		}
		if diff := cmp.Diff(c.want, skipped); diff != "" || got.LeftOutCount != len(c.want) || got.Files != 5-len(c.want) {
			t.Errorf("%s: skipped (-want +got):\n%s%+v", c.name, diff, got)
		}
		// What is in a generation stays in it, whatever comes before it.
		write(t, dir, "a", "0123456789")
		if again := mustSave(t, w); again.Files < got.Files {
			t.Errorf("%s: %d files, %d before", c.name, again.Files, got.Files)
		}
	}
}

// An error of the disk must not look like a deletion.
func TestUnreadableKeepsItsLastState(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	write(t, dir, "d/a", "1")
	write(t, dir, "d/e/b", "1")
	write(t, dir, "f", "1")
	mustSave(t, w)
	tree := &tree{out: map[string]bool{}}
	sc := &scanner{w: w, t: tree}
	for _, p := range []string{"d", "f", "new"} {
		if err := sc.unreadable(p, &os.PathError{Op: "open", Path: "x", Err: syscall.EIO}); err != nil {
			t.Fatal(err)
		}
	}
	if err := sc.unreadable("gone", os.ErrNotExist); err != nil {
		t.Fatal(err)
	}
	if len(tree.entries) != 5 || tree.left.count != 3 || tree.left.list[0] != (Note{"d", "input/output error"}) {
		t.Errorf("%d entries, notes %+v", len(tree.entries), tree.left.list)
	}
}

func TestUnreadableDirectoryOfAUser(t *testing.T) {
	t.Parallel()
	if !asUser(t) {
		return
	}
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	write(t, dir, "d/a", "1")
	mustSave(t, w)
	os.Chmod(filepath.Join(dir, "d"), 0)
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "d"), 0o700) })
	if got := mustSave(t, w); got.Files != 1 || got.LeftOutCount != 1 {
		t.Errorf("saved %+v", got)
	}
}

func TestSpecialFilesAreReported(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "f", "1")
	if err := os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "hard")); err != nil {
		t.Fatal(err)
	}
	if got := mustSave(t, w); got.Files != 2 || got.SpecialCount != 2 || got.LeftOutCount != 0 || got.Sent != 1 {
		t.Errorf("saved %+v", got)
	}
}

// A file that another program never stops writing is saved as it was at one
// moment, and said.
func TestFileThatNeverHoldsStill(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	write(t, dir, "busy", "0")
	var reads atomic.Int32
	changing := func() error { // between hashing and sending
		reads.Add(1)
		return &fileError{errChanged}
	}
	f, _, err := w.local.openFile("busy", false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := w.uploads.content(t.Context(), f, 1, changing); !errors.Is(err, errChanged) {
		t.Errorf("content: %v, want errChanged", err)
	}
	if n := len(w.b.objects(t)); n != 0 {
		t.Errorf("%d objects of what was not whole", n)
	}
	k, err := w.uploads.readCopy(t.Context(), "busy")
	if err != nil || k.Size != 1 || k.looks.at != 0 {
		t.Errorf("copy: %+v, %v", k, err)
	}
	// A file whose size is not what was looked at is read again.
	if _, err := w.uploads.content(t.Context(), f, 2, func() error { return nil }); !errors.Is(err, errChanged) {
		t.Errorf("short file: %v, want errChanged", err)
	}
}

func TestLinkPutInAFilesPlaceIsNotFollowed(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	write(t, dir, "target", "1")
	os.Symlink("target", filepath.Join(dir, "link"))
	if f, _, err := w.local.openFile("link", true); err == nil {
		f.Close()
		t.Error("a link was followed")
	}
	syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)
	if f, _, err := w.local.openFile("pipe", true); err == nil {
		f.Close()
		t.Error("a pipe was opened as a file")
	}
}
