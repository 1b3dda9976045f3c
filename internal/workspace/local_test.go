package workspace

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
)

func TestLocalFilesWinAfterACrash(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	write(t, dir, "saved", "1")
	write(t, dir, "removed", "1")
	write(t, dir, "edited", "old")
	mustSave(t, w)
	write(t, dir, "unsaved", "1")
	write(t, dir, "edited", "new") // the same size
	info, err := os.Stat(filepath.Join(dir, "saved"))
	if err != nil {
		t.Fatal(err)
	}
	os.Chtimes(filepath.Join(dir, "edited"), info.ModTime(), info.ModTime())
	os.Remove(filepath.Join(dir, "removed"))
	want := picture(t, dir)
	w.Close() // as the kernel does after a SIGKILL

	r1, err := s.bucket(t).Resume(t.Context(), dir)
	if err != nil {
		t.Fatalf("Resume: %v", err)
	}
	r1.Close()
	w, r := mustRestore(t, s.bucket(t), dir)
	if !r.Local || r.RecoveredFiles != 0 {
		t.Errorf("restored %+v, want local", r)
	}
	wantSame(t, picture(t, dir), want)
	if got := mustSave(t, w); got.Generation != 2 || got.Files != 3 {
		t.Errorf("saved %+v", got)
	}
	back := t.TempDir()
	mustRestore(t, s.bucket(t), back)
	wantSame(t, picture(t, back), want)
}

func TestNothingToResume(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	write(t, dir, "f", "1")
	if _, err := s.bucket(t).Resume(t.Context(), dir); !ide.HasCode(err, ide.WorkspaceUnsaved) || !ide.IsPermanent(err) {
		t.Errorf("no state: %v, want WORKSPACE_UNSAVED: nobody knows whose the files are", err)
	}
	w, _ := mustRestore(t, s.bucket(t), dir)
	mustSave(t, w)
	w.Close()
	if _, err := s.bucket(t, func(c *Config) { c.Prefix = "other" }).Resume(t.Context(), dir); !ide.HasCode(err, ide.WorkspaceUnsaved) {
		t.Errorf("restored from elsewhere: %v, want WORKSPACE_UNSAVED", err)
	}
	other, _ := mustRestore(t, s.bucket(t), t.TempDir())
	write(t, other.local.dir, "g", "1")
	mustSave(t, other)
	if _, err := s.bucket(t).Resume(t.Context(), dir); !errors.Is(err, ErrTaken) {
		t.Errorf("another has saved: %v, want ErrTaken", err)
	}
}

func TestRestoreThatFailsCannotBeSaved(t *testing.T) {
	t.Parallel()
	s := memory(t)
	one := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), one)
	write(t, one, "a", "1")
	write(t, one, "b", "2")
	mustSave(t, w)
	broken := s.between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, sumHex("2")) {
			http.Error(w, "", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	dir := t.TempDir()
	if w, _, err := broken.bucket(t).Restore(t.Context(), dir, nil); err == nil || w != nil {
		t.Fatalf("restore: %v, %v; want an error and no workspace", w, err)
	}
	if _, err := s.bucket(t).Resume(t.Context(), dir); !errors.Is(err, ErrNotRestored) {
		t.Errorf("Resume after a failed restore: %v, want ErrNotRestored", err)
	}
	w2, r := mustRestore(t, s.bucket(t), dir)
	if r.Local || r.RecoveredFiles != 0 {
		t.Errorf("restored %+v", r)
	}
	wantSame(t, picture(t, dir), picture(t, one))
	if got := mustSave(t, w2); got.Changed {
		t.Errorf("saved %+v", got)
	}
}

// After another boot, files that were not yet on the disk may be empty.
func TestPowerFailureBeforeTheFirstSave(t *testing.T) {
	t.Parallel()
	s := memory(t)
	one, dir := t.TempDir(), t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), one)
	write(t, one, "f", "text")
	mustSave(t, w)
	w2, _ := mustRestore(t, s.bucket(t), dir)
	st, err := w2.local.readState()
	if err != nil || st.Boot == "" {
		t.Fatalf("state %+v, %v; want the boot noted", st, err)
	}
	st.Boot = "another"
	if err := w2.local.writeState(st); err != nil {
		t.Fatal(err)
	}
	w2.Close()
	write(t, dir, "f", "")
	w2, r := mustRestore(t, s.bucket(t), dir)
	if got := read(t, dir, "f"); got != "text" || r.Local || r.RecoveredFiles != 1 {
		t.Errorf("restored %q, %+v", got, r)
	}
	write(t, dir, "g", "1")
	mustSave(t, w2)
	if st, err := w2.local.readState(); err != nil || st.Boot != "" || st.Base != 2 || st.Pending != 0 {
		t.Errorf("state after a save: %+v, %v", st, err)
	}
}

func TestRestoreWritesThroughNoLink(t *testing.T) {
	t.Parallel()
	s := memory(t)
	one, dir, away := t.TempDir(), t.TempDir(), t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), one)
	write(t, one, "d/f", "ours")
	write(t, one, "x", "ours")
	os.Symlink("target", filepath.Join(one, "l"))
	mustSave(t, w)
	write(t, away, "f", "theirs")
	write(t, dir, "l", "a file where a link is to be")
	os.Symlink(away, filepath.Join(dir, "d"))
	os.Symlink(filepath.Join(away, "f"), filepath.Join(dir, "x"))
	mustRestore(t, s.bucket(t), dir)
	wantSame(t, picture(t, dir), picture(t, one))
	if got := read(t, away, "f"); got != "theirs" {
		t.Errorf("the file outside is %q", got)
	}
}

