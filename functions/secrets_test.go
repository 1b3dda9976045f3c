package functions

import (
	"testing"

	"berth/internal/ide"
	"berth/internal/leaktest"
)

// places are the texts that stand somewhere, by where.
type places map[string]string

// look takes up all that Redis and the engine have.
func (p places) look(b *bench, when string) {
	b.Helper()
	redis, err := leaktest.Redis(b.Context(), b.rdb)
	b.must(err)
	for k, v := range redis {
		p[when+": "+k] = v
	}
	for _, kind := range []string{"services", "configs", "secrets", "tasks", "networks", "nodes"} {
		p[when+": engine's "+kind] = b.ask(kind)
	}
	for _, r := range records(b) {
		p[when+": data of the config of "+r.Container.ID] = string(r.Data)
	}
}

// wantNone checks that none of the secrets stands anywhere.
func (p places) wantNone(t *testing.T, secrets map[string]string) {
	t.Helper()
	for where, text := range p {
		for what, secret := range secrets {
			if form := leaktest.Find(text, secret); form != "" {
				t.Errorf("%s: %s in %s", what, form, where)
			}
		}
	}
}

func TestNoSecretLeaves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	planted := map[string]string{"VNC password": `p"w/ü&+`, "AWS secret": `wJalrX/K7MDENG+bPx"<RfiC&YEXAMPLE`, "AWS key ID": "AKIAIOSFODNN7EXAMPLE"}
	seen := places{}
	look := func(when string) { t.Helper(); seen.look(b, when) }
	ask := func(id string) *CreateContainerArgs {
		return &CreateContainerArgs{Request: Request{IdempotencyKey: id}, Body: CreateContainerRequest{S3Bucket: "workspace", Labels: map[string]string{"a": "b"},
			VNCPassword: planted["VNC password"], AWSAccessKeyID: planted["AWS key ID"], AWSSecretAccessKey: planted["AWS secret"]}}
	}
	out, err := CreateContainer.Enqueue(t.Context(), b.Deps, alice, ask("idem"))
	b.must(err)
	secrets, err := Secrets(b.Deps, out.Container)
	b.must(err)
	planted["agent token"], planted["code-server password"] = secrets.AgentToken, secrets.CodePassword
	look("queued")
	answer := CreateContainer.answer(out.Container, out.Job)
	again, err := CreateContainer.Enqueue(t.Context(), b.Deps, alice, ask("idem"))
	b.must(err)
	seen["the answer"], seen["the answer again"] = answer, again.Answered
	b.execute(out.Job.ID, ide.JobSucceeded)
	look("running")

	b.inside.say("agent", answer401)
	failing, err := CreateContainer.Enqueue(t.Context(), b.Deps, alice, ask("failing"))
	b.must(err)
	b.execute(failing.Job.ID, ide.JobFailed)
	look("failed")
	b.execute(b.stop(StopContainerArgs{ID: out.Container.ID}).Job.ID, ide.JobSucceeded)
	look("stopped")
	seen["the log"] = b.log.String()

	seen.wantNone(t, planted)
	if len(b.inside.given) != 2 {
		t.Fatalf("containers got %d secrets, want 2", len(b.inside.given))
	}
	for what, secret := range planted {
		if leaktest.Find(b.inside.given[0], secret) == "" {
			t.Errorf("the container did not get the %s: %q", what, b.inside.given[0])
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d places were looked at", len(seen))
	}
}

var answer401 = answer{status: 401}
