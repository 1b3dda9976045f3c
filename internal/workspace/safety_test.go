package workspace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/ide"
)

// run returns a bucket for the run of a container.
func (s server) run(t testing.TB, writer string, change ...func(*Config)) *Bucket {
	t.Helper()
	return s.bucket(t, append(change, func(c *Config) { c.Writer = writer })...)
}

// stateFile is the state of the workspace in dir.
func stateFile(dir string) string {
	return filepath.Join(filepath.Dir(dir), reserved, filepath.Base(dir), stateName)
}

// What a user does to Berth's folder, or to the state in it, costs no file: what
// is newer stays, and what is missing comes back.
func TestStateThatIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, dir string, old []byte){
		"removed": func(t *testing.T, dir string, _ []byte) {
			if err := os.RemoveAll(filepath.Join(filepath.Dir(dir), reserved)); err != nil {
				t.Fatal(err)
			}
		},
		"of an earlier generation": func(t *testing.T, dir string, old []byte) {
			if err := os.WriteFile(stateFile(dir), old, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"damaged": func(t *testing.T, dir string, _ []byte) {
			if err := os.WriteFile(stateFile(dir), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memory(t)
			dir := filepath.Join(t.TempDir(), "ws")
			w, _ := mustRestore(t, s.run(t, "c/1"), dir)
			write(t, dir, "edited", "1")
			write(t, dir, "d/deleted", "1")
			mustSave(t, w)
			old, err := os.ReadFile(stateFile(dir))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, "later", "1")
			mustSave(t, w)
			write(t, dir, "edited", "an hour of work")
			write(t, dir, "new", "an hour of work")
			os.RemoveAll(filepath.Join(dir, "d"))
			w.Close() // as by a kill
			spoil(t, dir, old)

			saver, err := s.run(t, "c/1").Resume(t.Context(), dir)
			if err != nil {
				t.Fatalf("Resume: %v", err)
			}
			got, err := saver.Finish(t.Context())
			if err != nil || got.Generation != 3 {
				t.Fatalf("saved %+v, %v", got, err)
			}
			saver.Close()
			w, r := mustRestore(t, s.run(t, "c/1"), dir)
			if !r.Local || r.RecoveredFiles != 0 {
				t.Errorf("restored %+v", r)
			}
			back := t.TempDir()
			mustRestore(t, s.run(t, "c/2"), back)
			if e, n := read(t, back, "edited"), read(t, back, "new"); e != "an hour of work" || n != e {
				t.Errorf("lost: edited is %q, new is %q", e, n)
			}
			if got := read(t, back, "d/deleted"); got != "1" {
				t.Errorf("a file of the last generation that was not here is %q", got)
			}
			w.Close()
		})
	}
}

// Of the same, where the agent goes on in place of a saver.
func TestAgentThatDoubtsItsState(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := filepath.Join(t.TempDir(), "ws")
	w, _ := mustRestore(t, s.run(t, "c/1"), dir)
	write(t, dir, "edited", "1")
	write(t, dir, "deleted", "1")
	mustSave(t, w)
	write(t, dir, "edited", "2")
	os.Remove(filepath.Join(dir, "deleted"))
	w.Close()
	os.RemoveAll(filepath.Join(filepath.Dir(dir), reserved))
	_, r := mustRestore(t, s.run(t, "c/1"), dir)
	if !r.Local || !r.Doubted || r.BroughtBack != 1 || r.RecoveredFiles != 0 || read(t, dir, "edited") != "2" || read(t, dir, "deleted") != "1" {
		t.Errorf("restored %+v, edited %q", r, read(t, dir, "edited"))
	}
}

