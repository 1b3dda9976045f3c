package swarm_test

import (
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"
)

// open returns a client of a fake of its own.
func open(t *testing.T, s *swarmtest.Server) *swarm.Client {
	t.Helper()
	c, err := swarm.New(swarm.Config{Host: s.Host(), Instance: "test", Network: "ide-network"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestExerciseFake(t *testing.T) {
	t.Parallel()
	swarmtest.Exercise(t, func(t *testing.T) (*swarm.Client, swarmtest.Env) {
		s := swarmtest.NewServer(t)
		s.Reject("missing:1", "No such image: missing:1")
		s.Exit("exiting:1", 3)
		env := swarmtest.Env{
			Config:  swarm.Config{Host: s.Host(), Instance: "t-" + ide.NewID(), Network: "ide-network"},
			Node:    s.NodeID(),
			Image:   "agent:1",
			Missing: "missing:1",
			Exiting: "exiting:1",
			Timeout: 20 * time.Second,
		}
		c, err := swarm.New(env.Config)
		if err != nil {
			t.Fatal(err)
		}
		return c, env
	})
}
