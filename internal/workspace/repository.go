package workspace

import (
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// lookAgain is how often the objects of git repositories are looked at when
// some of them go away meanwhile.
const lookAgain = 10

// repositories takes in what was put off: a repository must be whole although
// git is at work in it. What refs and index name was written before them, so
// objects are looked for when those have been read. Git packs refs and objects
// by writing the pack first and removing what is in it then, so packs are read
// later than what may move into them; and when an object or pack goes away
// between being listed and being read, what took its place is looked for.
func (s *scanner) repositories(ctx context.Context, store func(context.Context, string, *tree) error) error {
	if err := s.pass(ctx, slices.Sorted(maps.Keys(s.packedRefs)), store); err != nil {
		return err
	}
	for range lookAgain {
		before := s.t.vanished.Load()
		if err := s.pass(ctx, s.objects, store); err != nil || s.t.vanished.Load() == before {
			return err
		}
		s.entered = make(map[string]bool, len(s.t.entries))
		for _, k := range s.t.entries {
			s.entered[k.Path] = k.Kind != Dir
		}
	}
	for _, dir := range s.objects {
		s.t.unsettled.add(dir, "its files come and go all the time")
	}
	return nil
}

// packedRefs is the file of a repository that has the refs that have none of
// their own.
const packedRefs = "packed-refs"

// isGitObjects says whether a directory holds the objects of a repository.
func (s *scanner) isGitObjects(p string) bool {
	return path.Base(p) == "objects" && s.isRepository(path.Dir(p))
}

func (s *scanner) isPackedRefs(p string) bool {
	return path.Base(p) == packedRefs && s.isRepository(path.Dir(p))
}

func (s *scanner) isRepository(dir string) bool {
	_, err := os.Lstat(filepath.Join(s.w.local.dir, dir, "HEAD"))
	return err == nil
}
