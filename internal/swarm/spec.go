package swarm

import (
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
)

// What a container's process runs as: the user that owns the secret file and
// the workspace in every IDE image.
const (
	userID  = "1000"
	groupID = "1000"
)

// Swarm's own restarts, for a process that dies. A container that cannot stay
// up is reported failed rather than restarted for ever.
const (
	restartAttempts = 3
	restartDelay    = 2 * time.Second
	restartWindow   = 5 * time.Minute
)

// Spec returns the Swarm service of one run of a container. It is pure: the
// same container gives the same service. secretID is the engine's ID of the
// run's secret, the fence of rule 6: Swarm refuses the service once it is gone.
//
// Nothing newer than API 1.41 is set here; see modernize for the rest.
func Spec(cfg Config, rec ide.Container, secretID string) swarm.ServiceSpec {
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{
			Name:   rec.ServiceName(),
			Labels: serviceLabels(cfg, rec),
		},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: containerSpec(cfg, rec, secretID),
			Resources:     resources(rec.Resources),
			RestartPolicy: &swarm.RestartPolicy{
				Condition:   swarm.RestartPolicyConditionOnFailure,
				Delay:       ptr(restartDelay),
				MaxAttempts: ptr(uint64(restartAttempts)),
				Window:      ptr(restartWindow),
			},
			Placement: placement(rec.Node),
			Networks:  []swarm.NetworkAttachmentConfig{{Target: cfg.Network}},
			LogDriver: &swarm.Driver{
				Name:    "json-file",
				Options: map[string]string{"max-size": "10m", "max-file": "2"},
			},
		},
		Mode: swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: ptr(uint64(1))}},
		// A virtual IP would cost a second address of the overlay and IPVS in
		// the kernel, and balance over one task.
		EndpointSpec: &swarm.EndpointSpec{Mode: swarm.ResolutionModeDNSRR},
	}
}

func containerSpec(cfg Config, rec ide.Container, secretID string) *swarm.ContainerSpec {
	return &swarm.ContainerSpec{
		Image:           rec.Image,
		Labels:          containerLabels(cfg.Instance, rec),
		Hostname:        rec.ID,
		Env:             []string{"BERTH_ID=" + rec.ID},
		User:            userID + ":" + groupID,
		Init:            ptr(true),
		StopGracePeriod: ptr(cfg.StopGrace),
		CapabilityDrop:  []string{"ALL"},
		Secrets: []*swarm.SecretReference{{
			SecretID:   secretID,
			SecretName: secretName(rec.ID, rec.Run),
			File:       &swarm.SecretReferenceFileTarget{Name: "berth", UID: userID, GID: groupID, Mode: 0o400},
		}},
	}
}

func resources(r ide.Resources) *swarm.ResourceRequirements {
	return &swarm.ResourceRequirements{
		Limits:       &swarm.Limit{NanoCPUs: r.CPULimit, MemoryBytes: r.MemoryLimit, Pids: r.PIDs},
		Reservations: &swarm.Resources{NanoCPUs: r.CPUReservation, MemoryBytes: r.MemoryReservation},
	}
}

func placement(node string) *swarm.Placement {
	if node == "" {
		return nil
	}
	return &swarm.Placement{Constraints: []string{"node.id==" + node}}
}

func ptr[T any](v T) *T { return &v }

// modernAPI is the version from which modernize applies (Engine 25).
const modernAPI = "1.44"

// modernize adds what only newer engines take: no new privileges, which older
// ones have as a daemon-wide default only, and a health check.
//
// Swarm calls a task with a health check running after its first good check,
// and the first comes one interval after the start: with 10 s, as good as
// every create would take 10 s (measured). Engine 25 has a short interval of
// its own for the start; older ones get no check, and rely on the probes of
// the control plane. A check costs about 0.1 s of CPU (an exec in the
// container), hence the long interval afterwards.
func modernize(spec *swarm.ServiceSpec) {
	spec.TaskTemplate.ContainerSpec.Privileges = &swarm.Privileges{NoNewPrivileges: true}
	spec.TaskTemplate.ContainerSpec.Healthcheck = &container.HealthConfig{
		// Only "the agent is alive": a restore may take long, and Swarm kills
		// what it calls unhealthy.
		Test:          []string{"CMD", "/agent", "health"},
		Interval:      30 * time.Second,
		Timeout:       5 * time.Second,
		StartPeriod:   time.Minute,
		StartInterval: 250 * time.Millisecond,
		Retries:       6,
	}
}