// A restore that broke off after it had set files aside has something to save.
func TestSetAsideByARestoreThatBrokeOff(t *testing.T) {
	t.Parallel()
	s := memory(t)
	one, dir := t.TempDir(), t.TempDir()
	w, _ := mustRestore(t, s.run(t, "c/1"), dir)
	write(t, dir, "f", "the loser's")
	other, _ := mustRestore(t, s.run(t, "d/1"), one)
	write(t, one, "f", "the winner's")
	write(t, one, "g", "2")
	mustSave(t, other)
	w.Close()
	broken := s.between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, sumHex("2")) {
			http.Error(w, "", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	if _, _, err := broken.run(t, "c/2").Restore(t.Context(), dir, nil); err == nil {
		t.Fatal("the restore has not broken off")
	}
	if _, err := s.run(t, "c/2").Resume(t.Context(), dir); !ide.HasCode(err, ide.WorkspaceUnsaved) || !ide.IsPermanent(err) {
		t.Errorf("Resume: %v, want WORKSPACE_UNSAVED: a file was set aside", err)
	}
	w, _ = mustRestore(t, s.run(t, "c/3"), dir)
	got := mustSave(t, w)
	if got.Recovered != 1 || got.Generation != 2 {
		t.Errorf("saved %+v, want the file that was set aside in it", got)
	}
	back := t.TempDir()
	mustRestore(t, s.run(t, "c/4"), back)
	all, err := filepath.Glob(filepath.Join(back, RecoveredDir, "*", "f"))
	if err != nil || len(all) != 1 {
		t.Fatalf("set aside: %v, %v", all, err)
	}
	if b, err := os.ReadFile(all[0]); err != nil || string(b) != "the loser's" {
		t.Errorf("lost: %q, %v", b, err)
	}
}

// What an earlier generation has is replaced, not set aside: its bytes are in the
// bucket.
func TestOldFilesAreReplaced(t *testing.T) {
	t.Parallel()
	s := memory(t)
	one, dir := t.TempDir(), t.TempDir()
	w, _ := mustRestore(t, s.run(t, "c/1"), dir)
	for _, name := range []string{"changes", "goes", "old/goes", "kept/f"} {
		write(t, dir, name, "1")
	}
	os.Symlink("kept", filepath.Join(dir, "link"))
	mustSave(t, w)
	w.Close()
	w2, _ := mustRestore(t, s.run(t, "c/2"), one)
	write(t, one, "changes", "2")
	for _, name := range []string{"goes", "old", "link"} {
		os.RemoveAll(filepath.Join(one, name))
	}
	mustSave(t, w2)
	write(t, dir, "old/mine", "never saved")
	_, r := mustRestore(t, s.run(t, "c/3"), dir)
	wantSame(t, picture(t, dir), picture(t, one))
	if r.RecoveredFiles != 1 || read(t, dir, r.Recovered+"/old/mine") != "never saved" {
		t.Errorf("restored %+v, want the one file that was never saved set aside", r)
	}
}

// An image may bring files in the workspace's folder: they are no work of a user.
func TestFilesOfTheImageGiveWay(t *testing.T) {
	t.Parallel()
	s := memory(t)
	image := func(dir string) {
		write(t, dir, "README", "as in the image")
		old := time.Now().Add(-24 * time.Hour)
		os.Chtimes(filepath.Join(dir, "README"), old, old)
	}
	one := t.TempDir()
	image(one)
	w, _ := mustRestore(t, s.run(t, "c/1"), one)
	write(t, one, "README", "edited")
	mustSave(t, w)
	two := t.TempDir()
	image(two)
	_, r := mustRestore(t, s.run(t, "c/2"), two)
	if got := read(t, two, "README"); got != "edited" || r.RecoveredFiles != 0 {
		t.Errorf("restored %q, %+v", got, r)
	}
}

// What a save leaves out is counted, and a copy of it in the bucket stays there.
func TestTakenOverBucketKeepsWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		b := s.bucket(t)
		objects := map[string]string{
			IgnoreFile: "dataset/*\n", "dataset/a": "1", "dataset/deep/b": "1", "f": "1", "g": "1", ".hidden": "1",
		}
		for key, text := range objects {
			putPlain(t, b, key, text, nil)
		}
		dir := t.TempDir()
		w, _ := mustRestore(t, b, dir)
		if got := mustSave(t, w); got.LeftOutCount != 0 || got.Ignored != 2 {
			t.Errorf("saved %+v", got)
		}
		write(t, dir, "f", "2")
		os.RemoveAll(filepath.Join(dir, "dataset"))
		os.Remove(filepath.Join(dir, "g"))
		mustSave(t, w)
		objects["f"] = "2"
		delete(objects, "g") // which generation 1 has
		wantPlain(t, b, objects)
	})
}

