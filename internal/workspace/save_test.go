package workspace

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

var listAll = minio.ListObjectsOptions{Recursive: true}

// oddTree makes one of everything.
func oddTree(t testing.TB, dir string) {
	t.Helper()
	for name, text := range map[string]string{
		"plain.txt": "hello", "empty": "", "dir/a b.txt": "spaces", "dir/ü/日本.md": "unicode",
		"new\nline": "x", "bad\xffname": "not utf-8", strings.Repeat("n", 255): "long", "same1": "same", "same2": "same",
		"quote\"'<&>\\": "q", "-dash": "d", "a": "sorts", "a-b": "before", "ctrl\x01": "c",
		"deep/" + strings.Repeat(strings.Repeat("d", 200)+"/", 6) + "f": "key too long",
	} {
		write(t, dir, name, text)
	}
	write(t, dir, "big", strings.Repeat("0123456789abcdef", 700_000)) // three parts
	write(t, dir, "middle", strings.Repeat("m", 300_000))
	for name, mode := range map[string]os.FileMode{"plain.txt": 0o600, "same2": 0o755 | os.ModeSetgid, "empty": 0o444, "dir": 0o750} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"hollow/inner", "closed"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": "plain.txt", "dangling": "../../nowhere", "dirlink": "dir", "abs": "/etc/passwd", "oddlink": "x\xff\ny"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "closed"), 0o555); err != nil {
		t.Fatal(err)
	}
	old := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "plain.txt"), old, old); err != nil {
		t.Fatal(err)
	}
}

func eachServer(t *testing.T, f func(t *testing.T, s server)) {
	t.Run("memory", func(t *testing.T) { t.Parallel(); f(t, memory(t)) })
	t.Run("versitygw", func(t *testing.T) {
		if testing.Short() {
			t.Skip("-short: with the store in this process only")
		}
		t.Parallel()
		f(t, versity(t))
	})
}

func TestSavedTreeComesBack(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		b := s.bucket(t)
		one := t.TempDir()
		w, r := mustRestore(t, b, one)
		if r.Generation != 0 || r.Files != 0 {
			t.Fatalf("restore of an empty bucket: %+v", r)
		}
		oddTree(t, one)
		if err := syscall.Mkfifo(filepath.Join(one, "pipe"), 0o600); err != nil {
			t.Fatal(err)
		}
		saved := mustSave(t, w)
		if saved.Generation != 1 || !saved.Changed || saved.Files != 17 {
			t.Errorf("first save: %+v", saved)
		}
		if saved.SpecialCount != 1 || saved.Special[0].Path != "pipe" {
			t.Errorf("skipped %+v, want the pipe", saved.Special)
		}
		if len(saved.Mirror.Unmirrored) != 3 || saved.Mirror.Copied != 14 {
			t.Errorf("mirror: %+v", saved.Mirror)
		}
		os.Remove(filepath.Join(one, "pipe"))
		want := picture(t, one)

		two := t.TempDir()
		w2, r2 := mustRestore(t, s.bucket(t), two)
		wantSame(t, picture(t, two), want)
		if r2.Generation != 1 || r2.Files != 17 || len(r2.Outside) != 0 || len(r2.Skipped) != 0 {
			t.Errorf("restored: %+v", r2)
		}
		again := mustSave(t, w2)
		if again.Changed || again.Generation != 1 || again.Sent != 0 || again.Mirror.Copied != 0 || again.Mirror.Removed != 0 {
			t.Errorf("save after restore is not a no-op: %+v", again)
		}
	})
}

// A folder that is moved in the middle of a save, or another put in its place, is
// no deletion of what the save does not find any more.
func TestFolderMovedInTheMiddleOfASave(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func(dir string){
		"away":     func(string) {},
		"replaced": func(dir string) { os.Mkdir(dir, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var move func()
			var once sync.Once
			s := memory(t).between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/objects/") && move != nil {
					once.Do(move)
				}
				next.ServeHTTP(w, r)
			})
			dir := filepath.Join(t.TempDir(), "ws")
			w, _ := mustRestore(t, s.bucket(t), dir)
			write(t, dir, "z/kept", "1")
			mustSave(t, w)
			for i := range 100 {
				write(t, dir, fmt.Sprint("new/", i), strings.Repeat("x", i))
			}
			move = func() {
				os.Rename(dir, dir+".moved")
				after(dir)
			}
			got, err := w.Save(t.Context())
			if name == "away" && !errors.Is(err, errMovedAway) {
				t.Errorf("saved %+v, %v; want that the folder was moved", got, err)
			}
			if name == "replaced" && (err != nil || got.Files != 0) {
				t.Errorf("saved %+v, %v; want the folder that is there", got, err)
			}
			if _, kept := plainFiles(t, w.b)["z/kept"]; kept != (name == "away") {
				t.Errorf("the plain file is there: %v", kept)
			}
		})
	}
}
