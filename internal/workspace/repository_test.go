package workspace

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// git gc writes a pack and a file of refs, and then removes what went into
// them. A scan that meets it in the middle has one or the other.
func TestScanWhileGitPacks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, _ := mustRestore(t, memory(t).bucket(t), dir)
	const git, old = "repo/.git/", "repo/.git/objects/pack/pack-old.pack"
	write(t, dir, git+"HEAD", "ref: refs/heads/main")
	write(t, dir, git+"refs/heads/main", "1")
	write(t, dir, old, "objects")
	packs := 0
	replace := func(gone, by string) {
		write(t, dir, by, "the same, packed")
		os.Remove(filepath.Join(dir, gone))
	}
	tree, err := w.scan(t.Context(), func(ctx context.Context, p string, tree *tree) error {
		switch filepath.Base(p) {
		case "main":
			replace(p, git+"packed-refs")
		case "pack-old.pack":
			packs++
			replace(p, git+"objects/pack/pack-new.pack")
		}
		return w.storeFile(ctx, p, tree)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{git + "packed-refs", git + "objects/pack/pack-new.pack"} {
		if !slices.ContainsFunc(tree.entries, func(k known) bool { return k.Path == want }) {
			t.Errorf("%s is not in the scan: what it took the place of is lost", want)
		}
	}
	if packs != 1 {
		t.Errorf("the old pack was read %d times: the test tests nothing", packs)
	}
}
