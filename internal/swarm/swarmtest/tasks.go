package swarmtest

import (
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/pkg/stdcopy"
)

// Started is a container that the fake has started.
type Started struct {
	ID      string // label berth.id of its container spec; empty for services of others
	Image   string
	Node    string
	Address netip.Addr // a loopback address: the test may listen there
	Secret  []byte     // data of its first secret, or nil
}

// OnStart has start called whenever a container starts; what start returns
// (may be nil) is called when the container ends. Neither may call the Server.
func (s *Server) OnStart(start func(Started) (stop func())) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onStart = start
}

// Kill ends the running container of a task of a service (by name), as if its
// process had ended with a code.
func (s *Server) Kill(service string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.service(service)
	if x == nil {
		return
	}
	for _, t := range s.tasks {
		if t.ServiceID == x.ID && t.Status.State == swarm.TaskStateRunning {
			s.exit(t, code)
		}
	}
}

// task is a task with what the API does not show of it.
type task struct {
	swarm.Task
	serviceLabels map[string]string
	address       netip.Prefix
	container     string // engine ID; empty before it is made
	running       bool   // its process
	began         time.Time
	code          int    // its exit code
	attempt       int    // counts Swarm's restarts
	stopped       func() // from OnStart
	log           containerLog
	use           Use
}

func (t *task) inspect() container.InspectResponse {
	state := &container.State{Running: t.running, ExitCode: t.code, StartedAt: t.began.Format(time.RFC3339Nano)}
	state.Status = "exited"
	if t.running {
		state.Status = "running"
	}
	host := &container.HostConfig{}
	if r := t.Spec.Resources; r != nil && r.Limits != nil {
		host.NanoCPUs, host.Memory = r.Limits.NanoCPUs, r.Limits.MemoryBytes
	}
	return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{ID: t.container, State: state, HostConfig: host}}
}

// after runs the next step of a task's life, unless the test has ended.
func (s *Server) after(d time.Duration, t *task, step func(*task)) {
	time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		select {
		case <-s.done:
		default:
			if s.tasks[t.ID] == t {
				step(t)
			}
		}
	})
}

// walk is after for the way up, which a task leaves when it is told to stop.
func (s *Server) walk(t *task, step func(*task)) {
	s.after(Step, t, func(t *task) {
		if t.DesiredState == swarm.TaskStateRunning {
			step(t)
		}
	})
}

func (s *Server) set(t *task, state swarm.TaskState, message, err string) {
	t.Status.State, t.Status.Message, t.Status.Err, t.Status.Timestamp = state, message, err, time.Now().UTC()
	s.touch(&t.Meta)
}

// phases of a task's walk.
const (
	queued = iota
	placed
	ended
)

func (t *task) phase() int {
	switch t.Status.State {
	case swarm.TaskStateNew, swarm.TaskStatePending:
		return queued
	case swarm.TaskStateComplete, swarm.TaskStateShutdown, swarm.TaskStateFailed, swarm.TaskStateRejected, swarm.TaskStateOrphaned:
		return ended
	default:
		return placed
	}
}

// startTask makes a service's next task; last is the one it replaces.
func (s *Server) startTask(x *swarm.Service, last *task) {
	t := &task{serviceLabels: x.Spec.Labels}
	t.Task = swarm.Task{ID: newID(), Meta: s.meta(), Spec: x.Spec.TaskTemplate, ServiceID: x.ID, Slot: 1, DesiredState: swarm.TaskStateRunning}
	if last != nil {
		t.attempt = last.attempt + 1
	}
	s.tasks[t.ID] = t
	s.set(t, swarm.TaskStateNew, "created", "")
	s.walk(t, s.allocate)
}

// allocate gives a task its addresses. Without one it stays new, without a
// word, as in Swarm.
func (s *Server) allocate(t *task) {
	if len(t.Spec.Networks) > 0 {
		if s.left == 0 {
			s.walk(t, s.allocate)
			return
		}
		s.left--
		s.base = s.base.Next()
		t.address = netip.PrefixFrom(s.base, 16)
	}
	for _, n := range t.Spec.Networks {
		net := s.network(n.Target)
		if net == nil {
			continue
		}
		att := swarm.NetworkAttachment{Addresses: []string{t.address.String()}}
		att.Network.ID, att.Network.Spec.Name = net.ID, net.Name
		t.NetworksAttachments = append(t.NetworksAttachments, att)
	}
	s.set(t, swarm.TaskStatePending, "pending task scheduling", "")
	s.walk(t, s.schedule)
}

// schedule puts a task on a node, or says why there is none and tries again.
func (s *Server) image(t *task) string {
	if t.Spec.ContainerSpec == nil {
		return ""
	}
	return t.Spec.ContainerSpec.Image
}

