package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The agent answers on the web port of the container's outer addresses, so that
// it sees every connection and can say when nothing is there. A dev server that
// a person starts takes the same port on all addresses, which the kernel
// refuses while the agent has it on one. So the programs in which people start
// servers run under a seccomp filter that reports bind(2) to the agent and
// nothing else: it turns "all addresses" into 127.0.0.1 in the caller's memory,
// for this one port, and lets the call go on. It guards nothing; where it does
// not work (a runtime without it) a server has to listen on 127.0.0.1 itself.

const execCommand = "exec" // agent exec FD PROGRAM ARG…

// bindWatch is one program's filter, as the agent holds it.
type bindWatch struct {
	port   uint16
	log    *slog.Logger
	ours   *os.File // the filter's listener comes through here
	theirs *os.File
}

// watchBinds makes cmd start under a filter. After cmd.Start, started.
func watchBinds(cmd *exec.Cmd, port uint16, log *slog.Logger) (*bindWatch, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket pair: %w", err)
	}
	w := &bindWatch{port: port, log: log, ours: os.NewFile(uintptr(pair[0]), "filter"), theirs: os.NewFile(uintptr(pair[1]), "filter")}
	cmd.ExtraFiles = append(cmd.ExtraFiles, w.theirs)
	cmd.Args = append([]string{"agent", execCommand, strconv.Itoa(2 + len(cmd.ExtraFiles)), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/proc/self/exe"
	return w, nil
}

// started takes the filter's listener from the child, and serves it until the
// last process under the filter has ended.
func (w *bindWatch) started() {
	w.theirs.Close()
	go func() {
		defer w.ours.Close()
		fd, err := receiveFile(int(w.ours.Fd()))
		if err != nil {
			w.log.Warn("a server has to listen on 127.0.0.1 of the web port", "err", err)
			return
		}
		defer unix.Close(fd)
		w.serve(fd)
	}()
}

// notification and response are struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

const (
	notifyReceive  = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	notifySend     = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	notifyIDValid  = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID
	notifyContinue = 1          // SECCOMP_USER_NOTIF_FLAG_CONTINUE
)

func (w *bindWatch) serve(fd int) {
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err == unix.EINTR {
			continue
		}
		if p[0].Revents&unix.POLLIN == 0 {
			return
		}
		var n notification
		if err := ioctl(fd, notifyReceive, unsafe.Pointer(&n)); err != nil {
			continue // the caller was killed or interrupted meanwhile
		}
		valid := func() bool { return ioctl(fd, notifyIDValid, unsafe.Pointer(&n.id)) == nil }
		if err := w.giveWay(n, valid); err != nil {
			w.log.Warn("server not moved to 127.0.0.1", "pid", n.pid, "err", err)
		}
		ioctl(fd, notifySend, unsafe.Pointer(&response{id: n.id, flags: notifyContinue}))
	}
}

// giveWay rewrites the address of a bind to the web port of all addresses.
func (w *bindWatch) giveWay(n notification, valid func() bool) error {
	at, size := int64(n.args[1]), n.args[2]
	if size < unix.SizeofSockaddrInet4 {
		return nil
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", n.pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	if !valid() { // the number may be another process's by now
		return nil
	}
	b := make([]byte, min(size, unix.SizeofSockaddrInet6))
	if _, err := mem.ReadAt(b, at); err != nil {
		return err
	}
	offset, address := moved(b, w.port)
	if address == nil {
		return nil
	}
	_, err = mem.WriteAt(address, at+offset)
	return err
}

// moved returns where in a sockaddr the address stands and what it has to be,
// or nil where it may stay.
func moved(sockaddr []byte, port uint16) (offset int64, address []byte) {
	if binary.BigEndian.Uint16(sockaddr[2:]) != port {
		return 0, nil
	}
	home := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	switch binary.NativeEndian.Uint16(sockaddr) {
	case unix.AF_INET:
		if a := netip.AddrFrom4([4]byte(sockaddr[4:8])); !a.IsLoopback() {
			return 4, home.AsSlice()
		}
	case unix.AF_INET6:
		if len(sockaddr) == unix.SizeofSockaddrInet6 && netip.AddrFrom16([16]byte(sockaddr[8:24])).IsUnspecified() {
			mapped := home.As16()
			return 8, mapped[:]
		}
	}
	return 0, nil
}

// execUnderFilter becomes the program args[1], args[2]… under a filter whose
// listener goes out through the descriptor args[0]. It returns only on failure.
func execUnderFilter(args []string) error {
	runtime.LockOSThread() // the filter is this thread's, which exec makes the only one
	if len(args) < 2 {
		return errors.New("exec needs a descriptor and a program")
	}
	out, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("read descriptor: %w", err)
	}
	fd, err := installFilter()
	if err == nil {
		err = unix.Sendmsg(out, []byte{0}, unix.UnixRights(fd), nil, 0)
		unix.Close(fd)
	} else {
		unix.Write(out, []byte(err.Error()))
	}
	unix.Close(out)
	return fmt.Errorf("exec %s: %w", args[1], syscall.Exec(args[1], args[1:], os.Environ()))
}

// installFilter puts this thread, and all that will come of it, under a filter
// that reports bind(2), and returns the listener.
func installFilter() (int, error) {
	arch, ok := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !ok {
		return -1, errors.New("no filter for this processor")
	}
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	filter := []unix.SockFilter{
		load(4), unless(arch, 3), // struct seccomp_data: nr, arch, …
		load(0), unless(unix.SYS_BIND, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, fmt.Errorf("set no new privileges: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, fmt.Errorf("install filter: %w", errno)
	}
	return int(fd), nil
}

// receiveFile takes a descriptor out of a message; without one the message is
// the reason.
func receiveFile(from int) (int, error) {
	text, control := make([]byte, 256), make([]byte, unix.CmsgSpace(4))
	var n, cn int
	err := error(unix.EINTR)
	for err == unix.EINTR {
		n, cn, _, _, err = unix.Recvmsg(from, text, control, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return -1, err
	}
	if messages, err := unix.ParseSocketControlMessage(control[:cn]); err == nil && len(messages) == 1 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, fmt.Errorf("no filter: %s", text[:n])
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
