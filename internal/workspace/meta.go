package workspace

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Stamp is a time of modification as file systems keep it: seconds and nanoseconds
// since 1970. Nanoseconds alone end in the year 2262.
type Stamp struct{ Sec, Nsec int64 }

func stampOf(info fs.FileInfo) Stamp {
	t := info.ModTime()
	return Stamp{t.Unix(), int64(t.Nanosecond())}
}

func stampOfTime(t time.Time) Stamp { return Stamp{t.Unix(), int64(t.Nanosecond())} }

func (s Stamp) time() time.Time { return time.Unix(s.Sec, s.Nsec) }

// setTime sets the time of modification of a path in the volume, a link's own.
func (l *local) setTime(name string, s Stamp) error {
	ts := unix.Timespec{Sec: s.Sec, Nsec: s.Nsec}
	err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(l.vol.Name(), name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &os.PathError{Op: "set the time of", Path: name, Err: err}
	}
	return nil
}

const (
	// userXattr begins the names of extended attributes that are a user's own
	// (xattr(7)); others are the system's.
	userXattr = "user."
	// maxXattrs bounds the attributes of one file, in bytes. Linux allows 64 KiB for
	// a value.
	maxXattrs = 1 << 20
	// sparseFrom is the size from which a file may be kept with holes.
	sparseFrom = 64 << 10
)

// attributes reads the user's extended attributes of a file that is open, or of a
// path; nil is none. A file system without them has none.
func attributes(f *os.File, name string) (map[string]string, error) {
	list := func(b []byte) (int, error) { return unix.Llistxattr(name, b) }
	get := func(attr string, b []byte) (int, error) { return unix.Lgetxattr(name, attr, b) }
	if f != nil {
		list = func(b []byte) (int, error) { return unix.Flistxattr(int(f.Fd()), b) }
		get = func(attr string, b []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), attr, b) }
	}
	names, err := grow(list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil || len(names) == 0 {
		return nil, err
	}
	var all map[string]string
	total := 0
	for attr := range bytes.SplitSeq(bytes.TrimRight(names, "\x00"), []byte{0}) {
		if !bytes.HasPrefix(attr, []byte(userXattr)) {
			continue
		}
		value, err := grow(func(b []byte) (int, error) { return get(string(attr), b) })
		if errors.Is(err, unix.ENODATA) {
			continue // removed since
		}
		if err != nil {
			return nil, err
		}
		if total += len(attr) + len(value); total > maxXattrs {
			return nil, fmt.Errorf("its extended attributes have more than %d bytes", maxXattrs)
		}
		if all == nil {
			all = map[string]string{}
		}
		all[string(attr)] = string(value)
	}
	return all, nil
}

// grow calls a function that fills a buffer, or says that it is too short.
func grow(fill func([]byte) (int, error)) ([]byte, error) {
	for b := make([]byte, 256); ; b = make([]byte, 4*len(b)) {
		n, err := fill(b)
		if err == nil {
			return b[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || len(b) > maxXattrs {
			return nil, err
		}
	}
}

// setAttributes gives a path in the volume exactly these attributes.
func (l *local) setAttributes(name string, want map[string]string) error {
	name = filepath.Join(l.vol.Name(), name)
	have, err := attributes(nil, name)
	if err != nil || maps.Equal(have, want) {
		return err
	}
	for _, attr := range slices.Sorted(maps.Keys(have)) {
		if _, keep := want[attr]; !keep {
			err = errors.Join(err, unix.Lremovexattr(name, attr))
		}
	}
	for _, attr := range slices.Sorted(maps.Keys(want)) {
		err = errors.Join(err, unix.Lsetxattr(name, attr, []byte(want[attr]), 0))
	}
	return err
}

// checkAttributes says what is wrong with attributes from outside.
func checkAttributes(all map[string]string) error {
	total := 0
	for attr, value := range all {
		if !strings.HasPrefix(attr, userXattr) || len(attr) > 255 || strings.ContainsRune(attr, 0) {
			return fmt.Errorf("extended attribute %.80q", attr)
		}
		if total += len(attr) + len(value); total > maxXattrs {
			return errors.New("extended attributes that are too long")
		}
	}
	return nil
}

// allocated returns the bytes that a file takes on the disk, if it has holes; else 0.
func allocated(info fs.FileInfo) int64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Size() < sparseFrom || st.Blocks*512 >= info.Size() {
		return 0
	}
	return max(st.Blocks*512, 1)
}

// holes writes to a file and leaves out blocks of zeros.
type holes struct {
	f  *os.File
	at int64
}

// holeSize is the smallest hole of most file systems.
const holeSize = 4 << 10

var zeros [holeSize]byte

func (h *holes) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		some := b[:min(int64(len(b)), holeSize-h.at%holeSize)]
		if len(some) < holeSize || !bytes.Equal(some, zeros[:]) {
			if _, err := h.f.WriteAt(some, h.at); err != nil {
				return n, err
			}
		}
		n += len(some)
		h.at += int64(len(some))
		b = b[len(some):]
	}
	return n, nil
}

// hardLinks has the entries that are one file name its first path. Entries are in
// the order of their paths.
func hardLinks(entries []known) {
	first := map[fileID]string{}
	for i := range entries {
		k := &entries[i]
		if k.Kind != File || k.looks.at == 0 {
			continue // what was not read stays as the base has it
		}
		k.Hard = ""
		if k.looks.links < 2 {
			continue
		}
		if p, ok := first[k.looks.id]; ok {
			k.Hard = p
		} else {
			first[k.looks.id] = k.Path
		}
	}
}
