package functions

import (
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/seal"
)

const (
	oldKey = "secret-key-secret-key-secret-key-secret"
	newKey = "another-key-another-key-another-key-anoth"
)

// While SECRET_KEY is replaced processes with the old and the new setting live side by
// side. In two steps, "old,new" and then "new,old", each opens what any other seals,
// and knows a request that another has answered.
func TestKeyIsReplacedInTwoSteps(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	with := func(keys ...string) *Deps {
		box, err := seal.New(keys...)
		b.must(err)
		d := *b.Deps
		d.Box = box
		return &d
	}
	for _, step := range [][2]*Deps{
		{with(oldKey), with(oldKey, newKey)},
		{with(oldKey, newKey), with(newKey, oldKey)},
		{with(newKey, oldKey), with(newKey)},
	} {
		for _, pair := range [][2]*Deps{{step[0], step[1]}, {step[1], step[0]}} {
			asks, other := pair[0], pair[1]
			ask := func(d *Deps, key string) (string, error) {
				a := &CreateContainerArgs{Request: Request{IdempotencyKey: key}, Body: CreateContainerRequest{S3Bucket: "workspace", S3Prefix: key}}
				out, err := CreateContainer.Enqueue(t.Context(), d, alice, a)
				if err == nil && out.Answered == "" {
					b.executeWith(other, out.Job.ID)
				}
				return out.Answered, err
			}
			key := ide.NewID()
			if _, err := ask(asks, key); err != nil {
				t.Fatal(err)
			}
			if was, err := ask(other, key); err != nil || was == "" {
				t.Errorf("the same request at a process with other keys: %q, %v, want the first answer", was, err)
			}
		}
	}
}

// executeWith works on a job in a process of its own settings.
func (b *bench) executeWith(d *Deps, job string) {
	b.Helper()
	if err := Execute(b.Context(), d, newest(job)); err != nil {
		b.Fatalf("execute %s: %v", job, err)
	}
	if j := b.job(job); j.Status != ide.JobSucceeded {
		b.Fatalf("%s is %s: %v", job, j.Status, j.Error)
	}
}

// A key that this process lacks may be another's, or this one's when it is started
// anew: the start is tried again.
func TestStartWithoutTheKeyIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.create(CreateContainerRequest{}).Job.ID
	late := *b.Deps
	var err error
	late.Box, err = seal.New(newKey)
	b.must(err)
	retry(t, Execute(t.Context(), &late, newest(job)), time.Second)
	b.execute(job, ide.JobSucceeded)

	// a key that never comes is the end of the start, and of what was made of it
	out := b.create(CreateContainerRequest{})
	b.must(b.rdb.HSet(t.Context(), "{berth}:j:"+out.Job.ID, "attempt", CreateContainer.Attempts-1).Err())
	b.must(Execute(t.Context(), &late, newest(out.Job.ID)))
	c := b.container(out.Container.ID)
	if c.Status != ide.Failed || c.Error == nil || c.Error.Code != ide.ContainerStartFailed || !strings.Contains(c.Error.Message, "SECRET_KEY") {
		t.Errorf("it is %s: %+v", c.Status, c.Error)
	}
}
