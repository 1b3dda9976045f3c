package workspace

import (
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// looks is how a file looked when it was read: what says whether it may have
// changed since.
type looks struct {
	id    fileID
	size  int64
	mtime int64
	ctime int64
	at    int64 // when it was looked at
	links int64 // names of the file
	quiet bool  // nothing could write to it at that time
}

const (
	// doubt is how close before a look a file may have been written for a write
	// after it to have left no trace: clocks of file systems are coarse.
	doubt = 2 * time.Second
	// clockTick is more than the steps of those clocks.
	clockTick = 20 * time.Millisecond
)

// dirtyExpiry returns for how long writes to a file that is mapped into memory
// can leave no trace: the kernel notes the time of the first write to a page, and
// of later ones only when it has written the page to the disk. Linux
// documentation, admin-guide/sysctl/vm: dirty_expire_centisecs and
// dirty_writeback_centisecs, 35 seconds by default. The margin is for a disk that
// is busy.
func dirtyExpiry() time.Duration {
	const margin = 25 * time.Second
	read := func(name string) (time.Duration, bool) {
		b, err := os.ReadFile("/proc/sys/vm/" + name)
		n, bad := strconv.Atoi(strings.TrimSpace(string(b)))
		return time.Duration(n) * 10 * time.Millisecond, err == nil && bad == nil && n > 0
	}
	expire, ok := read("dirty_expire_centisecs")
	every, periodic := read("dirty_writeback_centisecs")
	if !ok || !periodic {
		return time.Hour
	}
	return expire + every + margin
}

func looksOf(info fs.FileInfo, at time.Time) looks {
	l := looks{id: idOf(info), size: info.Size(), mtime: info.ModTime().UnixNano(), at: at.UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		l.ctime, l.links = st.Ctim.Nano(), int64(st.Nlink)
	}
	return l
}

// unchanged says whether a file that looks so now is what it was. A write within
// the window before the last look may have been followed by one without a trace.
// The time of the last change counts, too: a program can set that of modification.
func (l looks) unchanged(now looks, window time.Duration) bool {
	return l.at != 0 && l.id == now.id && l.size == now.size && l.mtime == now.mtime && l.ctime == now.ctime &&
		(l.quiet || max(l.mtime, l.ctime) < l.at-int64(window))
}

// known is what the base has at a path.
type known struct {
	Entry
	looks looks // zero: has to be read
}

// Note is a path that is that something is to be said of.
type Note struct{ Path, Reason string }

// maxNotes bounds the lists of reports; the counts beside them do not end there.
const maxNotes = 200

// notes is a bounded list.
type notes struct {
	mu    sync.Mutex
	list  []Note
	count int
}

func (s *notes) add(p, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count++; len(s.list) < maxNotes {
		s.list = append(s.list, Note{p, reason})
	}
}
