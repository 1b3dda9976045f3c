package workspace

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"berth/internal/ide"
)

func TestSecondWriterIsToldAndStops(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		a, b := t.TempDir(), t.TempDir()
		wa, _ := mustRestore(t, s.bucket(t), a)
		write(t, a, "f", "first")
		mustSave(t, wa)
		wb, _ := mustRestore(t, s.bucket(t), b)
		write(t, b, "f", "b's")
		write(t, b, "only-b", "b's")
		write(t, a, "f", "a's")
		if got := mustSave(t, wa); got.Generation != 2 {
			t.Fatalf("generation %d, want 2", got.Generation)
		}
		for range 2 {
			_, err := wb.Save(t.Context())
			if !errors.Is(err, ErrTaken) || !ide.IsPermanent(err) || !ide.HasCode(err, ide.Conflict) {
				t.Fatalf("second writer: %v, want ErrTaken, permanent", err)
			}
		}
		if got := read(t, b, "only-b"); got != "b's" {
			t.Errorf("the loser's file: %q", got)
		}
		c := t.TempDir()
		_, r := mustRestore(t, s.bucket(t), c)
		if got := read(t, c, "f"); got != "a's" || r.Generation != 2 || len(r.Outside) != 0 {
			t.Errorf("restored %q of %+v, want the winner's", got, r)
		}
		// Started again on its own disk, the loser gets the winner's files and
		// keeps its own beside them.
		wb.Close()
		_, r = mustRestore(t, s.bucket(t), b)
		if got := read(t, b, "f"); got != "a's" || r.Local || r.RecoveredFiles != 2 {
			t.Errorf("restored %q, %+v", got, r)
		}
		if got := read(t, filepath.Join(b, r.Recovered), "only-b"); got != "b's" {
			t.Errorf("kept %q", got)
		}
	})
}

func TestOneOfManyWritersWins(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		for round := range 5 {
			const n = 6
			var ws [n]*Workspace
			for i := range ws {
				dir := t.TempDir()
				ws[i], _ = mustRestore(t, s.bucket(t), dir)
				write(t, dir, "who", strings.Repeat("x", 1+i+round*n))
			}
			var won atomic.Int32
			var winner atomic.Pointer[Workspace]
			var wg sync.WaitGroup
			for _, w := range ws {
				wg.Go(func() {
					_, err := w.Save(t.Context())
					switch {
					case err == nil:
						won.Add(1)
						winner.Store(w)
					case !errors.Is(err, ErrTaken):
						t.Errorf("save: %v", err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Fatalf("round %d: %d writers were told that they have saved", round, won.Load())
			}
			back := t.TempDir()
			_, r := mustRestore(t, s.bucket(t), back)
			wantSame(t, picture(t, back), picture(t, winner.Load().local.dir))
			if r.Generation != int64(round+1) {
				t.Errorf("generation %d, want %d", r.Generation, round+1)
			}
		}
	})
}

// between puts a handler between clients and a server.
func (s server) between(t testing.TB, handle func(w http.ResponseWriter, r *http.Request, next http.Handler)) server {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	// The Host header stays: it is signed.
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = u.Scheme, u.Host }, ErrorLog: quiet}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, proxy) }))
	t.Cleanup(front.Close)
	return server{front.URL, s.keys}
}

func isManifestPut(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.Contains(r.URL.Path, manifestsDir)
}

func TestLostAnswerToACommit(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		var lose atomic.Int32
		s = s.between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if isManifestPut(r) && lose.Add(-1) >= 0 {
				next.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
		dir := t.TempDir()
		w, _ := mustRestore(t, s.bucket(t), dir)
		write(t, dir, "f", "1")
		lose.Store(1) // the client tries again, and is refused by its own first try
		if got := mustSave(t, w); got.Generation != 1 || !got.Changed {
			t.Errorf("saved %+v", got)
		}
		write(t, dir, "f", "two")
		lose.Store(1000) // it gives up, not knowing
		if _, err := w.Save(t.Context()); err == nil || ide.IsPermanent(err) {
			// The second try is refused by the first, which tells it all.
			if err != nil {
				t.Fatalf("save: %v", err)
			}
		}
		lose.Store(0)
		write(t, dir, "f", "three")
		got := mustSave(t, w)
		back := t.TempDir()
		mustRestore(t, s.bucket(t), back)
		wantSame(t, picture(t, back), picture(t, dir))
		if got.Generation < 2 || got.Generation > 3 {
			t.Errorf("generation %d", got.Generation)
		}
	})
}

func TestCrashAfterACommitOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	s := memory(t)
	var lose atomic.Bool
	lossy := s.between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if lose.Load() {
			if isManifestPut(r) {
				next.ServeHTTP(httptest.NewRecorder(), r)
			}
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
	dir := t.TempDir()
	b := lossy.bucket(t)
	w, _ := mustRestore(t, b, dir)
	write(t, dir, "f", "1")
	mustSave(t, w)
	write(t, dir, "f", "22")
	// All is uploaded, then the line goes.
	w.uploads.begin()
	tree, err := w.scan(t.Context(), w.storeFile)
	if err != nil {
		t.Fatal(err)
	}
	lose.Store(true)
	if err := w.commit(t.Context(), tree); err == nil {
		t.Fatal("commit succeeded without an answer")
	}
	lose.Store(false)
	w.Close()
	write(t, dir, "f", "333") // after the commit, before the crash
	w, r := mustRestore(t, b, dir)
	if !r.Local || r.Generation != 2 {
		t.Fatalf("restored %+v, want the local files over generation 2, which is ours", r)
	}
	if got := mustSave(t, w); got.Generation != 3 || read(t, dir, "f") != "333" {
		t.Errorf("saved %+v", got)
	}
}

// A writer that slept until its generation, and the next, were collected finds
// the next number free. It must not believe that it has saved.
func TestWriterFromLongAgoIsRefused(t *testing.T) {
	t.Parallel()
	s := memory(t)
	short := func(c *Config) { c.KeepGenerations, c.KeepFor = 1, 1 }
	dir, old := t.TempDir(), t.TempDir()
	w, _ := mustRestore(t, s.bucket(t, short), dir)
	sleeper0, _ := mustRestore(t, s.bucket(t), t.TempDir())
	write(t, dir, "f", "1")
	mustSave(t, w)
	sleeper, _ := mustRestore(t, s.bucket(t), old)
	n := 1
	waitFor(t, "generations 1 and 2 to be collected", func() bool {
		n++
		write(t, dir, "f", strings.Repeat("x", n))
		mustSave(t, w)
		all, err := w.b.generations(t.Context())
		return err == nil && all[0].number > 2
	})
	for _, x := range []*Workspace{sleeper0, sleeper} {
		write(t, x.local.dir, "f", "from long ago")
		if _, err := x.Save(t.Context()); !errors.Is(err, ErrTaken) {
			t.Errorf("save from generation %d: %v, want ErrTaken", x.Generation(), err)
		}
	}
	all, err := w.b.generations(t.Context())
	if err != nil || all[0].number <= 2 {
		t.Errorf("generations %v (%v), want nothing left of the sleepers'", all, err)
	}
}

func TestDirectoryIsNotSharedNorSwapped(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := filepath.Join(t.TempDir(), "ws")
	w, _ := mustRestore(t, s.bucket(t), dir)
	if _, _, err := s.bucket(t).Restore(t.Context(), dir, nil); !errors.Is(err, ErrInUse) || ide.IsPermanent(err) {
		t.Errorf("second restore into one directory: %v, want ErrInUse", err)
	}
	write(t, dir, "f", "1")
	mustSave(t, w)
	// A user may remove everything, Berth's folder with it.
	if err := os.RemoveAll(filepath.Join(filepath.Dir(dir), reserved)); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "g", "2")
	if got := mustSave(t, w); got.Generation != 2 || got.Files != 2 {
		t.Errorf("saved %+v", got)
	}
	// Without the directory nothing is saved: it may have been moved.
	if err := os.Rename(dir, dir+"-old"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Save(t.Context()); !ide.HasCode(err, ide.WorkspaceUnsaved) {
		t.Errorf("save without the directory: %v, want WORKSPACE_UNSAVED", err)
	}
	if _, err := s.bucket(t).Resume(t.Context(), dir); !ide.HasCode(err, ide.WorkspaceUnsaved) {
		t.Errorf("resumed without the directory: %v, want WORKSPACE_UNSAVED", err)
	}
	// Another directory in its place is the workspace from then on.
	write(t, dir, "h", "3")
	if got := mustSave(t, w); got.Generation != 3 || got.Files != 1 {
		t.Errorf("saved %+v", got)
	}
}