func TestLimitsKeepWhatIsInTheBucket(t *testing.T) {
	t.Parallel()
	s := memory(t)
	b := s.bucket(t)
	want := map[string]string{}
	for i := range 9 {
		want[fmt.Sprint("n", i)] = "0123456789"
		putPlain(t, b, fmt.Sprint("n", i), "0123456789", nil)
	}
	for name, limit := range map[string]func(*Config){
		"files": func(c *Config) { c.MaxFiles = 8 }, "bytes": func(c *Config) { c.MaxBytes = 89 }, "bytes of one": func(c *Config) { c.MaxFileBytes = 9 },
	} {
		dir := t.TempDir()
		w, _, err := s.bucket(t, limit).Restore(t.Context(), dir, nil)
		if !ide.HasCode(err, ide.ResourceLimitExceeded) || !ide.IsPermanent(err) || w != nil {
			t.Errorf("%s: %v, want RESOURCE_LIMIT_EXCEEDED", name, err)
		}
		if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
			t.Errorf("%s: %d files were written (%v)", name, len(names), err)
		}
	}
	wantPlain(t, b, want)
}

// more than this disk has, of a manifest that nobody could have written here.
func TestDiskIsLargeEnough(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	w.base["huge"] = known{Entry: Entry{Path: "huge", Kind: File, Size: 1 << 60}}
	put := newPlacing(w, &survey{}, nil)
	err := put.fits(false, false)
	if !ide.HasCode(err, ide.ResourceLimitExceeded) || !strings.Contains(err.Error(), fmt.Sprint(1<<60)) {
		t.Errorf("got %v, want RESOURCE_LIMIT_EXCEEDED with both numbers", err)
	}
}

// What a user has deleted since the last save is not to come back, and needs no
// room: a restore that leaves the files as they are, and a saver, go on.
func TestDeletedNeedsNoRoom(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.run(t, "c/1"), dir)
	write(t, dir, "f", "1")
	mustSave(t, w)
	huge := known{Entry: Entry{Path: "huge", Kind: File, Size: 1 << 60, Sum: Sum{1}}}
	if err := w.commit(t.Context(), &tree{entries: []known{w.base["f"], huge}}); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "new", "an hour of work") // huge has gone
	w.Close()
	saver, err := s.run(t, "c/1").Resume(t.Context(), dir)
	if err != nil {
		t.Fatalf("Resume: %v", err)
	}
	saver.Close()
	w, r := mustRestore(t, s.run(t, "c/1"), dir)
	if got := mustSave(t, w); !r.Local || got.Files != 2 {
		t.Errorf("restored %+v, saved %+v", r, got)
	}
}

// A workspace inside another is refused, from either side, and what is there
// already is left alone.
func TestWorkspaceInsideAnother(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		at := func(prefix string) *Bucket { return s.bucket(t, func(c *Config) { c.Prefix = prefix }) }
		save := func(b *Bucket, name string) string {
			t.Helper()
			dir := t.TempDir()
			w, _ := mustRestore(t, b, dir)
			write(t, dir, name, "1")
			mustSave(t, w)
			w.Close()
			return dir
		}
		inner := at("course/alice")
		save(inner, "work")
		putPlain(t, at(""), "course/handout", "1", nil)
		before := at("").keys(t)
		time.Sleep(1100 * time.Millisecond) // S3 tells times by the second
		for _, prefix := range []string{"course/alice/src", "course/alice/src/deep"} {
			if _, _, err := at(prefix).Restore(t.Context(), t.TempDir(), nil); !errors.Is(err, ErrNested) || !ide.IsPermanent(err) {
				t.Errorf("below: %v, want ErrNested", err)
			}
		}
		for _, prefix := range []string{"course", ""} {
			if _, _, err := at(prefix).Restore(t.Context(), t.TempDir(), nil); !errors.Is(err, ErrNested) {
				t.Errorf("above: %v, want ErrNested", err)
			}
		}
		if _, _, err := at("course/alic").Restore(t.Context(), t.TempDir(), nil); err != nil {
			t.Errorf("beside: %v", err)
		}
		after := slices.DeleteFunc(at("").keys(t), func(key string) bool { return strings.HasPrefix(key, "course/alic/") })
		if !slices.Equal(after, before) {
			t.Errorf("the bucket has %q, had %q", after, before)
		}
		dir := t.TempDir()
		if _, r := mustRestore(t, inner, dir); read(t, dir, "work") != "1" || r.Generation != 1 {
			t.Errorf("lost: restored %+v", r)
		}
	})
}

