package workspace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/internal/ide"
)

// What the local directory holds for Berth itself, below its root.
const (
	statePath = reserved + "/state.json"
	lockPath  = reserved + "/lock"
	tempDir   = reserved + "/tmp"
	keptDir   = reserved + "/kept" // files that gave way to a restore
)

// state says what the local files are, for a process that comes after a crash.
type state struct {
	Place    string `json:"place"`    // bucket and prefix
	Restored bool   `json:"restored"` // else a restore is under way, or broke off
	Base     int64  `json:"base"`     // the generation that the files come from
	Author   string `json:"author"`   // who writes
	// Pending is the generation that this author was committing: where it
	// exists and is its own, it is the base.
	Pending int64 `json:"pending,omitempty"`
	// Extras: what is in no manifest gives way to the restore that is under way.
	Extras bool `json:"extras,omitempty"`
	// Boot is set until restored files are known to be on the disk: after
	// another boot they may be empty.
	Boot string `json:"boot,omitempty"`
}

// local is the directory on this machine's side.
type local struct {
	dir  string
	root *os.Root
	lock *os.File
	id   fileID // of the directory
}

// fileID tells files apart while they exist.
type fileID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) fileID {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{uint64(st.Dev), st.Ino}
}

// openLocal opens a directory and locks it, across processes and containers.
func openLocal(dir string) (*local, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make workspace: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open workspace: %w", err)
	}
	l := &local{dir: dir, root: root}
	if err := l.prepare(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *local) prepare() error {
	info, err := l.root.Stat(".")
	if err != nil {
		return fmt.Errorf("open workspace: %w", err)
	}
	l.id = idOf(info)
	if own, err := l.root.Lstat(reserved); err == nil && !own.IsDir() {
		if err := l.root.Remove(reserved); err != nil {
			return fmt.Errorf("prepare workspace: %w", err)
		}
	}
	if err := l.root.Mkdir(reserved, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("prepare workspace: %w", err)
	}
	if l.lock, err = l.root.OpenFile(lockPath, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return fmt.Errorf("prepare workspace: %w", err)
	}
	if err := syscall.Flock(int(l.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return &ide.Error{Code: ide.Conflict, Message: "Another process is at work on this workspace.", Err: fmt.Errorf("%w: %w", ErrInUse, err)}
	}
	if err := l.root.RemoveAll(tempDir); err != nil {
		return fmt.Errorf("prepare workspace: %w", err)
	}
	if err := l.root.Mkdir(tempDir, 0o700); err != nil {
		return fmt.Errorf("prepare workspace: %w", err)
	}
	return nil
}

func (l *local) close() error {
	var err error
	if l.lock != nil {
		// Closing alone leaves the lock to a child that is being started.
		err = errors.Join(syscall.Flock(int(l.lock.Fd()), syscall.LOCK_UN), l.lock.Close())
	}
	return errors.Join(err, l.root.Close())
}

// same says whether the path still leads to the directory that was opened, and
// not to what is there after it was unmounted or replaced.
func (l *local) same() bool {
	info, err := os.Stat(l.dir)
	return err == nil && idOf(info) == l.id
}

// readState returns the zero state where there is none that can be read.
func (l *local) readState() (s state, err error) {
	b, err := l.root.ReadFile(statePath)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read state: %w", err)
	}
	if json.Unmarshal(b, &s) != nil {
		return state{}, nil // nothing is known of the files
	}
	return s, nil
}

// writeState replaces the state, on the disk when it returns.
func (l *local) writeState(s state) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	temp := tempDir + "/state"
	f, err := l.root.Create(temp)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close(), l.root.Rename(temp, statePath)); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// sync brings all that was written to the disk.
func (l *local) sync() error {
	f, err := l.root.Open(reserved)
	if err != nil {
		return fmt.Errorf("sync workspace: %w", err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync workspace: %w", err)
	}
	return nil
}

// bootID names the time since the kernel started.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// aside moves what stands at a path out of a restore's way. Directories that
// may not be written become writable: moving one writes in it.
func (l *local) aside(p, under string) error {
	to := path.Join(keptDir, under, p)
	if err := l.root.MkdirAll(path.Dir(to), 0o700); err != nil {
		return fmt.Errorf("keep file: %w", err)
	}
	err := l.root.Rename(p, to)
	if errors.Is(err, fs.ErrPermission) {
		for _, q := range []string{path.Dir(p), p} {
			if info, err := l.root.Lstat(q); err == nil && info.IsDir() {
				l.root.Chmod(q, info.Mode()|0o700)
			}
		}
		err = l.root.Rename(p, to)
	}
	if err != nil {
		return fmt.Errorf("keep file: %w", err)
	}
	return nil
}
