package workspace

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
)

// putPlain writes a plain file as another program does.
func putPlain(t testing.TB, b *Bucket, key, text string, meta map[string]string) {
	t.Helper()
	_, err := b.s3.Client.PutObject(t.Context(), b.cfg.Bucket, b.prefix+key, strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{UserMetadata: meta})
	if err != nil {
		t.Fatal(err)
	}
}

// plainFiles returns the plain files and their contents.
func plainFiles(t testing.TB, b *Bucket) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, key := range b.keys(t) {
		if strings.HasPrefix(key, reserved+"/") {
			continue
		}
		data, found, err := b.get(t.Context(), b.key(key), 1<<20)
		if err != nil || !found {
			t.Fatal(key, err)
		}
		m[key] = string(data)
	}
	return m
}

func wantPlain(t testing.TB, b *Bucket, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, plainFiles(t, b)); diff != "" {
		t.Errorf("plain files (-want +got):\n%s", diff)
	}
}

func TestPlainFilesFollow(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		dir := t.TempDir()
		b := s.bucket(t)
		w, _ := mustRestore(t, b, dir)
		write(t, dir, "a", "1")
		write(t, dir, "d/b", "1")
		write(t, dir, "d/c", "3")
		mustSave(t, w)
		wantPlain(t, b, map[string]string{"a": "1", "d/b": "1", "d/c": "3"})
		os.RemoveAll(filepath.Join(dir, "d"))
		write(t, dir, "d", "a file now")
		os.Remove(filepath.Join(dir, "a"))
		write(t, dir, "a/x", "a directory now")
		if got := mustSave(t, w); got.Mirror.Copied != 2 || got.Mirror.Removed != 3 {
			t.Errorf("mirrored %+v", got.Mirror)
		}
		wantPlain(t, b, map[string]string{"d": "a file now", "a/x": "a directory now"})
		back := t.TempDir()
		_, r := mustRestore(t, b, back)
		wantSame(t, picture(t, back), picture(t, dir))
		if len(r.Outside)+len(r.Overruled)+len(r.Skipped) != 0 {
			t.Errorf("restored %+v", r)
		}
	})
}

func TestBucketOfOthersIsImported(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		b := s.bucket(t)
		putPlain(t, b, "readme", "hello", map[string]string{"mtime": "981173106.25"})
		putPlain(t, b, "src/ä b/main.go", "package main", nil)
		putPlain(t, b, "empty", "", nil)
		dir := t.TempDir()
		var last Progress
		w, r, err := b.Restore(t.Context(), dir, func(p Progress) { last = p })
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if r.Files != 3 || len(r.Outside) != 0 || r.Generation != 0 || last.Files != 3 || last.Bytes != 17 || last.TotalBytes != 17 {
			t.Errorf("imported %+v, progress %+v", r, last)
		}
		if got := read(t, dir, "src/ä b/main.go"); got != "package main" {
			t.Errorf("got %q", got)
		}
		info, err := os.Stat(filepath.Join(dir, "readme"))
		if err != nil || !info.ModTime().Equal(time.Unix(981173106, 250e6)) {
			t.Errorf("time %v, %v; want rclone's", info.ModTime(), err)
		}
		before := plainFiles(t, b)
		if got := mustSave(t, w); got.Mirror.Copied != 0 || got.Mirror.Removed != 0 || got.Files != 3 {
			t.Errorf("first save touches plain files: %+v", got.Mirror)
		}
		wantPlain(t, b, before)
	})
}