// Where a workspace is inside another all the same, such as one that was begun
// with credentials for its own folder only, neither takes the other's files.
func TestInnerWorkspaceIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := memory(t)
	outer := s.bucket(t, func(c *Config) { c.Prefix = "course" })
	one := t.TempDir()
	w, _ := mustRestore(t, outer, one)
	write(t, one, "own", "1")
	mustSave(t, w)
	w.Close()
	blind := s.between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/course/"+claimKey) {
			http.Error(w, "", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	two := t.TempDir()
	w2, _ := mustRestore(t, blind.bucket(t, func(c *Config) { c.Prefix = "course/alice" }), two)
	write(t, two, "work", "1")
	mustSave(t, w2)
	w2.Close()
	w, r := mustRestore(t, outer, t.TempDir())
	if len(r.Skipped) != 1 || r.Skipped[0].Path != "alice" || r.Files != 1 {
		t.Errorf("restored %+v", r)
	}
	write(t, w.local.dir, "alice/mine", "1")
	write(t, w.local.dir, "deep/.berth/objects/x", "1")
	write(t, w.local.dir, ".berth/claim.json", "1")
	if got := mustSave(t, w); got.Mirror.UnmirroredCount != 3 || got.Files != 4 {
		t.Errorf("saved %+v", got)
	}
	os.RemoveAll(filepath.Join(w.local.dir, "alice"))
	mustSave(t, w)
	back := t.TempDir()
	if _, r := mustRestore(t, blind.bucket(t, func(c *Config) { c.Prefix = "course/alice" }), back); read(t, back, "work") != "1" || r.Generation != 1 {
		t.Errorf("lost: restored %+v", r)
	}
	third := t.TempDir()
	mustRestore(t, outer, third)
	if read(t, third, ".berth/claim.json") != "1" || read(t, third, "deep/.berth/objects/x") != "1" {
		t.Error("lost: a user's folder of the name .berth")
	}
}

// Writes through a mapping leave no trace while the kernel has the page to write;
// the last save of a stop reads such files again.
func TestWritesThroughMemoryAreSaved(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	write(t, dir, "first", "1")
	mustSave(t, w) // the first save writes all pages to the disk
	name := filepath.Join(dir, "mapped")
	write(t, dir, "mapped", strings.Repeat("0", 4096))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	m[0] = '1'
	time.Sleep(doubt + 500*time.Millisecond)
	mustSave(t, w)
	m[0] = '2' // the page is dirty still: no time changes
	if err := errors.Join(unix.Munmap(m), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := t.TempDir()
	mustRestore(t, s.bucket(t), back)
	if got := read(t, back, "mapped"); got[0] != '2' {
		t.Errorf("lost: the file begins with %q, want 2", got[0])
	}
}

// A file may have been written once more, without a trace, within the window
// before it was looked at: by either of its times, for a program sets that of
// modification.
func TestLooksThatAreNotBelieved(t *testing.T) {
	t.Parallel()
	at := time.Now()
	ago := func(d time.Duration) int64 { return at.Add(-d).UnixNano() }
	for name, c := range map[string]struct {
		mtime, ctime time.Duration // before the look
		want         bool
	}{
		"long ago":                      {time.Hour, time.Hour, true},
		"just written":                  {time.Second, time.Second, false},
		"touch -d, cp -p":               {time.Hour, time.Second, false},
		"the clock was set back":        {-time.Hour, -time.Hour, false},
		"the time lies ahead":           {-time.Hour, time.Hour, false},
		"renamed long after it was cut": {2 * time.Hour, time.Hour, true},
	} {
		l := looks{size: 1, mtime: ago(c.mtime), ctime: ago(c.ctime), at: at.UnixNano()}
		if got := l.unchanged(l, doubt); got != c.want {
			t.Errorf("%s: believed: %v, want %v", name, got, c.want)
		}
		if l.quiet = true; !l.unchanged(l, time.Hour) {
			t.Errorf("%s: not believed though nothing could write", name)
		}
		now := l
		now.ctime++
		if l.unchanged(now, doubt) {
			t.Errorf("%s: believed after a change", name)
		}
	}
}

// Files that were restored are not read again by the first save.
func TestRestoredFilesAreNotReadAgain(t *testing.T) {
	t.Parallel()
	s := memory(t)
	one, dir := t.TempDir(), t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), one)
	write(t, one, "f", "1")
	mustSave(t, w)
	w, _ = mustRestore(t, s.bucket(t), dir)
	read := 0
	_, err := w.scan(t.Context(), func(context.Context, string, *tree) error { read++; return nil })
	if err != nil || read != 0 {
		t.Errorf("%d files are read, %v", read, err)
	}
}

