package functions

import (
	"context"
	"errors"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"

	"github.com/redis/go-redis/v9/logging"
)

func init() { logging.Disable() } // go-redis tells stderr of every Redis that is meant to be away

// scriptedArgs are those of the tests' own functions.
type scriptedArgs struct {
	Request
	ID   string `json:"id"`
	Note string `json:"note,omitempty"`
}

// script is what a scripted function does in one execution. It travels in the
// context.
type script struct {
	run  func(context.Context) error
	fail func(context.Context, *ide.Error) error // nil is a failure of the test's own
}

type scriptKey struct{}

var errUnscripted = errors.New("the script does not say what happens")

// scripted returns a function of the tests' own, about a new container.
func scripted(name string, change func(*Function[scriptedArgs])) *Function[scriptedArgs] {
	f := Function[scriptedArgs]{
		Name: name, Queue: queue.Default, Attempts: 3, Timeout: time.Minute, Cancelable: true,
		Expect: []ide.Status{ide.Starting, ide.Running},
		Admit: func(_ context.Context, _ *Deps, p ide.Principal, a *scriptedArgs) (store.Admission, error) {
			if a.ID != "" {
				return store.Admission{Container: a.ID}, nil
			}
			a.ID = ide.NewID()
			return store.Admission{New: &ide.Container{ID: a.ID, Run: 1, Owner: p.Name, Status: ide.Starting, CreatedAt: time.Now()}}, nil
		},
		Run: func(ctx context.Context, _ *Deps, _ scriptedArgs) error {
			if s, ok := ctx.Value(scriptKey{}).(script); ok && s.run != nil {
				return s.run(ctx)
			}
			return errUnscripted
		},
		Fail: func(ctx context.Context, _ *Deps, _ scriptedArgs, cause *ide.Error) error {
			if s, ok := ctx.Value(scriptKey{}).(script); ok && s.fail != nil {
				return s.fail(ctx, cause)
			}
			return errUnscripted
		},
	}
	if change != nil {
		change(&f)
	}
	return define(f)
}

var (
	testUsual = scripted("test-usual", nil)
	testOther = scripted("test-other", nil)
	testBrief = scripted("test-brief", func(f *Function[scriptedArgs]) { f.Timeout, f.Attempts = 100*time.Millisecond, 2 })
	testClean = scripted("test-clean", func(f *Function[scriptedArgs]) { f.Timeout, f.Attempts = 3*time.Second, 2 })
	testBare  = scripted("test-bare", func(f *Function[scriptedArgs]) {
		f.Fail, f.Expect, f.Cancelable, f.Cron = nil, nil, false, "@every 1h"
		f.Admit = func(context.Context, *Deps, ide.Principal, *scriptedArgs) (store.Admission, error) {
			return store.Admission{}, nil
		}
	})
)

// admit asks for a job of a scripted function.
func (b *bench) admit(f *Function[scriptedArgs], a scriptedArgs) store.Admitted {
	b.Helper()
	out, err := f.Enqueue(b.Context(), b.Deps, alice, &a)
	b.must(err)
	return out
}

// play executes a job once, as the script says.
func (b *bench) play(job string, s script) error {
	return Execute(context.WithValue(b.Context(), scriptKey{}, s), b.Deps, newest(job))
}

// failed returns a script whose run ends with an error, and counts how often
// its parts are called.
func failed(err error, fail error, runs, fails *int) script {
	return script{
		run:  func(context.Context) error { *runs++; return err },
		fail: func(context.Context, *ide.Error) error { *fails++; return fail },
	}
}

// newest is a delivery of a job that no other has replaced.
func newest(job string) queue.Delivery { return queue.Delivery{Job: job, Number: 1 << 20} }