func TestEmptiedBucketDoesNotEmptyTheDirectory(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	b := s.bucket(t)
	w, _ := mustRestore(t, b, dir)
	write(t, dir, "f", "1")
	mustSave(t, w)
	want := picture(t, dir)
	for _, key := range b.keys(t) {
		if err := b.remove(t.Context(), b.key(key)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "g", "1")
	if _, err := w.Save(t.Context()); !errors.Is(err, ErrTaken) {
		t.Errorf("save over an emptied bucket: %v, want ErrTaken", err)
	}
	os.Remove(filepath.Join(dir, "g"))
	w.Close()
	w, r := mustRestore(t, b, dir)
	if !r.Local {
		t.Errorf("restored %+v", r)
	}
	wantSame(t, picture(t, dir), want)
	if got := mustSave(t, w); got.Generation != 1 || got.Sent != 1 {
		t.Errorf("saved %+v", got)
	}
}

func TestChangesAreSeen(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	old := time.Now().Add(-time.Hour)
	age := func(name string) { os.Chtimes(filepath.Join(dir, name), old, old) }
	write(t, dir, "f", "one")
	age("f")
	mustSave(t, w)
	steps := []struct {
		name string
		do   func()
	}{
		{"content of the same size and time", func() { write(t, dir, "f", "two"); age("f") }},
		{"mode", func() { os.Chmod(filepath.Join(dir, "f"), 0o755) }},
		{"time", func() { os.Chtimes(filepath.Join(dir, "f"), old, old.Add(time.Second)) }},
		{"another file of the same looks", func() {
			write(t, dir, "new", "2wo")
			os.Chtimes(filepath.Join(dir, "new"), old, old.Add(time.Second))
			os.Chmod(filepath.Join(dir, "new"), 0o755)
			os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "f"))
		}},
		{"an empty directory", func() { os.Mkdir(filepath.Join(dir, "d"), 0o700) }},
		{"mode of a directory", func() { os.Chmod(filepath.Join(dir, "d"), 0o750) }},
		{"a link", func() { os.Symlink("f", filepath.Join(dir, "l")) }},
		{"a link's target", func() { os.Remove(filepath.Join(dir, "l")); os.Symlink("g", filepath.Join(dir, "l")) }},
		{"a directory in a file's place", func() { os.Remove(filepath.Join(dir, "f")); write(t, dir, "f/g", "x") }},
		{"a file in a directory's place", func() { os.RemoveAll(filepath.Join(dir, "f")); write(t, dir, "f", "x") }},
		{"everything removed", func() {
			os.RemoveAll(filepath.Join(dir, "f"))
			os.RemoveAll(filepath.Join(dir, "d"))
			os.Remove(filepath.Join(dir, "l"))
		}},
	}
	for i, step := range steps {
		step.do()
		if n, err := w.Dirty(t.Context()); n == 0 || err != nil {
			t.Errorf("%s: %d dirty, %v", step.name, n, err)
		}
		if got := mustSave(t, w); got.Generation != int64(i+2) {
			t.Fatalf("%s: %+v, want generation %d", step.name, got, i+2)
		}
		back := t.TempDir()
		mustRestore(t, s.bucket(t), back)
		wantSame(t, picture(t, back), picture(t, dir))
	}
	if n, err := w.Dirty(t.Context()); n != 0 || err != nil {
		t.Errorf("%d dirty at the end, %v", n, err)
	}
}

// A user's own file, link or folder of the name RecoveredDir stops no restore.
func TestRecoveredDirIsTheUsers(t *testing.T) {
	t.Parallel()
	make := map[string]func(p string) error{
		"file":   func(p string) error { return os.WriteFile(p, []byte("mine"), 0o644) },
		"link":   func(p string) error { return os.Symlink("/etc", p) },
		"folder": func(p string) error { return os.Mkdir(p, 0o755) },
	}
	for here := range make {
		for there := range make {
			t.Run(here+" and "+there, func(t *testing.T) {
				t.Parallel()
				s := memory(t)
				dir, other := t.TempDir(), t.TempDir()
				w, _ := mustRestore(t, s.run(t, "c/1"), dir)
				write(t, dir, "a", "1")
				mustSave(t, w)
				w.Close()
				w, _ = mustRestore(t, s.run(t, "c/2"), other)
				write(t, other, "a", "2")
				if err := make[there](filepath.Join(other, RecoveredDir)); err != nil {
					t.Fatal(err)
				}
				mustSave(t, w)
				w.Close()
				write(t, dir, "a", "not saved")
				if err := make[here](filepath.Join(dir, RecoveredDir)); err != nil {
					t.Fatal(err)
				}
				_, r := mustRestore(t, s.run(t, "c/3"), dir)
				if got := read(t, dir, filepath.Join(r.Recovered, "a")); got != "not saved" || read(t, dir, "a") != "2" {
					t.Errorf("lost: restored %+v, %q", r, got)
				}
				want, err1 := os.Lstat(filepath.Join(other, RecoveredDir))
				got, err2 := os.Lstat(filepath.Join(dir, RecoveredDir))
				if err1 != nil || err2 != nil || got.Mode().Type() != want.Mode().Type() {
					t.Errorf("%s is %v (%v), want %v (%v)", RecoveredDir, got, err2, want, err1)
				}
			})
		}
	}
}
