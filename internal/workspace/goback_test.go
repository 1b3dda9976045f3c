package workspace

import (
	"os"
	"path/filepath"
	"testing"

	"berth/internal/ide"
)

func TestGoBackAndForth(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		b, dir := s.bucket(t), t.TempDir()
		w, _ := mustRestore(t, b, dir)
		oddTree(t, dir)
		mustSave(t, w)
		first := picture(t, dir)
		write(t, dir, "plain.txt", "later")
		write(t, dir, "new", "later")
		os.RemoveAll(filepath.Join(dir, "dir"))
		mustSave(t, w)
		second := picture(t, dir)
		w.Close()

		back := func(to, want int64, tree map[string]string) {
			t.Helper()
			if n, err := s.bucket(t).GoBack(t.Context(), to); n != want || err != nil {
				t.Fatalf("back to %d: generation %d, %v; want %d", to, n, err, want)
			}
			at := t.TempDir()
			w, r := mustRestore(t, b, at)
			if len(r.Outside)+len(r.Overruled) > 0 || r.Generation != want {
				t.Errorf("restored %+v: our own plain files are taken for others'", r)
			}
			wantSame(t, picture(t, at), tree)
			if got := mustSave(t, w); got.Changed {
				t.Errorf("saved %+v, want nothing new", got)
			}
			w.Close()
		}
		back(1, 3, first)
		back(3, 3, first) // again: nothing to do
		if text, found, err := b.get(t.Context(), b.key("plain.txt"), 100); string(text) != "hello" || !found || err != nil {
			t.Errorf("the plain file after the first save: %q, %v, %v", text, found, err)
		}
		if _, found, err := b.get(t.Context(), b.key("new"), 100); found || err != nil {
			t.Errorf("the plain file of what is not there any more: %v, %v", found, err)
		}
		back(2, 4, second)

		// What another program writes after the last save still wins.
		if _, err := b.put(t.Context(), b.key("new"), []byte("theirs")); err != nil {
			t.Fatal(err)
		}
		if _, err := b.GoBack(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		at := t.TempDir()
		if _, r := mustRestore(t, b, at); len(r.Outside) != 1 || read(t, at, "new") != "theirs" || read(t, at, "plain.txt") != "hello" {
			t.Errorf("restored %+v", r)
		}
		for _, n := range []int64{-1, 0, 99} {
			if _, err := b.GoBack(t.Context(), n); !ide.HasCode(err, ide.NotFound) || !ide.IsPermanent(err) {
				t.Errorf("back to generation %d: %v", n, err)
			}
		}
	})
}

// What cannot be restored must not become the newest.
func TestGoBackToADamagedGeneration(t *testing.T) {
	t.Parallel()
	b, dir := memory(t).bucket(t), t.TempDir()
	w, _ := mustRestore(t, b, dir)
	write(t, dir, "f", "1")
	mustSave(t, w)
	write(t, dir, "f", "22")
	mustSave(t, w)
	if err := b.remove(t.Context(), b.key(objectsDir+sumHex("1"))); err != nil {
		t.Fatal(err)
	}
	if _, err := b.GoBack(t.Context(), 1); !ide.HasCode(err, ide.InvalidS3Bucket) {
		t.Errorf("back to a damaged generation: %v", err)
	}
	if n, err := b.newest(t.Context()); n != 2 || err != nil {
		t.Errorf("newest is %d, %v; want 2 still", n, err)
	}
}
