package swarm

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"time"

	"berth/internal/ide"
)

// Labels of ours. Services and containers carry the first four and the
// user's; configs all but the user's, which are in the record.
const (
	LabelInstance = "berth.instance"
	LabelID       = "berth.id"
	LabelRun      = "berth.run"
	LabelOwner    = "berth.owner"
	LabelStatus   = "berth.status"
	LabelCreated  = "berth.created"
	LabelRecord   = "berth.record" // JSON of ide.Container without Sealed and Watch

	LabelEdge = "berth.edge"   // "true" on services whose tasks may call containers
	userLabel = "berth.label." // prefix of labels that users gave
)

// identityLabels say whose a service, container or secret is.
func identityLabels(instance, id string, run int) map[string]string {
	return map[string]string{
		LabelInstance: instance,
		LabelID:       id,
		LabelRun:      strconv.Itoa(run),
	}
}

// containerLabels are ours and the user's. User labels are prefixed: nobody
// gives himself a label that the engine, Traefik or Berth obeys.
func containerLabels(instance string, rec ide.Container) map[string]string {
	l := identityLabels(instance, rec.ID, rec.Run)
	l[LabelOwner] = rec.Owner
	for k, v := range rec.Labels {
		l[userLabel+k] = v
	}
	return l
}

// serviceLabels are containerLabels and, where Traefik routes by labels,
// Traefik's.
func serviceLabels(cfg Config, rec ide.Container) map[string]string {
	l := containerLabels(cfg.Instance, rec)
	maps.Copy(l, traefikLabels(cfg, rec))
	return l
}

// traefikLabels are those of Traefik's Swarm provider
// (doc.traefik.io/traefik/reference/routing-configuration/other-providers/swarm).
// Each router names its service: with three services on one Swarm service
// Traefik does not guess.
func traefikLabels(cfg Config, rec ide.Container) map[string]string {
	if cfg.Routing != RoutingLabels {
		return nil
	}
	network := "traefik.swarm.network"
	if cfg.TraefikV2 {
		network = "traefik.docker.network"
	}
	l := map[string]string{"traefik.enable": "true", network: cfg.Network}
	for _, p := range ide.Ports {
		u, err := url.Parse(rec.URLs.Of(p))
		if err != nil || u.Hostname() == "" {
			continue
		}
		name := p.Name + "-" + rec.ID
		router := "traefik.http.routers." + name
		l[router+".rule"] = "Host(`" + u.Hostname() + "`)"
		l[router+".service"] = name
		if cfg.EntryPoint != "" {
			l[router+".entrypoints"] = cfg.EntryPoint
		}
		switch {
		case cfg.CertResolver != "":
			l[router+".tls.certresolver"] = cfg.CertResolver
		case u.Scheme == "https":
			l[router+".tls"] = "true"
		}
		l["traefik.http.services."+name+".loadbalancer.server.port"] = strconv.Itoa(int(p.Number))
	}
	return l
}

// recordLabels are those of a container's config.
func recordLabels(instance string, rec ide.Container) (map[string]string, error) {
	rec.Sealed, rec.Watch = "", ide.Watch{}
	b, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	l := identityLabels(instance, rec.ID, rec.Run)
	l[LabelOwner] = rec.Owner
	l[LabelStatus] = string(rec.Status)
	l[LabelCreated] = rec.CreatedAt.UTC().Format(time.RFC3339Nano)
	l[LabelRecord] = string(b)
	return l, nil
}

// parseIdentity reads ID and run back from the labels of a service, container
// or config.
func parseIdentity(labels map[string]string) (id string, run int, err error) {
	id = labels[LabelID]
	if !ide.ValidID(id) {
		return "", 0, fmt.Errorf("label %s: %q is not an ID", LabelID, id)
	}
	run, err = strconv.Atoi(labels[LabelRun])
	if err != nil || run < 0 {
		return "", 0, fmt.Errorf("label %s: %q is not a number of a run", LabelRun, labels[LabelRun])
	}
	return id, run, nil
}

// parseRecord reads a container back from the labels of its config. The plain
// labels must agree with the record: where they do not, somebody has edited
// one of them, and neither can be believed.
func parseRecord(labels map[string]string) (ide.Container, error) {
	id, run, err := parseIdentity(labels)
	if err != nil {
		return ide.Container{}, err
	}
	var rec ide.Container
	if err := json.Unmarshal([]byte(labels[LabelRecord]), &rec); err != nil {
		return ide.Container{}, fmt.Errorf("label %s: %w", LabelRecord, err)
	}
	if rec.ID != id || rec.Run != run || rec.Owner != labels[LabelOwner] || string(rec.Status) != labels[LabelStatus] {
		return ide.Container{}, fmt.Errorf("label %s contradicts the other labels", LabelRecord)
	}
	rec.Sealed = ""
	return rec, nil
}