func TestUnusableKeysAreReported(t *testing.T) {
	t.Parallel()
	s := memory(t)
	b := s.bucket(t)
	for _, key := range []string{"../up", "a//b", "ok", "ok/below", strings.Repeat("n", 256), "./dot", "folder/"} {
		u := s.url + "/bucket/" + b.prefix + key
		r, err := http.NewRequest(http.MethodPut, u, bytes.NewReader([]byte("x")))
		if err != nil {
			t.Fatal(err)
		}
		if key == "folder/" {
			r.Body = http.NoBody
			r.ContentLength = 0
		}
		r.URL.Opaque = "/bucket/" + b.prefix + key // as it is
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	dir := t.TempDir()
	_, r := mustRestore(t, b, dir)
	var got []string
	for _, n := range r.Skipped {
		got = append(got, n.Path)
	}
	slices.Sort(got)
	want := []string{"../up", "./dot", "a//b", strings.Repeat("n", 256), "ok/below"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if read(t, dir, "ok") != "x" {
		t.Error("the good file is missing")
	}
	if info, err := os.Stat(filepath.Join(dir, "folder")); err != nil || !info.IsDir() {
		t.Errorf("folder: %v", err)
	}
}

func TestOutsideEditWinsAtRestore(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		dir := t.TempDir()
		b := s.bucket(t)
		w, _ := mustRestore(t, b, dir)
		for _, name := range []string{"same", "edited", "deleted", "both", "d/x"} {
			write(t, dir, name, "ours")
		}
		os.Chmod(filepath.Join(dir, "edited"), 0o700)
		mustSave(t, w)
		putPlain(t, b, "edited", "theirs", nil)
		putPlain(t, b, "both", "theirs", nil)
		putPlain(t, b, "d/new/file", "theirs", nil)
		if err := b.remove(t.Context(), b.key("deleted")); err != nil {
			t.Fatal(err)
		}
		// While we live, their edit is not overwritten, and it is said.
		write(t, dir, "both", "ours again")
		got := mustSave(t, w)
		if diff := cmp.Diff([]string{"both"}, got.Mirror.Conflicts); diff != "" {
			t.Errorf("conflicts (-want +got):\n%s", diff)
		}
		if again := mustSave(t, w); len(again.Mirror.Conflicts) != 0 {
			t.Errorf("said twice: %+v", again.Mirror)
		}
		w.Close()

		back := t.TempDir()
		w2, r := mustRestore(t, b, back)
		slices.Sort(r.Outside)
		if diff := cmp.Diff([]string{"both", "d/new/file", "edited"}, r.Outside); diff != "" {
			t.Errorf("outside (-want +got):\n%s", diff)
		}
		for name, want := range map[string]string{"same": "ours", "edited": "theirs", "both": "theirs", "d/new/file": "theirs", "deleted": "ours"} {
			if got := read(t, back, name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if info, _ := os.Stat(filepath.Join(back, "edited")); info.Mode().Perm() != 0o700 {
			t.Errorf("mode %v of an edited file, want ours", info.Mode())
		}
		if got := mustSave(t, w2); got.Generation != 3 || got.Mirror.Copied != 1 {
			t.Errorf("saved %+v; want the deleted plain file back", got)
		}
		third := t.TempDir()
		_, r = mustRestore(t, b, third)
		wantSame(t, picture(t, third), picture(t, back))
		if len(r.Outside) != 0 {
			t.Errorf("outside %v once more", r.Outside)
		}
	})
}

func TestOutsideEditAndLocalChange(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	b := s.bucket(t)
	w, _ := mustRestore(t, b, dir)
	for _, name := range []string{"untouched", "changed", "removed"} {
		write(t, dir, name, "ours")
	}
	mustSave(t, w)
	w.Close()
	for _, name := range []string{"untouched", "changed", "removed", "new"} {
		putPlain(t, b, name, "theirs", nil)
	}
	write(t, dir, "changed", "unsaved")
	os.Remove(filepath.Join(dir, "removed"))
	w, r := mustRestore(t, b, dir)
	slices.Sort(r.Outside)
	slices.Sort(r.Overruled)
	if diff := cmp.Diff([][]string{{"new", "untouched"}, {"changed", "removed"}}, [][]string{r.Outside, r.Overruled}); diff != "" || !r.Local {
		t.Errorf("outside and overruled (-want +got):\n%s", diff)
	}
	if got := mustSave(t, w); len(got.Mirror.Conflicts) != 0 {
		t.Errorf("saved %+v", got)
	}
	// What was overruled is not lost: it is an ordinary file beside the others.
	wantPlain(t, b, map[string]string{"untouched": "theirs", "changed": "unsaved", "new": "theirs",
		r.Recovered + "/changed": "theirs", r.Recovered + "/removed": "theirs"})
}

// The plain files lag behind the manifest when a save dies between the two;
// what is old is not taken for an outside edit.
func TestMirrorThatBrokeOffIsFinished(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		fail func(r *http.Request) bool
	}{
		{"before the journal", func(r *http.Request) bool { return strings.Contains(r.URL.Path, journalDir) }},
		{"before the copies", func(r *http.Request) bool { return r.Header.Get("X-Amz-Copy-Source") != "" }},
		{"before the removals", func(r *http.Request) bool {
			return r.Method == http.MethodDelete && !strings.Contains(r.URL.Path, reserved)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			direct := memory(t)
			var failing atomic.Bool
			s := direct.between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if failing.Load() && c.fail(r) {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				next.ServeHTTP(w, r)
			})
			dir := t.TempDir()
			w, _ := mustRestore(t, s.bucket(t), dir)
			write(t, dir, "gone", "1")
			write(t, dir, "changed", "1")
			mustSave(t, w)
			os.Remove(filepath.Join(dir, "gone"))
			write(t, dir, "changed", "22")
			write(t, dir, "added", "1")
			failing.Store(true)
			got, err := w.Save(t.Context())
			if err != nil || got.Trouble == nil || got.Generation != 2 {
				t.Fatalf("saved %+v, %v; want generation 2 with trouble", got, err)
			}
			w.Close()
			want := picture(t, dir)
			b := direct.bucket(t)
			back := t.TempDir()
			w, r := mustRestore(t, b, back)
			wantSame(t, picture(t, back), want)
			if len(r.Outside) != 0 {
				t.Errorf("outside %v, want none", r.Outside)
			}
			if got := mustSave(t, w); got.Changed {
				t.Errorf("saved %+v, want only the mirror finished", got)
			}
			wantPlain(t, b, map[string]string{"changed": "22", "added": "1"})
		})
	}
}

