package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	shortestWait = 250 * time.Millisecond // before the first restart; doubled each time
	longestPause = 30 * time.Second
	goodRun      = time.Minute // after which a program's earlier exits are forgotten
	lookEvery    = 25 * time.Millisecond
	endGrace     = 5 * time.Second // between asking a program to end and killing it
	maxLine      = 8 << 10         // bytes of a line of output
)

// program is a child that the agent keeps running.
type program struct {
	name string
	// command makes the child of the next start; nil: nothing is to be run now.
	command func() (*exec.Cmd, error)
	// answers says whether the child does what it is for; nil: as soon as it runs.
	answers func() bool
	// after is what must be up before a start.
	after *program
	// yields is the port on which servers in the child give way to the agent's;
	// 0: none.
	yields uint16

	log  *slog.Logger
	wait func(ctx context.Context, d time.Duration) // between looks and starts

	mu    sync.Mutex
	state programState
}

// program returns a program of the agent's that is made by command.
func (a *agent) program(name string, command func() (*exec.Cmd, error)) *program {
	return &program{name: name, command: command, log: a.log, wait: pause}
}

// programState is what became of a program.
type programState struct {
	Running  bool      // there is a process
	Up       bool      // and it answers
	Started  time.Time // the present process, or the last
	Restarts int
	LastExit *exit
}

// exit is the end of a process that was not asked to end.
type exit struct {
	At     time.Time `json:"at"`
	Code   int       `json:"code"` // -1 with a signal
	Signal string    `json:"signal,omitempty"`
	Ran    float64   `json:"ran"` // seconds
	Error  string    `json:"error,omitempty"`
}

func (p *program) now() programState {
	if p == nil {
		return programState{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

func (p *program) set(change func(*programState)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.state)
}

// run keeps the program running until ctx ends, and returns when none of its
// processes is left.
func (p *program) run(ctx context.Context) {
	pause := shortestWait
	for ctx.Err() == nil {
		if p.after != nil && !p.after.now().Up {
			p.wait(ctx, lookEvery)
			continue
		}
		began := time.Now()
		ended := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if ended == nil { // nothing to run
			p.wait(ctx, time.Second)
			continue
		}
		if time.Since(began) > goodRun {
			pause = shortestWait
		}
		p.set(func(s *programState) { s.LastExit = ended; s.Restarts++ })
		p.log.Warn("program has ended", "service", p.name, "code", ended.Code, "signal", ended.Signal,
			"ran", ended.Ran, "again_in", pause.String(), "err", ended.Error)
		p.wait(ctx, pause)
		pause = min(2*pause, longestPause)
	}
}

// once runs the program to its end, and ends what it leaves behind.
func (p *program) once(ctx context.Context) *exit {
	cmd, err := p.command()
	if cmd == nil && err == nil {
		return nil
	}
	began := time.Now()
	failed := func(err error) *exit { return &exit{At: time.Now().UTC(), Code: -1, Error: err.Error()} }
	if err != nil {
		return failed(err)
	}
	all := newTree(rand.Text())
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, treeMark+"="+all.mark)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var binds *bindWatch
	if p.yields != 0 {
		if binds, err = watchBinds(cmd, p.yields, p.log.With("service", p.name)); err != nil {
			return failed(err)
		}
	}
	// A pipe of our own: os/exec's would be waited for until the last process
	// that inherited it has ended.
	out, in, err := os.Pipe()
	if err != nil {
		return failed(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	in.Close()
	if binds != nil {
		binds.started()
	}
	if err != nil {
		out.Close()
		return failed(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.copyLines(out) })
	p.set(func(s *programState) { s.Running, s.Started = true, began })

	dead := make(chan struct{})
	looking, stopLooking := context.WithCancel(ctx)
	defer stopLooking()
	reading.Go(func() { p.look(looking) })
	go func() {
		defer close(dead)
		cmd.Wait()
	}()
	select {
	case <-dead:
	case <-ctx.Done():
		p.set(func(s *programState) { s.Up = false })
		if err := all.end(endGrace); err != nil {
			p.log.Error("program does not end", "service", p.name, "err", err)
		}
		<-dead
	}
	stopLooking()
	p.set(func(s *programState) { s.Running, s.Up = false, false })
	if err := all.end(endGrace); err != nil {
		p.log.Error("program leaves processes behind", "service", p.name, "err", err)
	}
	out.Close()
	reading.Wait()
	p.set(func(s *programState) { s.Up = false }) // the last look may have been late
	return exitOf(cmd.ProcessState, time.Since(began))
}

// look waits until the program answers.
func (p *program) look(ctx context.Context) {
	for ctx.Err() == nil {
		if p.answers == nil || p.answers() {
			p.set(func(s *programState) { s.Up = s.Running })
			p.log.Info("program is up", "service", p.name, "took", time.Since(p.now().Started).Round(time.Millisecond).String())
			return
		}
		p.wait(ctx, lookEvery)
	}
}

func exitOf(s *os.ProcessState, ran time.Duration) *exit {
	e := &exit{At: time.Now().UTC(), Code: s.ExitCode(), Ran: ran.Round(time.Millisecond).Seconds()}
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		e.Signal = w.Signal().String()
	}
	return e
}

// copyLines puts what a program prints into the agent's log, which is the
// container's.
func (p *program) copyLines(r io.Reader) {
	b := bufio.NewReaderSize(r, maxLine)
	for {
		line, more, err := b.ReadLine()
		if len(line) > 0 {
			p.log.Info("output", "service", p.name, "line", string(line))
		}
		for more && err == nil { // the rest of a line that is too long
			_, more, err = b.ReadLine()
		}
		if err != nil {
			return
		}
	}
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
