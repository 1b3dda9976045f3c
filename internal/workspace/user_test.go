package workspace

import (
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// asUser runs the calling test once more as uid 1000, as the agent does, and says
// whether this process is that one. Root reads everything, so a test about modes
// shows nothing as root.
func asUser(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "berth-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "test")
	if err := copyFile(self, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, "GOCOVERDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as uid 1000: %v\n%s", err, out)
	}
	return false
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// What its owner has closed to themselves is saved when the programs have ended,
// with the modes it has, and restored.
func TestClosedFilesAreSaved(t *testing.T) {
	t.Parallel()
	if !asUser(t) {
		return
	}
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	modes := map[string]os.FileMode{"m000": 0, "m111": 0o111, "m200": 0o200, "d000/f": 0o644, "d300/f": 0, "d300/deep/f": 0o400, "open": 0o644}
	for name := range modes {
		write(t, dir, name, "1")
	}
	for name, mode := range modes {
		os.Chmod(filepath.Join(dir, name), mode)
	}
	closed := map[string]os.FileMode{"d000": 0, "d300/deep": 0o100, "d300": 0o300}
	for _, d := range []string{"d000", "d300/deep", "d300"} {
		os.Chmod(filepath.Join(dir, d), closed[d])
	}
	open := func(dir string) { // so that the test can look, and the folder can go
		for _, d := range []string{"d000", "d300", "d300/deep"} {
			os.Chmod(filepath.Join(dir, d), 0o700)
		}
	}
	t.Cleanup(func() { open(dir) })
	got, err := w.Save(t.Context())
	if err != nil || got.LeftOutCount == 0 {
		t.Errorf("saved %+v, %v; want what is closed left out while programs run", got, err)
	}
	if got, err = w.Finish(t.Context()); err != nil || got.LeftOutCount != 0 || got.Files != len(modes) {
		t.Fatalf("finished %+v, %v; want all %d files", got, err, len(modes))
	}
	wantModes := func(dir string) {
		t.Helper()
		for _, d := range []string{"d000", "d300", "d300/deep"} {
			info, err := os.Lstat(filepath.Join(dir, d))
			if err != nil || info.Mode().Perm() != closed[d] {
				t.Errorf("%s is %v (%v), want %v", d, info, err, closed[d])
			}
			os.Chmod(filepath.Join(dir, d), 0o700)
		}
		for name, mode := range modes {
			p := filepath.Join(dir, name)
			info, err := os.Lstat(p)
			if err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s is %v (%v), want %v", name, info, err, mode)
			}
			os.Chmod(p, 0o600)
			if b, err := os.ReadFile(p); err != nil || string(b) != "1" {
				t.Errorf("lost: %s is %q, %v", name, b, err)
			}
		}
	}
	wantModes(dir)
	back := t.TempDir()
	t.Cleanup(func() { open(back) })
	mustRestore(t, s.bucket(t), back)
	wantModes(back)
}

// closeDirs gives directories these modes, the deepest first, until the test ends.
func closeDirs(t *testing.T, dir string, modes map[string]os.FileMode) {
	t.Helper()
	names := slices.Sorted(maps.Keys(modes))
	for _, name := range slices.Backward(names) {
		if err := os.Chmod(filepath.Join(dir, name), modes[name]); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, name := range names {
			os.Chmod(filepath.Join(dir, name), 0o700)
		}
	})
}

// Directories of the volume that are closed to their owner, such as those of Go's
// module cache, do not stop a restore to which their files give way.
func TestClosedFoldersGiveWay(t *testing.T) {
	t.Parallel()
	if !asUser(t) {
		return
	}
	s := memory(t)
	dir, other := t.TempDir(), t.TempDir()
	w, _ := mustRestore(t, s.run(t, "c/1"), dir)
	for _, name := range []string{"mod/x@v1/go.mod", "closed/stays", "closed/goes", "shut/deep/f"} {
		write(t, dir, name, "1")
	}
	mustSave(t, w)
	write(t, dir, "mod/x@v1/new", "an hour of work")
	write(t, dir, "mod/x@v1/more/new", "an hour of work")
	w.Close()
	w, _ = mustRestore(t, s.run(t, "c/2"), other)
	os.RemoveAll(filepath.Join(other, "mod/x@v1"))
	os.Remove(filepath.Join(other, "closed/goes"))
	write(t, other, "shut/deep/f", "2")
	mustSave(t, w)
	w.Close()
	closeDirs(t, dir, map[string]os.FileMode{
		".": 0o555, "mod": 0o555, "mod/x@v1": 0o555, "mod/x@v1/more": 0o555, "closed": 0, "shut": 0o400, "shut/deep": 0,
	})
	_, r := mustRestore(t, s.run(t, "c/3"), dir)
	for _, name := range []string{"new", "more/new"} {
		if got := read(t, dir, filepath.Join(r.Recovered, "mod/x@v1", name)); got != "an hour of work" {
			t.Errorf("lost: %s is %q", name, got)
		}
	}
	wantSame(t, picture(t, dir), picture(t, other))
	os.Chmod(filepath.Join(dir, r.Recovered, "mod/x@v1/more"), 0o700)
}

