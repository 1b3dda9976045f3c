package functions

import (
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/seal"
	"berth/internal/store"

	"github.com/redis/go-redis/v9"
)

// helperRedis tells the test binary to be a worker that another test kills.
const helperRedis = "BERTH_TEST_WEBHOOK_WORKER"

// TestWebhookWorkerProcess is the worker of the test below: it moves a
// container and delivers, until it is killed.
func TestWebhookWorkerProcess(t *testing.T) {
	network, rest, ok := strings.Cut(os.Getenv(helperRedis), " ")
	address, id, _ := strings.Cut(rest, " ")
	if !ok {
		t.Skip("it runs as a process of another test's")
	}
	box, err := seal.New("secret-key-secret-key-secret-key-secret")
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Network: network, Addr: address})
	b := &bench{tb: tb{t}, rdb: rdb, Deps: &Deps{Store: store.New(rdb, store.Config{}), Box: box, Log: slog.New(slog.DiscardHandler)}}
	b.courier()
	_, err = b.Store.Move(t.Context(), id, 1, ide.Running, "test", "", nil)
	b.must(err)
	<-t.Context().Done()
}

func TestWorkerKilledBetweenMoveAndDelivery(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	reached := make(chan struct{})
	s := newSink(t, func(n int, _ http.ResponseWriter, r *http.Request) {
		if n == 1 {
			close(reached)
			<-r.Context().Done() // the worker is gone
		}
	})
	w, secret := b.hook(alice, s.URL, "container.running")
	id := b.create(CreateContainerRequest{}).Container.ID
	opt := b.rdb.Options()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWebhookWorkerProcess$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), helperRedis+"="+opt.Network+" "+opt.Addr+" "+id)
	b.must(cmd.Start())
	killed := make(chan struct{})
	go func() { defer close(killed); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-killed })
	select {
	case <-reached:
	case <-time.After(time.Minute):
		t.Fatal("the worker delivers nothing")
	}
	b.must(cmd.Process.Kill())
	<-killed
	if c := b.container(id); c.Status != ide.Running {
		t.Fatalf("it is %s", c.Status)
	}
	// its claim ends after HookLease, which is not waited for here
	b.must(b.rdb.HSet(t.Context(), "{berth}:hook:"+w.ID, "claim", "0").Err())
	b.must(b.rdb.ZAdd(t.Context(), "{berth}:hooks:slow", redis.Z{Member: w.ID}).Err())
	b.courier()
	b.first(w.ID, delivered)
	verify(t, secret, s.all()[1])
}
