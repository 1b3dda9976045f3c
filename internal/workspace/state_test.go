package workspace

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/ide"
)

// unsavedOfAFirstRun returns a directory that a run has restored from a generation of
// another, with work that was not saved, and no state.
func unsavedOfAFirstRun(t *testing.T, s server) (dir string) {
	t.Helper()
	w, _ := mustRestore(t, s.run(t, "d/1"), t.TempDir())
	write(t, w.local.dir, "f", "1")
	write(t, w.local.dir, "g", "22")
	mustSave(t, w)
	dir = filepath.Join(t.TempDir(), "ws")
	w, _ = mustRestore(t, s.run(t, "c/1"), dir)
	if err := unix.Lsetxattr(dir, userXattr+"x", nil, 0); err != nil {
		t.Skipf("the file system of the temporary folder has no extended attributes: %v", err)
	}
	write(t, dir, "f", "an hour of work")
	old := time.Now().Add(-time.Hour) // as rsync and tar do
	os.Chtimes(filepath.Join(dir, "f"), old, old)
	os.Remove(filepath.Join(dir, "g"))
	w.Close()
	os.RemoveAll(filepath.Join(filepath.Dir(dir), reserved))
	return dir
}

// A run that has not saved yet, and whose state a user has removed, loses no file
// to a restore: what differs is no file of the image.
func TestStateRemovedBeforeTheFirstSave(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := unsavedOfAFirstRun(t, s)
	_, r := mustRestore(t, s.run(t, "c/1"), dir)
	if r.RecoveredFiles != 1 || read(t, dir, filepath.Join(r.Recovered, "f")) != "an hour of work" || read(t, dir, "f") != "1" {
		t.Errorf("lost: restored %+v", r)
	}
}

// Nor is there nothing to save when that restore has broken off.
func TestRestoreWithoutStateThatBrokeOff(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := unsavedOfAFirstRun(t, s)
	broken := s.between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, sumHex("22")) {
			http.Error(w, "", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	if _, _, err := broken.run(t, "c/1").Restore(t.Context(), dir, nil); err == nil {
		t.Fatal("a restore without an object succeeded")
	}
	_, err := s.run(t, "c/1", func(c *Config) { c.Kept = true }).Resume(t.Context(), dir)
	if !ide.HasCode(err, ide.WorkspaceUnsaved) {
		t.Errorf("Resume: %v, want WORKSPACE_UNSAVED", err)
	}
}
