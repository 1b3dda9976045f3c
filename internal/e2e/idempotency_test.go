package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/ide"
)

// TestSameKeyWhileWorkersAreKilled sends one request 50 times at once to two
// API processes, while the worker is killed every second and another takes
// its place.
func TestSameKeyWhileWorkersAreKilled(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	second := c.apiPort + 2
	c.start("api", fmt.Sprintf("LISTEN=:%d", second))
	replicas := []*http.Client{c.http, clientIn(c.net, fmt.Sprintf("127.0.0.1:%d", second))}
	c.answers(replicas[1])
	worker := c.worker("n1")

	const times, kills = 50, 6
	type reply struct {
		answer
		err error
	}
	replies := make(chan reply, times)
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for i := range times {
		wg.Go(func() {
			<-gate
			a, err := c.callOn(replicas[i%2], "POST", "/api/containers/start", `{"s3Bucket":"workspace"}`, "Idempotency-Key", "once")
			replies <- reply{a, err}
		})
	}
	close(gate)
	for range kills {
		time.Sleep(time.Second) // the pace of the kills is what is tested
		c.end(worker, syscall.SIGKILL)
		worker = c.start("worker", "DOCKER_HOST="+c.lab.Node("n1").Sock, "ENGINE_EXEC_ROOT="+c.lab.Node("n1").ExecRoot, "HOST_NETNS="+c.lab.Node("n1").NetNS)
	}
	wg.Wait()
	close(replies)
	answers := map[string]int{}
	for r := range replies {
		if r.err != nil || r.status != http.StatusAccepted {
			t.Errorf("got %s, %v", r.answer, r.err)
		}
		answers[string(r.body)]++
	}
	if len(answers) != 1 {
		t.Errorf("got %d different answers to %d requests: %v", len(answers), times, answers)
	}
	list, total, err := c.store.Containers(context.Background(), allContainers)
	if err != nil || total != 1 {
		t.Fatalf("got %d containers, %v, want one", total, err)
	}
	j := c.succeed(list[0].Job)
	t.Logf("%d requests, %d workers killed, attempt %d of %d succeeded", times, kills, j.Attempt, j.MaxAttempts)
	if got := c.get(list[0].ID).Status; got != ide.Running {
		t.Errorf("the container is %s", got)
	}
	if m := c.made(); len(m.services) != 1 || len(m.secrets) != 1 || len(m.configs) != 1 {
		t.Errorf("the engine has %+v, want one service, one secret, one config", m)
	}
	for i, replica := range replicas { // and later, when it runs
		a, err := c.callOn(replica, "POST", "/api/containers/start", `{"s3Bucket":"workspace"}`, "Idempotency-Key", "once")
		if err != nil || answers[string(a.body)] != times {
			t.Errorf("replica %d, asked again: got %s, %v, want the first answer", i, a, err)
		}
	}
}
