package workspace

import (
	"errors"
	"io/fs"
	"slices"
)

// within does what writes in the directories that paths are in. Where one of them
// is closed to its owner, or one above, it is done again with these open.
func (l *local) within(do func() error, paths ...string) error {
	err := do()
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	l.opening.Lock()
	defer l.opening.Unlock()
	for _, p := range paths {
		var closed []opened
		defer func() {
			for _, d := range slices.Backward(closed) {
				l.root.Chmod(d.path, d.mode)
			}
		}()
		for dir := range foldersOf(p) {
			info, err := l.root.Lstat(dir)
			if err != nil || !info.IsDir() {
				break
			}
			if info.Mode()&0o700 != 0o700 && l.root.Chmod(dir, info.Mode()|0o700) == nil {
				closed = append(closed, opened{dir, info.Mode()})
			}
		}
	}
	return do()
}

// foldersOf yields the directories that a path is in, the workspace first.
func foldersOf(p string) func(func(string) bool) {
	return func(yield func(string) bool) {
		if !yield(".") {
			return
		}
		for i, c := range p {
			if c == '/' && !yield(p[:i]) {
				return
			}
		}
	}
}
