package swarm

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
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
			Resources:     resources(rec.Resources, rec.Generic),
			RestartPolicy: &swarm.RestartPolicy{
				Condition:   swarm.RestartPolicyConditionOnFailure,
				Delay:       ptr(restartDelay),
				MaxAttempts: ptr(uint64(restartAttempts)),
				Window:      ptr(restartWindow),
			},
			Placement: placement(rec),
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
		Env:             environment(cfg, rec),
		Mounts:          append([]mount.Mount{volumeMount(cfg.Instance, rec)}, tmpfs(rec.Hardening)...),
		ReadOnly:        rec.Hardening.ReadOnly,
		User:            userID + ":" + groupID,
		Init:            ptr(true),
		StopGracePeriod: ptr(cfg.StopGrace),
		CapabilityDrop:  []string{"ALL"},
		CapabilityAdd:   rec.Hardening.Capabilities,
		Secrets: []*swarm.SecretReference{{
			SecretID:   secretID,
			SecretName: secretName(rec.ID, rec.Run),
			File:       &swarm.SecretReferenceFileTarget{Name: "berth", UID: userID, GID: groupID, Mode: 0o400},
		}},
	}
}

func resources(r ide.Resources, others map[string]int64) *swarm.ResourceRequirements {
	return &swarm.ResourceRequirements{
		Limits:       &swarm.Limit{NanoCPUs: r.CPULimit, MemoryBytes: r.MemoryLimit, Pids: r.PIDs},
		Reservations: &swarm.Resources{NanoCPUs: r.CPUReservation, MemoryBytes: r.MemoryReservation, GenericResources: generic(others)},
	}
}

// generic is what a container reserves of what the engine knows by name only.
func generic(wanted map[string]int64) (list []swarm.GenericResource) {
	for _, kind := range slices.Sorted(maps.Keys(wanted)) {
		list = append(list, swarm.GenericResource{DiscreteResourceSpec: &swarm.DiscreteGenericResource{Kind: kind, Value: wanted[kind]}})
	}
	return list
}

func placement(rec ide.Container) *swarm.Placement {
	var constraints []string
	if rec.Node != "" {
		constraints = append(constraints, "node.id=="+rec.Node)
	}
	if constraints = append(constraints, rec.Placement...); constraints == nil {
		return nil
	}
	return &swarm.Placement{Constraints: constraints}
}

// volumeName is the name of a container's workspace volume, on each node where
// it has run and was not yet cleaned up after.
func volumeName(instance, id string) string { return "berth-" + instance + "-" + id }

// volumeMount keeps the home folder over a crash of the container: the workspace,
// and beside it Berth's own state. A new volume gets the files and the owner of the
// image's folder (Docker documentation, "Volumes": populate a volume using a
// container). An image without an agent has the workspace only.
func volumeMount(instance string, rec ide.Container) mount.Mount {
	target := ide.HomeDir
	if rec.NoAgent {
		target = ide.WorkspaceDir
	}
	return mount.Mount{
		Type: mount.TypeVolume, Source: volumeName(instance, rec.ID), Target: target,
		VolumeOptions: &mount.VolumeOptions{Labels: map[string]string{LabelInstance: instance, LabelID: rec.ID}},
	}
}

// tmpfs are a template's folders in memory; what is in them counts as the
// container's memory.
func tmpfs(h ide.Hardening) []mount.Mount {
	var list []mount.Mount
	for _, p := range h.Tmpfs {
		list = append(list, mount.Mount{Type: mount.TypeTmpfs, Target: p, TmpfsOptions: &mount.TmpfsOptions{Mode: 0o1777}})
	}
	return list
}

// environment of a container: the template's, and ours, which win.
func environment(cfg Config, rec ide.Container) []string {
	var env []string
	for _, k := range slices.Sorted(maps.Keys(rec.Env)) {
		env = append(env, k+"="+rec.Env[k])
	}
	if rec.WebCommand != "" {
		env = append(env, "WEB_COMMAND="+rec.WebCommand)
	}
	env = append(env, "BERTH_ID="+rec.ID, ide.GraceVariable+"="+strconv.Itoa(int(cfg.StopGrace.Seconds())))
	if cfg.Guarded {
		env = append(env, ide.GuardedVariable+"=true")
	}
	return env
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
// container), hence the long interval afterwards. An image without an agent
// has its own check, if any.
func modernize(spec *swarm.ServiceSpec, rec ide.Container) {
	spec.TaskTemplate.ContainerSpec.Privileges = &swarm.Privileges{NoNewPrivileges: true}
	if rec.NoAgent {
		return
	}
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
