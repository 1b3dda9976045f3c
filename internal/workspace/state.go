package workspace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/internal/ide"
)

// reserved names Berth's own folder: beside the workspace on its volume, and
// below the prefix in a bucket.
const reserved = ".berth"

// RecoveredDir is the folder of a workspace for files that gave way to a
// restore, each restore in a folder named after its time. They are ordinary
// files: the next save has them.
const RecoveredDir = "berth-recovered"

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

// local is a workspace on this machine: a folder of a volume, and beside it the
// folder of its state, which programs in the workspace do not come across.
type local struct {
	dir  string   // of the workspace
	vol  *os.Root // holds both folders, so that files can be renamed from one to the other
	root *os.Root // the workspace
	lock *os.File // the folder of the workspace, locked: a user cannot remove it and keep its files

	folder string // of the workspace in the volume
	own    string // of the state in the volume
	absent bool   // there was no such folder when it was opened
	dev    uint64 // of the volume
	id     fileID // of the workspace

	opening sync.Mutex   // held while directories that are closed to their owner are open
	closed  sync.RWMutex // held for writing while such a file is
}

// Names in the folder of the state.
const (
	stateName = "state.json"
	tempName  = "tmp"
)

// fileID tells files apart while they exist.
type fileID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) fileID {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{uint64(st.Dev), st.Ino}
}

// openLocal opens a workspace and locks it, across processes and containers.
// Its state is in the folder .berth/NAME beside it, NAME being that of dir.
// One that is not there is made only if make says so.
func openLocal(dir string, make bool) (*local, error) {
	if _, err := os.Lstat(dir); !make && errors.Is(err, fs.ErrNotExist) {
		return nil, errMovedAway
	}
	volume, folder := filepath.Split(filepath.Clean(dir))
	return openVolume(volume, folder, path.Join(reserved, folder))
}

// openVolume opens the workspace in one folder of a volume, with its state in
// another.
func openVolume(volume, folder, own string) (*local, error) {
	l := &local{dir: filepath.Join(volume, folder), folder: folder, own: own}
	_, err := os.Lstat(l.dir)
	l.absent = errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make workspace: %w", err)
	}
	if l.vol, err = os.OpenRoot(volume); err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	if err := l.prepare(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *local) prepare() (err error) {
	if l.root, err = l.vol.OpenRoot(l.folder); err != nil {
		return fmt.Errorf("open workspace: %w", err)
	}
	info, err := l.root.Stat(".")
	if err != nil {
		return fmt.Errorf("open workspace: %w", err)
	}
	l.id = idOf(info)
	l.dev = l.id.dev
	if info, err := l.vol.Lstat(l.own); err == nil && !info.IsDir() {
		if err := l.vol.Remove(l.own); err != nil {
			return fmt.Errorf("prepare workspace: %w", err)
		}
	}
	if err := l.vol.MkdirAll(l.own, 0o700); err != nil {
		return fmt.Errorf("prepare workspace: %w", err)
	}
	if err := l.take(); err != nil {
		return err
	}
	if err := l.vol.RemoveAll(path.Join(l.own, tempName)); err != nil {
		return fmt.Errorf("prepare workspace: %w", err)
	}
	return l.makeTemp()
}

// take locks the workspace.
func (l *local) take() (err error) {
	if l.lock, err = l.root.Open("."); err != nil {
		return fmt.Errorf("prepare workspace: %w", err)
	}
	if err := syscall.Flock(int(l.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return &ide.Error{Code: ide.Conflict, Message: "Another process is at work on this workspace.", Err: fmt.Errorf("%w: %w", ErrInUse, err)}
	}
	return nil
}

// makeTemp makes the folder for temporary files where it is missing.
func (l *local) makeTemp() error {
	if err := l.vol.MkdirAll(path.Join(l.own, tempName), 0o700); err != nil {
		return fmt.Errorf("prepare workspace: %w", err)
	}
	return nil
}

// temp is a name in the volume for a temporary file.
func (l *local) temp(name string) string { return path.Join(l.own, tempName, name) }

// inVolume is the name in the volume of a path of the workspace.
func (l *local) inVolume(p string) string { return path.Join(l.folder, p) }

// place renames a temporary file into the workspace.
func (l *local) place(temp, p string) error { return l.vol.Rename(temp, l.inVolume(p)) }

func (l *local) close() error {
	err := l.unlock()
	if l.root != nil {
		err = errors.Join(err, l.root.Close())
	}
	return errors.Join(err, l.vol.Close())
}

func (l *local) unlock() error {
	if l.lock == nil {
		return nil
	}
	// Closing alone leaves the lock to a child that is being started.
	return errors.Join(syscall.Flock(int(l.lock.Fd()), syscall.LOCK_UN), l.lock.Close())
}

// errMovedAway is the error of a workspace whose folder is not there any more.
var errMovedAway = &ide.Error{Code: ide.WorkspaceUnsaved, Permanent: true,
	Message: "The folder of the workspace was moved or removed, or its volume is not mounted. Nothing was saved since. Move the folder back, or make it again."}

// refresh has the workspace be the folder that now is at its path. A user may
// put another in its place, on the same volume.
func (l *local) refresh() error {
	info, err := os.Lstat(l.dir)
	if err != nil || !info.IsDir() || idOf(info).dev != l.dev {
		return errMovedAway
	}
	if idOf(info) == l.id {
		return nil
	}
	root, err := l.vol.OpenRoot(l.folder)
	if err != nil {
		return fmt.Errorf("open workspace: %w", err)
	}
	l.unlock()
	l.root.Close()
	l.root, l.id = root, idOf(info)
	return l.take()
}

// empty says whether the workspace has no file.
func (l *local) empty() (bool, error) {
	f, err := l.root.Open(".")
	if err != nil {
		return false, fmt.Errorf("read workspace: %w", err)
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// readState returns the zero state where there is none that can be read.
func (l *local) readState() (s state, err error) {
	b, err := l.vol.ReadFile(path.Join(l.own, stateName))
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
	temp := l.temp("state")
	f, err := l.vol.Create(temp)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close(), l.vol.Rename(temp, path.Join(l.own, stateName))); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// markName is the extended attribute of the folder of a workspace that was
// restored: a second witness, for where a user has removed the state.
const markName = userXattr + "berth.restored"

// mark notes that the workspace was restored, where the file system can.
func (l *local) mark() {
	_ = l.within(func() error { return unix.Lsetxattr(l.dir, markName, []byte("1"), 0) }, reserved)
}

func (l *local) marked() bool {
	_, err := unix.Lgetxattr(l.dir, markName, nil)
	return err == nil
}

// sync brings all that was written to the disk.
func (l *local) sync() error {
	f, err := l.vol.Open(l.own)
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

// aside moves what stands at a path to another, out of a restore's way. Moving a
// directory writes in it.
func (l *local) aside(p, to string) error {
	if err := l.root.MkdirAll(path.Dir(to), 0o755); err != nil {
		return fmt.Errorf("set file aside: %w", err)
	}
	err := l.root.Rename(p, to)
	if info, statErr := l.root.Lstat(p); errors.Is(err, fs.ErrPermission) && statErr == nil && info.IsDir() && l.root.Chmod(p, info.Mode()|0o700) == nil {
		if err = l.root.Rename(p, to); err == nil {
			p = to
		}
		err = errors.Join(err, l.root.Chmod(p, info.Mode()))
	}
	if err != nil {
		return fmt.Errorf("set file aside: %w", err)
	}
	return nil
}
