package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxEdit    = 1 << 20 // bytes of a file that the editor opens
	maxEntries = 2000    // of a folder that it lists
)

// What can be wrong with a path that a person can do something about. Other
// errors are the system's.
var (
	errPath    = errors.New("not a path inside the workspace")
	errMissing = errors.New("no such file")
	errExists  = errors.New("name is taken")
	errChanged = errors.New("file has changed")
	errSpecial = errors.New("not a regular file")
)

// entry is one line of a folder.
type entry struct {
	Name, Path string
	Folder     bool
	Link       string // where it points, for a symbolic link
	Size       int64  // bytes
	Modified   time.Time
}

// document is a file as the editor shows it.
type document struct {
	Path     string
	Text     string
	Base     string // SHA-256 of the content, in hex: what a save replaces
	Size     int64
	Editable bool // text of at most maxEdit
}

// clean takes a path relative to the workspace, "" being the workspace. os.Root
// holds whatever passes inside the workspace; this makes one spelling of each.
func clean(p string) (string, error) {
	if p == "" || p == "." {
		return ".", nil
	}
	if !fs.ValidPath(p) || strings.ContainsRune(p, 0) {
		return "", errPath
	}
	return p, nil
}

// known translates the errors that a person can do something about.
func known(err error) error {
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errMissing
	case errors.Is(err, fs.ErrExist):
		return errExists
	case errors.As(err, &pe) && pe.Err.Error() == "path escapes from parent": // os does not export it
		return errPath
	}
	return err
}

// list returns the entries of a folder, folders first.
func (a *agent) list(dir string) (entries []entry, more bool, err error) {
	f, err := a.root.Open(dir)
	if err != nil {
		return nil, false, known(err)
	}
	defer f.Close()
	found, err := f.ReadDir(maxEntries + 1)
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	if more = len(found) > maxEntries; more {
		found = found[:maxEntries]
	}
	for _, d := range found {
		info, err := d.Info()
		if err != nil {
			continue // removed since
		}
		e := entry{Name: d.Name(), Path: path.Join(dir, d.Name()), Folder: d.IsDir(), Size: info.Size(), Modified: info.ModTime().UTC()}
		if d.Type()&fs.ModeSymlink != 0 {
			e.Link, _ = a.root.Readlink(e.Path)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(x, y entry) int {
		if x.Folder != y.Folder {
			if x.Folder {
				return -1
			}
			return 1
		}
		return strings.Compare(x.Name, y.Name)
	})
	return entries, more, nil
}

// openRegular opens a regular file. It looks before it opens: opening a pipe
// would wait for its other end.
func (a *agent) openRegular(name string) (*os.File, fs.FileInfo, error) {
	info, err := a.root.Stat(name)
	if err != nil {
		return nil, nil, known(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errSpecial
	}
	f, err := a.root.Open(name)
	return f, info, known(err)
}

// read returns a file for editing.
func (a *agent) read(name string) (document, error) {
	f, info, err := a.openRegular(name)
	if err != nil {
		return document{}, err
	}
	defer f.Close()
	doc := document{Path: name, Size: info.Size()}
	b, err := io.ReadAll(io.LimitReader(f, maxEdit+1))
	if err != nil {
		return doc, fmt.Errorf("read file: %w", err)
	}
	doc.Editable = len(b) <= maxEdit && utf8.Valid(b) && !bytes.ContainsRune(b, 0)
	if doc.Editable {
		doc.Text, doc.Base = string(b), digest(b)
	}
	return doc, nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// save replaces the content of a file that still is what base says. Browsers
// send lines that end in CR LF; the file keeps the ends it had.
func (a *agent) save(name, base, text string) error {
	f, info, err := a.openRegular(name)
	if err != nil {
		return err
	}
	was, err := io.ReadAll(io.LimitReader(f, maxEdit+1))
	f.Close()
	if err != nil {
		return fmt.Errorf("read file: %w", err)
	}
	if digest(was) != base {
		return errChanged
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if bytes.Contains(was, []byte("\r\n")) {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	link, err := a.root.Lstat(name)
	if err != nil {
		return known(err)
	}
	if !link.Mode().IsRegular() { // a link stays one, so its target is written in place
		return known(a.root.WriteFile(name, []byte(text), info.Mode().Perm()))
	}
	return a.replace(name, []byte(text), info.Mode().Perm())
}

// replace writes a file whole or not at all.
func (a *agent) replace(name string, b []byte, mode fs.FileMode) (err error) {
	temp := path.Join(path.Dir(name), ".berth-save-"+rand.Text())
	defer func() {
		if err != nil {
			a.root.Remove(temp)
		}
	}()
	f, err := a.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	_, werr := f.Write(b)
	// The mode again, past the umask: saving must not take a bit away.
	if err := errors.Join(werr, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if err := a.root.Rename(temp, name); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}

// create makes an empty file or a folder, with the folders above it.
func (a *agent) create(name string, folder bool) error {
	if name == "." {
		return errPath
	}
	if folder {
		if _, err := a.root.Lstat(name); err == nil {
			return errExists
		}
		return known(a.root.MkdirAll(name, 0o755))
	}
	if err := a.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return known(err)
	}
	f, err := a.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return known(err)
	}
	return f.Close()
}

// remove deletes a file, a link (never what it points to) or a folder with all
// that is in it.
func (a *agent) remove(name string) error {
	if name == "." {
		return errPath
	}
	if _, err := a.root.Lstat(name); err != nil {
		return known(err)
	}
	return known(a.root.RemoveAll(name))
}
