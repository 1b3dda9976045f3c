package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// children are the programs that tests run: this binary under another name.
var children = map[string]func(args []string){
	"exit": func(args []string) {
		code, _ := strconv.Atoi(args[0])
		os.Exit(code)
	},
	"wait": func([]string) {
		fmt.Println("waits", os.Getpid())
		select {}
	},
	// stubborn does not end when asked to.
	"stubborn": func([]string) {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("stubborn", os.Getpid())
		select {}
	},
	// family leaves a child in a session of its own, and one that has cleared
	// its environment, and ends when it is told to.
	"family": func([]string) {
		for _, c := range []*exec.Cmd{child("stubborn"), child("wait")} {
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			c.Stdout = os.Stdout
			if c.Args[2] == "wait" {
				c.Env = []string{}
			}
			if err := c.Start(); err != nil {
				panic(err)
			}
		}
		fmt.Println("parent", os.Getpid())
		select {}
	},
	// serve is a web server, args[0] its address.
	"serve": func(args []string) {
		l, err := net.Listen("tcp", args[0])
		if err != nil {
			fmt.Println("cannot listen:", err)
			os.Exit(1)
		}
		fmt.Println("listens on", l.Addr())
		http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "user's server") }))
	},
}

const childArg = "test-child"

func child(name string, args ...string) *exec.Cmd {
	return exec.Command("/proc/self/exe", append([]string{childArg, name}, args...)...)
}

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == childArg {
		children[os.Args[2]](os.Args[3:])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == execCommand {
		os.Exit(command(os.Args[1:], os.Getenv, os.Stdout))
	}
	os.Exit(m.Run())
}

// newTestProgram returns a program whose child is name, and its log.
func newTestProgram(name string, args ...string) (*program, *logs) {
	log := &logs{}
	return &program{
		name: name, command: func() (*exec.Cmd, error) { return child(name, args...), nil },
		log: slog.New(slog.NewJSONHandler(log, nil)), wait: pause,
	}, log
}

// begin runs a program until the end of the test, or until end is called.
func begin(t *testing.T, p *program) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(ctx)
	}()
	end = func() { cancel(); <-done }
	t.Cleanup(end)
	return end
}

func alivePID(t *testing.T, s string) bool {
	t.Helper()
	pid, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	now, ok := statOf(pid)
	return ok && !now.ended
}

func TestProgramIsEndedWithAllItStarted(t *testing.T) {
	t.Parallel()
	for name, crash := range map[string]bool{"asked to end": false, "it crashes": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, log := newTestProgram("family")
			end := begin(t, p)
			parent, stubborn, waits := log.find(t, `parent (\d+)`)[1], log.find(t, `stubborn (\d+)`)[1], log.find(t, `waits (\d+)`)[1]
			log.find(t, `program is up`)
			if !p.now().Up {
				t.Error("not up")
			}
			if crash {
				pid, _ := strconv.Atoi(parent)
				syscall.Kill(pid, syscall.SIGKILL)
				log.find(t, `program has ended.*killed`)
				if s := p.now(); s.Restarts != 1 || s.LastExit == nil || s.LastExit.Signal != "killed" || s.LastExit.Code != -1 {
					t.Errorf("after a crash: %+v %+v", s, s.LastExit)
				}
			} else {
				end()
			}
			// A clean environment and a dead parent together are beyond what can be found.
			if alivePID(t, parent) || alivePID(t, stubborn) || !crash && alivePID(t, waits) {
				t.Errorf("left: parent %v, in its own session %v, without environment %v", alivePID(t, parent), alivePID(t, stubborn), alivePID(t, waits))
			}
			if pid, _ := strconv.Atoi(waits); crash {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		})
	}
}

func TestProgramIsRestartedEverMoreSlowly(t *testing.T) {
	t.Parallel()
	p, log := newTestProgram("exit", "3")
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var waits []time.Duration
	p.answers = func() bool { return false }
	p.wait = func(_ context.Context, d time.Duration) {
		if d == lookEvery {
			pause(ctx, time.Millisecond)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if waits = append(waits, d); len(waits) == 9 {
			cancel()
		}
	}
	p.run(ctx)
	ms := time.Millisecond
	want := []time.Duration{250 * ms, 500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 8000 * ms, 16000 * ms, 30000 * ms, 30000 * ms}
	if !slices.Equal(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	if s := p.now(); s.Restarts != 9 || s.LastExit.Code != 3 || s.Up || s.Running {
		t.Errorf("got %+v with %+v", s, s.LastExit)
	}
	log.find(t, `"code":3`)
}

func TestProgramThatCannotStart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p, _ := newTestProgram("exit")
	p.command = func() (*exec.Cmd, error) { return exec.Command("/nowhere/program"), nil }
	p.wait = func(context.Context, time.Duration) { cancel() }
	p.run(ctx)
	if e := p.now().LastExit; e == nil || e.Error == "" {
		t.Errorf("got %+v, want an error", e)
	}
}

func TestProgramWaitsForWhatItNeeds(t *testing.T) {
	t.Parallel()
	first, log := newTestProgram("wait")
	second, log2 := newTestProgram("wait")
	open := make(chan struct{})
	first.answers = func() bool { <-open; return true }
	asked := make(chan struct{})
	var once sync.Once
	second.after = first
	second.wait = func(ctx context.Context, d time.Duration) {
		once.Do(func() { close(asked) })
		pause(ctx, time.Millisecond)
	}
	begin(t, first)
	log.find(t, "waits")
	begin(t, second)
	<-asked
	if second.now().Running {
		t.Error("runs before what it needs is up")
	}
	close(open)
	log2.find(t, "waits")
}

func TestProgramWithNothingToRun(t *testing.T) {
	t.Parallel()
	p, _ := newTestProgram("wait")
	ctx, cancel := context.WithCancel(t.Context())
	p.command = func() (*exec.Cmd, error) { return nil, nil }
	p.wait = func(context.Context, time.Duration) { cancel() }
	p.run(ctx)
	if s := p.now(); s.Restarts != 0 || s.LastExit != nil {
		t.Errorf("got %+v, want nothing", s)
	}
}

func TestLongLinesAreCut(t *testing.T) {
	t.Parallel()
	p, log := newTestProgram("wait")
	r, w := net.Pipe()
	go func() {
		fmt.Fprintf(w, "%0*d\nshort\n", 3*maxLine, 7)
		w.Close()
	}()
	p.copyLines(r)
	log.find(t, `"line":"short"`)
	if n := len(log.String()); n > 2*maxLine {
		t.Errorf("%d bytes of log", n)
	}
}
