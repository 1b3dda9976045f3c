package workspace

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// garden changes a tree at random.
type garden struct {
	t   testing.TB
	dir string
	rng *rand.Rand
	git bool
}

var syllables = []string{"a", "b", "file", " ", "  x", "ü", "日本", "\n", "'", "\"", "\\", "*", "-", "#", "%2F", "+", "&", "\xff", "\x01", "😀", ".txt", "~"}

func (g *garden) name() string {
	if g.rng.IntN(40) == 0 {
		return strings.Repeat(string(rune('a'+g.rng.IntN(26))), 255)
	}
	var b strings.Builder
	for range 1 + g.rng.IntN(4) {
		b.WriteString(syllables[g.rng.IntN(len(syllables))])
	}
	return b.String()
}

// somewhere returns a directory of the tree.
func (g *garden) somewhere() string {
	dirs := []string{"."}
	filepath.WalkDir(g.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		rel, _ := filepath.Rel(g.dir, p)
		if rel == "repo" {
			return fs.SkipDir
		}
		if d.IsDir() && strings.Count(rel, "/") < 5 {
			dirs = append(dirs, rel)
		}
		return nil
	})
	return filepath.Join(g.dir, dirs[g.rng.IntN(len(dirs))])
}

var sizes = []int{0, 1, 100, 4 << 10, smallFile - 1, smallFile, smallFile + 1, 700 << 10, partSize, partSize + 1}

func (g *garden) content() []byte {
	n := sizes[min(g.rng.IntN(len(sizes)*8), len(sizes)*8-1)%len(sizes)]
	if n > 64<<10 && g.rng.IntN(12) > 0 {
		n = g.rng.IntN(2000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.rng.Uint32())
	}
	return b
}

// change does one thing.
func (g *garden) change() {
	dir := g.somewhere()
	p := filepath.Join(dir, g.name())
	if p == g.dir {
		return
	}
	switch g.rng.IntN(12) {
	case 0, 1, 2, 3, 4:
		if info, err := os.Lstat(p); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			os.Remove(p) // a write would go through it, and one of the links leads to this machine's own /etc/hosts
		}
		os.WriteFile(p, g.content(), 0o644)
	case 5:
		os.MkdirAll(p, 0o755)
	case 6:
		os.Symlink([]string{"../x", "/etc/hosts", "a", "nowhere\xfe"}[g.rng.IntN(4)], p)
	case 7:
		if dir != g.dir {
			os.RemoveAll(dir)
		}
	case 8:
		if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
			q := filepath.Join(dir, names[g.rng.IntN(len(names))].Name())
			if filepath.Base(q) != "repo" {
				os.Rename(q, p)
			}
		}
	case 9, 10:
		if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
			e := names[g.rng.IntN(len(names))]
			q := filepath.Join(dir, e.Name())
			if e.Type().IsRegular() {
				if f, err := os.OpenFile(q, os.O_WRONLY, 0); err == nil { // in place, as databases do
					f.WriteAt([]byte(fmt.Sprint(g.rng.Uint64())), g.rng.Int64N(3))
					f.Close()
				}
				os.Chmod(q, []os.FileMode{0o644, 0o755, 0o600, 0o400, 0o666}[g.rng.IntN(5)])
			}
		}
	case 11:
		if g.git {
			g.commit()
		}
	}
}

func (g *garden) commit() {
	repo := filepath.Join(g.dir, "repo")
	if _, err := os.Stat(repo); err != nil {
		g.run("", "init", "-q", repo)
	}
	for range 3 {
		os.WriteFile(filepath.Join(repo, fmt.Sprint("f", g.rng.IntN(20))), g.content(), 0o644)
	}
	g.run(repo, "add", "-A")
	g.run(repo, "commit", "-q", "--allow-empty", "-m", "x")
	if g.rng.IntN(10) == 0 {
		g.run(repo, "gc", "-q")
	}
}

func (g *garden) run(dir string, args ...string) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=x", "GIT_AUTHOR_EMAIL=x@x", "GIT_COMMITTER_NAME=x", "GIT_COMMITTER_EMAIL=x@x")
	if out, err := cmd.CombinedOutput(); err != nil {
		g.t.Errorf("git %v: %v %s", args, err, out)
	}
}

// fsck fails the test if the repository of a restored tree lacks anything.
func fsck(t testing.TB, dir string) {
	t.Helper()
	repo := filepath.Join(dir, "repo")
	if _, err := os.Stat(filepath.Join(repo, ".git", "HEAD")); err != nil {
		return
	}
	cmd := exec.Command("git", "-C", repo, "fsck", "--no-dangling", "--full")
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fsck of a restored repository: %v\n%.4000s", err, out)
	}
}