func (s *Server) prepare(t *task) {
	s.set(t, swarm.TaskStatePreparing, "preparing", "")
	why := s.broken[t.NodeID]
	if why == "" {
		why = s.rejects[s.image(t)]
	}
	if why != "" {
		s.set(t, swarm.TaskStateRejected, "preparing", why)
		s.restart(t)
		return
	}
	s.walk(t, s.start)
}

// start starts the process; Swarm calls the task running a step later.
func (s *Server) start(t *task) {
	t.container, t.running, t.began = newID(), true, time.Now()
	if s.here[t.NodeID] == nil {
		s.here[t.NodeID] = map[string]*task{}
	}
	s.here[t.NodeID][t.container] = t
	t.log.add(t.began, stdcopy.Stderr, "begins\n")
	if t.NodeID == s.self {
		s.makeVolumes(t.Spec)
	}
	t.Status.ContainerStatus = &swarm.ContainerStatus{ContainerID: t.container}
	s.set(t, swarm.TaskStateStarting, "starting", "")
	s.emit(events.ContainerEventType, "start", t.container, t.attributes(nil))
	if s.onStart != nil {
		started := Started{Image: s.image(t), Node: t.NodeID, Address: t.address.Addr()}
		if cs := t.Spec.ContainerSpec; cs != nil {
			started.ID = cs.Labels["berth.id"]
			if len(cs.Secrets) > 0 && s.secrets[cs.Secrets[0].SecretID] != nil {
				started.Secret = s.secrets[cs.Secrets[0].SecretID].Spec.Data
			}
		}
		t.stopped = s.onStart(started)
	}
	if code, ok := s.exits[s.image(t)]; ok {
		t.end(code)
	}
	s.walk(t, func(t *task) {
		t.Status.ContainerStatus.PID = 4711
		s.set(t, swarm.TaskStateRunning, "started", "")
		if !t.running {
			s.walk(t, func(t *task) { s.exit(t, t.code) })
		}
	})
}

func (t *task) attributes(more map[string]string) map[string]string {
	a := map[string]string{"com.docker.swarm.task.id": t.ID}
	if cs := t.Spec.ContainerSpec; cs != nil {
		maps.Copy(a, cs.Labels)
		a["image"] = cs.Image
	}
	maps.Copy(a, more)
	return a
}

// end ends the process, which says so as the suite's own program does.
func (t *task) end(code int) {
	if t.running {
		t.log.add(time.Now(), stdcopy.Stderr, fmt.Sprintf("ends with code %d\n", code))
	}
	t.log.end()
	t.running, t.code = false, code
	if t.stopped != nil {
		t.stopped()
		t.stopped = nil
	}
}

// exit is the end of a process by itself, as Swarm reports it.
func (s *Server) exit(t *task, code int) {
	t.end(code)
	s.emit(events.ContainerEventType, "die", t.container, t.attributes(map[string]string{"exitCode": fmt.Sprint(code)}))
	t.Status.ContainerStatus.ExitCode = code
	if code == 0 {
		s.set(t, swarm.TaskStateComplete, "finished", "")
	} else {
		s.set(t, swarm.TaskStateFailed, "started", exitError(code))
	}
	s.restart(t)
}

// restart follows the service's restart policy, on failure only; its delay is
// one step.
func (s *Server) restart(t *task) {
	x := s.services[t.ServiceID]
	if x == nil || t.DesiredState != swarm.TaskStateRunning {
		return
	}
	t.DesiredState = swarm.TaskStateShutdown
	p := t.Spec.RestartPolicy
	if p == nil || p.Condition != swarm.RestartPolicyConditionOnFailure || t.Status.State == swarm.TaskStateComplete ||
		p.MaxAttempts != nil && uint64(t.attempt) >= *p.MaxAttempts {
		return
	}
	s.startTask(x, t)
}

// stop brings a task down: its process ends a step later, Swarm says so after
// another, and then forgets the task. On a node that is down nothing happens.
func (s *Server) stop(t *task, desired swarm.TaskState) {
	t.DesiredState = desired
	s.touch(&t.Meta)
	var forget func(t *task)
	forget = func(t *task) {
		if s.keeps && t.container != "" && !t.running {
			s.after(Step, t, forget)
			return
		}
		delete(s.tasks, t.ID)
		delete(s.here[t.NodeID], t.container)
	}
	if t.phase() != placed {
		s.after(Step, t, forget)
		return
	}
	if n := s.nodes[t.NodeID]; n == nil || n.Status.State == swarm.NodeStateDown {
		return
	}
	var end func(*task)
	end = func(t *task) {
		if s.lingers {
			s.after(Step, t, end)
			return
		}
		if t.container != "" && t.running {
			t.end(0)
			s.emit(events.ContainerEventType, "die", t.container, t.attributes(map[string]string{"exitCode": "0"}))
		}
		s.after(Step, t, func(t *task) {
			s.set(t, swarm.TaskStateShutdown, "shutdown", "")
			s.after(Step, t, forget)
		})
	}
	s.after(Step, t, end)
}