// Nor do they stop one that puts another program's edits into them, and they keep
// their modes.
func TestOutsideEditInClosedFolder(t *testing.T) {
	t.Parallel()
	if !asUser(t) {
		return
	}
	s := memory(t)
	dir := t.TempDir()
	b := s.run(t, "c/1")
	w, _ := mustRestore(t, b, dir)
	names := []string{"mod/x@v1/a", "mod/x@v1/b", "mod/x@v1/c", "shut/deep/f", "shut/g"}
	for _, name := range names {
		write(t, dir, name, "1")
	}
	mustSave(t, w)
	w.Close()
	for _, name := range names {
		putPlain(t, b, name, "outside", nil)
	}
	closed := map[string]os.FileMode{"mod": 0o555, "mod/x@v1": 0o555, "shut": 0, "shut/deep": 0o100}
	closeDirs(t, dir, closed)
	_, r := mustRestore(t, s.run(t, "c/1"), dir)
	if !r.Local || len(r.Outside) != len(names) {
		t.Errorf("restored %+v", r)
	}
	for _, name := range slices.Sorted(maps.Keys(closed)) {
		p := filepath.Join(dir, name)
		if info, err := os.Lstat(p); err != nil || info.Mode().Perm() != closed[name] {
			t.Errorf("%s is %v (%v), want mode %v", name, info, err, closed[name])
		}
		os.Chmod(p, 0o700)
	}
	for _, name := range names {
		if got := read(t, dir, name); got != "outside" {
			t.Errorf("%s is %q", name, got)
		}
	}
}

// A file of rules that its owner may not read does not keep the rest from being
// saved, and its rules count.
func TestClosedIgnoreFile(t *testing.T) {
	t.Parallel()
	if !asUser(t) {
		return
	}
	s := memory(t)
	w, _ := mustRestore(t, s.bucket(t), t.TempDir())
	dir := w.local.dir
	write(t, dir, "f", "1")
	write(t, dir, "x.log", "1")
	write(t, dir, IgnoreFile, "*.log\n")
	os.Chmod(filepath.Join(dir, IgnoreFile), 0)
	if _, err := w.Save(t.Context()); err != nil {
		t.Errorf("Save: %v", err)
	}
	got, err := w.Finish(t.Context())
	if err != nil || got.LeftOutCount != 0 || got.Ignored != 1 || got.Files != 2 {
		t.Errorf("finished %+v, %v", got, err)
	}
	if info, err := os.Lstat(filepath.Join(dir, IgnoreFile)); err != nil || info.Mode().Perm() != 0 {
		t.Errorf("%v is %v, want mode 0", info, err)
	}
}

// Names of one closed file are read at the same time, and none of them with the
// mode that another was opened with.
func TestClosedHardLinks(t *testing.T) {
	t.Parallel()
	if !asUser(t) {
		return
	}
	s := memory(t)
	w, _ := mustRestore(t, s.bucket(t), t.TempDir())
	at := func(name string) string { return filepath.Join(w.local.dir, name) }
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		write(t, w.local.dir, name, strings.Repeat(name, 50_000))
		for i := range 20 {
			if err := os.Link(at(name), at(name+string(rune('a'+i)))); err != nil {
				t.Fatal(err)
			}
		}
		os.Chmod(at(name), 0)
	}
	got, err := w.Finish(t.Context())
	if err != nil || got.LeftOutCount != 0 {
		t.Errorf("finished %+v, %v", got, err)
	}
	for p, k := range w.base {
		if k.Mode != 0 {
			t.Errorf("%s has mode %o, want 0", p, k.Mode)
		}
	}
}