// A request that was given up may be carried out when all is done: also after
// a second attempt, which has less to do, the journal knows of the first.
func TestLateCopyIsKnownAsOurs(t *testing.T) {
	t.Parallel()
	direct := memory(t)
	var failing atomic.Bool
	s := direct.between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if failing.Load() && r.Header.Get("X-Amz-Copy-Source") != "" && strings.HasSuffix(r.URL.Path, "/fails") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	dir := t.TempDir()
	b := s.bucket(t)
	w, _ := mustRestore(t, b, dir)
	twice := func() {
		t.Helper()
		failing.Store(true)
		if got, err := w.Save(t.Context()); err != nil || got.Trouble == nil {
			t.Fatalf("saved %+v, %v; want trouble", got, err)
		}
		failing.Store(false)
		mustSave(t, w)
	}
	write(t, dir, "late", "1")
	write(t, dir, "fails", "1")
	twice()
	os.Remove(filepath.Join(dir, "late"))
	write(t, dir, "fails", "22")
	twice()
	write(t, dir, "more", "1")
	mustSave(t, w)
	w.Close()
	putPlain(t, b, "late", "1", nil) // as the first copy was
	w, r := mustRestore(t, b, t.TempDir())
	if len(r.Outside) != 0 {
		t.Errorf("outside %v, want none", r.Outside)
	}
	mustSave(t, w)
	wantPlain(t, b, map[string]string{"fails": "22", "more": "1"})
}

