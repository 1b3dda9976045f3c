package deploy_test

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// withCertificates is stack.yaml with one of the files of traefik/ laid over
// it, as far as the rules here are about it.
func withCertificates(t *testing.T, name string) map[string]service {
	t.Helper()
	services := read(t)["stack.yaml"].Services
	text, err := os.ReadFile("traefik/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var over file
	if err := yaml.Unmarshal(text, &over); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for key, s := range over.Services {
		base := services[key]
		if base.Image == "" {
			t.Errorf("%s adds to the service %s, which is not in the stack", name, key)
		}
		maps.Copy(base.Environment, s.Environment)
		if s.Deploy.Labels != nil {
			maps.Copy(base.Deploy.Labels, s.Deploy.Labels)
		}
	}
	return services
}

// certificates are the files of traefik/ and the resolver that each brings.
var certificates = map[string]string{"dns01.yaml": "letsencrypt", "http01.yaml": "letsencrypt", "files.yaml": ""}

const (
	apiRouter       = "traefik.http.routers.berth-api"
	containerRouter = "traefik.http.routers.berth-containers"
)

func TestTraefikRoutes(t *testing.T) {
	t.Parallel()
	s := read(t)["stack.yaml"].Services
	for name, router := range map[string]string{"api": apiRouter, "gateway": containerRouter} {
		labels := s[name].Deploy.Labels
		service := labels[router+".service"]
		for label, want := range map[string]string{
			router + ".rule":        map[string]string{"api": "Host(`api.${DOMAIN}`)", "gateway": "PathPrefix(`/`)"}[name],
			router + ".priority":    map[string]string{"gateway": "1"}[name], // below every rule of a container's own
			router + ".entrypoints": "websecure",
			"traefik.enable":        "true",
			"traefik.http.services." + service + ".loadbalancer.server.port": "8080",
		} {
			if got := labels[label]; got != want {
				t.Errorf("%s: %s: got %q, want %q", name, label, got, want)
			}
		}
		if got := s[name].Environment["ROUTING"]; got != "${ROUTING:-labels}" {
			t.Errorf("%s: ROUTING=%s", name, got)
		}
	}
}

func TestTraefikIsClosed(t *testing.T) {
	t.Parallel()
	env := read(t)["stack.yaml"].Services["traefik"].Environment
	for name, want := range map[string]string{
		"TRAEFIK_API_INSECURE":                                      "false",
		"TRAEFIK_PROVIDERS_SWARM_EXPOSEDBYDEFAULT":                  "false",
		"TRAEFIK_ENTRYPOINTS_WEB_HTTP_REDIRECTIONS_ENTRYPOINT_TO":   "websecure",
		"TRAEFIK_ENTRYPOINTS_WEBSECURE_HTTP_TLS":                    "true",
		"TRAEFIK_ENTRYPOINTS_WEBSECURE_HTTP_MIDDLEWARES":            "security@file",
		"TRAEFIK_ENTRYPOINTS_WEBSECURE_FORWARDEDHEADERS_INSECURE":   "", // who calls is who the connection is from
		"TRAEFIK_ENTRYPOINTS_WEBSECURE_FORWARDEDHEADERS_TRUSTEDIPS": "",
	} {
		if env[name] != want {
			t.Errorf("%s: got %q, want %q", name, env[name], want)
		}
	}
	text, err := os.ReadFile("traefik/dynamic.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var dynamic struct {
		HTTP struct {
			Routers map[string]struct {
				Rule, Service string
				Middlewares   []string
			}
			Middlewares map[string]map[string]map[string]any
		}
		TLS struct {
			Options map[string]struct {
				MinVersion string `yaml:"minVersion"`
			}
		}
	}
	plain := regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllString(string(text), "X")
	if err := yaml.Unmarshal([]byte(plain), &dynamic); err != nil {
		t.Fatal(err)
	}
	for name, r := range dynamic.HTTP.Routers {
		if r.Service == "api@internal" && (len(r.Middlewares) != 1 || dynamic.HTTP.Middlewares[r.Middlewares[0]]["basicAuth"]["usersFile"] != "/run/secrets/traefik_users") {
			t.Errorf("router %s shows Traefik's dashboard to everybody", name)
		}
	}
	if got := dynamic.TLS.Options["default"].MinVersion; got != "VersionTLS12" {
		t.Errorf("TLS from %q", got)
	}
	if got := dynamic.HTTP.Middlewares["security"]["headers"]["stsSeconds"]; got != 31536000 {
		t.Errorf("HSTS for %v seconds", got)
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	for name, resolver := range certificates {
		s := withCertificates(t, name)
		declared := ""
		for variable := range s["traefik"].Environment {
			if rest, ok := strings.CutPrefix(variable, "TRAEFIK_CERTIFICATESRESOLVERS_"); ok {
				declared = strings.ToLower(rest[:strings.Index(rest, "_")])
			}
		}
		wildcard := s["gateway"].Deploy.Labels[containerRouter+".tls.domains[0].main"]
		for what, got := range map[string]string{
			"declared": declared, "of the dashboard": s["traefik"].Environment["DASHBOARD_CERT_RESOLVER"], "of the API": s["api"].Deploy.Labels[apiRouter+".tls.certresolver"],
		} {
			if got != resolver {
				t.Errorf("%s: resolver %s: got %q, want %q", name, what, got, resolver)
			}
		}
		perHost := name == "http01.yaml"
		if got := s["worker"].Environment["TRAEFIK_CERT_RESOLVER"]; got != map[bool]string{false: "none", true: resolver}[perHost] {
			t.Errorf("%s: containers' routers have the resolver %q", name, got)
		}
		for _, role := range []string{"api", "gateway", "worker"} {
			if got := s[role].Environment["ROUTING"]; perHost != (got == "labels") {
				t.Errorf("%s: %s has ROUTING=%s", name, role, got)
			}
		}
		if want := map[bool]string{true: "*.${CONTAINER_DOMAIN}"}[name == "dns01.yaml"]; wildcard != want {
			t.Errorf("%s: a certificate for %q, want %q", name, wildcard, want)
		}
	}
}