// bucketRule checks the statement about the bucket (docs/architecture.md) at each
// request that deletes a plain file.
type bucketRule struct {
	t  *testing.T
	mu sync.Mutex
	b  *Bucket
	// dir is the workspace of who deletes.
	dir string
	// had are the paths of the base of the save that is under way.
	had     map[string]bool
	deleted int
}

func (r *bucketRule) check(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.b
	p := strings.TrimPrefix(key, b.prefix)
	if strings.HasPrefix(p, reserved+"/") {
		return
	}
	r.deleted++
	if !r.had[p] {
		r.t.Errorf("lost: %q was deleted, and was not in the base of the save", p)
	}
	if _, err := os.Lstat(filepath.Join(r.dir, p)); err == nil {
		r.t.Errorf("lost: %q was deleted, and is on the disk", p)
	}
	data, found, err := b.get(r.t.Context(), key, 1<<20)
	if err != nil || !found {
		return // it was gone already
	}
	if _, found, err := b.stat(r.t.Context(), b.key(objectsDir+sumHex(string(data)))); err != nil || !found {
		r.t.Errorf("lost: %q was deleted, and no generation has its bytes (%v)", p, err)
	}
}

// TestBucketRule changes a workspace, its rules and the bucket beside it at
// random, and checks at each deletion that it was allowed, and after each save
// that nothing else has gone from the bucket.
func TestBucketRule(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	rng := rand.New(rand.NewPCG(seed, 3))
	direct := memory(t)
	rule := &bucketRule{t: t, b: direct.bucket(t)}
	s := direct.between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodDelete {
			rule.check(strings.TrimPrefix(r.URL.Path, "/bucket/"))
		}
		next.ServeHTTP(w, r)
	})
	names := []string{"a", "b", "d/a", "d/b", "d/e/a", "big", "x.log", "cache/x", "cache/y/z", ".hidden", "closed"}
	pick := func() string { return names[rng.IntN(len(names))] }
	text := func() string { return fmt.Sprint("text ", rng.Uint64()) }
	put := func(p, text string) {
		os.RemoveAll(p) // a write to a pipe would wait
		os.MkdirAll(filepath.Dir(p), 0o755)
		os.WriteFile(p, []byte(text), 0o644)
	}
	limits := func(c *Config) {
		c.KeepGenerations, c.KeepFor = 3, 1
		c.MaxFileBytes = 100
	}
	b := s.bucket(t, limits)
	for _, name := range names {
		putPlain(t, b, name, text(), nil)
	}
	dir := t.TempDir()
	w, _ := mustRestore(t, b, dir)
	for range 150 {
		switch p := filepath.Join(dir, pick()); rng.IntN(9) {
		case 0, 1:
			put(p, text())
		case 2:
			put(p, strings.Repeat("x", 101)) // over the limit
		case 3, 4:
			os.RemoveAll(p)
		case 5:
			os.RemoveAll(filepath.Dir(p))
			os.MkdirAll(dir, 0o755)
		case 6:
			rules := []string{"", "*.log\n", "cache/\n", "d/e\n*.log\n", "big\n"}
			os.WriteFile(filepath.Join(dir, IgnoreFile), []byte(rules[rng.IntN(len(rules))]), 0o644)
		case 7:
			putPlain(t, b, pick(), text(), nil) // another program
		case 8:
			os.RemoveAll(p)
			syscall.Mkfifo(p, 0o600)
		}
		if rng.IntN(3) > 0 {
			continue
		}
		before := plainFiles(t, b)
		rule.mu.Lock()
		rule.dir, rule.had = dir, map[string]bool{}
		for p := range w.base {
			rule.had[p] = true
		}
		for p := range w.header.Gone { // decided by an earlier save
			rule.had[p] = true
		}
		rule.mu.Unlock()
		mustSave(t, w)
		after := plainFiles(t, b)
		for _, p := range slices.Sorted(maps.Keys(before)) {
			_, err := os.Lstat(filepath.Join(dir, p))
			if _, there := after[p]; !there && (err == nil || !rule.had[p]) {
				t.Fatalf("lost: %q has gone from the bucket (on the disk: %v)", p, err == nil)
			}
		}
		if rng.IntN(6) == 0 { // another run
			w.Close()
			dir = t.TempDir()
			w, _ = mustRestore(t, s.bucket(t, limits), dir)
		}
	}
	if rule.deleted == 0 {
		t.Error("nothing was deleted: the test tests nothing")
	}
}