func TestMirrorOffAndOnAgain(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	on, off := s.bucket(t), s.bucket(t, func(c *Config) { c.NoMirror = true })
	w, _ := mustRestore(t, on, dir)
	write(t, dir, "changed", "1")
	write(t, dir, "gone", "1")
	write(t, dir, "same", "1")
	mustSave(t, w)
	w.Close()
	w, _ = mustRestore(t, off, dir)
	write(t, dir, "changed", "2")
	write(t, dir, "new", "2")
	os.Remove(filepath.Join(dir, "gone"))
	mustSave(t, w)
	write(t, dir, "changed", "3")
	mustSave(t, w)
	wantPlain(t, on, map[string]string{"changed": "1", "gone": "1", "same": "1"})
	w.Close()
	back := t.TempDir()
	w, r := mustRestore(t, on, back)
	wantSame(t, picture(t, back), picture(t, dir))
	if len(r.Outside) != 0 {
		t.Errorf("outside %v, want none", r.Outside)
	}
	mustSave(t, w)
	wantPlain(t, on, map[string]string{"changed": "3", "new": "2", "same": "1"})
}

// Who puts the bytes of an earlier plain file back, long after a save has changed
// or deleted it, has made an edit like any other: nothing of it is taken for a late
// copy of ours.
func TestEarlierBytesPutBack(t *testing.T) {
	t.Parallel()
	s := memory(t)
	b := s.bucket(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, b, dir)
	for _, name := range []string{"changed", "deleted", "same"} {
		write(t, dir, name, "1")
	}
	mustSave(t, w)
	write(t, dir, "changed", "22")
	os.Remove(filepath.Join(dir, "deleted"))
	mustSave(t, w)
	w.Close()
	for _, name := range []string{"changed", "deleted", "same"} {
		putPlain(t, b, name, "1", nil)
	}
	b.lateness = -time.Hour // as if an hour had passed
	w, r := mustRestore(t, b, t.TempDir())
	if !slices.Equal(slices.Sorted(slices.Values(r.Outside)), []string{"changed", "deleted"}) {
		t.Errorf("outside %v, want what was put back", r.Outside)
	}
	mustSave(t, w)
	wantPlain(t, b, map[string]string{"changed": "1", "deleted": "1", "same": "1"})
}

// What another program writes while many plain files are copied or deleted is left
// alone, though it was not there when they were listed.
func TestOutsideEditDuringAMirror(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			direct := memory(t)
			var active atomic.Bool
			var mu sync.Mutex
			begun := map[string]bool{}
			edited := make(chan struct{})
			s := direct.between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if active.Load() && r.Method == method && !strings.Contains(r.URL.Path, reserved) {
					mu.Lock()
					begun[strings.TrimPrefix(r.URL.Path, "/bucket/ws/")] = true
					mu.Unlock()
					<-edited
				}
				next.ServeHTTP(w, r)
			})
			dir := t.TempDir()
			w, _ := mustRestore(t, s.bucket(t), dir)
			fill := func(text string) {
				for i := range 100 {
					write(t, dir, fmt.Sprint("f", i), text)
				}
			}
			fill("1")
			mustSave(t, w)
			if fill("22"); method == http.MethodDelete {
				for i := range 100 {
					os.Remove(filepath.Join(dir, fmt.Sprint("f", i)))
				}
			}
			active.Store(true)
			theirs := make(chan string, 1)
			go func() {
				defer close(edited)
				waitFor(t, "the plain files to be worked on", func() bool {
					mu.Lock()
					defer mu.Unlock()
					return len(begun) > 0
				})
				time.Sleep(fenceEvery + 100*time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				for i := range 100 {
					if name := fmt.Sprint("f", i); !begun[name] {
						putPlain(t, direct.bucket(t), name, "theirs", nil)
						theirs <- name
						return
					}
				}
			}()
			got := mustSave(t, w)
			name := <-theirs
			if text := plainFiles(t, w.b)[name]; text != "theirs" || !slices.Equal(got.Mirror.Conflicts, []string{name}) {
				t.Errorf("lost: %s is %q; conflicts %v", name, text, got.Mirror.Conflicts)
			}
		})
	}
}
