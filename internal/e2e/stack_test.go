package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/lab"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"golang.org/x/crypto/bcrypt"
)

// What the stack of the tests is called, and where its ports are: 80 and 443 of
// the node are those of the lab's edge.
const (
	stackName       = "berth-e2e"
	stackDomain     = "berth.test"
	containerDomain = "ide.test"
	httpPort        = "8880"
	httpsPort       = "8443"
)

// stack is deploy/stack.yaml as people deploy it, on the first node of the lab.
// Its cluster's clients trust the tests' own authority, and every host name
// leads to Traefik.
type stack struct {
	*cluster
	https        string // Traefik's address
	ca           *x509.CertPool
	spki         string // of the certificate, as Chromium wants it
	dir          string
	certificates string   // the file of deploy/traefik that is laid over it, and further ones
	more         []string // environment of the deployment
}

// newStack prepares a Swarm for the stack, with certificates from files. What
// was made is removed when the test ends.
func newStack(t *testing.T) *stack {
	t.Helper()
	l := lab.Open(t)
	alone(t, l, "stack") // its names and ports are fixed
	c := &cluster{t: t, lab: l, instance: "main", dir: t.TempDir()}
	s := &stack{cluster: c, https: net.JoinHostPort(l.Nodes[0].Addr, httpsPort), dir: filepath.Join(c.dir, "deploy"), certificates: "traefik/files.yaml"}
	var err error
	if c.engine, err = client.NewClientWithOpts(client.WithHost(l.Nodes[0].Sock), client.WithAPIVersionNegotiation()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.engine.Close() })
	s.needImages()
	t.Cleanup(func() { // the protections outlive the stack's workers, and are for its containers
		c.unfilterNode(l.Nodes[0])
		if err := egress(l.Nodes[0], c).Remove(); err != nil {
			t.Error(err)
		}
	})
	ca, certificate, key, spki := makeCertificate(t, []string{"*." + stackDomain, "*." + containerDomain})
	s.ca, s.spki = poolOf(ca), spki
	// One node: the others take nothing new, and keep what they run.
	for _, n := range l.Nodes[1:] {
		s.setNode(n.Name, func(spec *swarm.NodeSpec) { spec.Availability = swarm.NodeAvailabilityPause })
		t.Cleanup(func() {
			s.setNode(n.Name, func(spec *swarm.NodeSpec) { spec.Availability = swarm.NodeAvailabilityActive })
		})
	}
	s.setNode("n1", func(spec *swarm.NodeSpec) { spec.Labels = map[string]string{"berth.redis": "true"} })

	users, err := bcrypt.GenerateFromPassword([]byte("dashboard-password"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"berth-api-key": adminKey, "berth-secret-key": secretKey, "berth-redis-conf": "requirepass redis-password\n",
		"berth-redis-url": "redis://:redis-password@redis:6379/0", "berth-traefik-users": "admin:" + string(users) + "\n",
		"berth-certificate-1": certificate, "berth-certificate-key-1": key,
	} {
		s.secret(name, text)
	}
	s.copyFiles()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.ca},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(addr)
			at := map[string]string{"80": httpPort, "443": httpsPort}[port]
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(l.Nodes[0].Addr, at))
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	c.edge = &http.Client{Timeout: 90 * time.Second, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c.http = &http.Client{Timeout: 90 * time.Second, Transport: toAPI{transport}}
	return s
}

// up deploys the stack with ROUTING=routing and settings.
func (s *stack) up(routing string, settings ...string) {
	s.t.Helper()
	s.t.Cleanup(s.remove)
	s.t.Cleanup(s.showLogs)
	s.deploy(routing, settings...)
	s.eventually("the stack is healthy", 5*time.Minute, func() error {
		a, err := s.call("GET", "/api/health", "")
		if err != nil || !strings.Contains(string(a.body), `"status":"ok"`) {
			return fmt.Errorf("%s %v", a, err)
		}
		return nil
	})
	s.t.Cleanup(s.purge)
}

// create asks for a container until it is admitted: the stack has its high-water
// marks, and the machine that the tests share may be above one for a moment.
func (s *stack) create() (made functions.StartAnswer) {
	s.t.Helper()
	s.eventually("a container is admitted", patience, func() error {
		a, err := s.call("POST", "/api/containers/start", fmt.Sprintf(`{"s3Bucket":"ws-%s"}`, ide.NewID()))
		if err == nil && a.status != http.StatusAccepted {
			err = errors.New(a.String())
		}
		if err == nil {
			err = json.Unmarshal(a.body, &made)
		}
		return err
	})
	return made
}

// toAPI sends every request to the host name of the API.
type toAPI struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t toAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = "https", "api."+stackDomain, ""
	return t.RoundTripper.RoundTrip(r)
}

// needImages skips the test where the lab has no Traefik; where CI is set it
// fails.
func (s *stack) needImages() {
	s.t.Helper()
	_, err := s.engine.ImageInspect(context.Background(), "localhost/berth:lab")
	switch ci := os.Getenv("CI"); {
	case client.IsErrNotFound(err) && (ci == "" || ci == "false"):
		s.t.Skip("needs the images of the stack: STACK=1 make lab-up")
	case err != nil:
		s.t.Fatal(err)
	}
}

// secret makes a Swarm secret, which goes with the test.
func (s *stack) secret(name, text string) {
	s.t.Helper()
	made, err := s.engine.SecretCreate(context.Background(), swarm.SecretSpec{Annotations: swarm.Annotations{Name: name}, Data: []byte(text)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		s.eventually("the secret "+name+" is removed", patience, func() error {
			return s.engine.SecretRemove(context.Background(), made.ID)
		})
	})
}

// setNode changes what Swarm wants of a node.
func (s *stack) setNode(name string, change func(*swarm.NodeSpec)) {
	s.t.Helper()
	s.eventually("node "+name+" is changed", patience, func() error {
		nodes, err := s.engine.NodeList(context.Background(), swarm.NodeListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
		if err != nil || len(nodes) != 1 {
			return fmt.Errorf("%d nodes, %v", len(nodes), err)
		}
		change(&nodes[0].Spec)
		return s.engine.NodeUpdate(context.Background(), nodes[0].ID, nodes[0].Version, nodes[0].Spec)
	})
}

// copyFiles copies what is deployed, but one line: the lab's kernel has no
// IPsec, which an encrypted overlay needs.
func (s *stack) copyFiles() {
	s.t.Helper()
	if err := os.CopyFS(filepath.Join(s.dir, "traefik"), os.DirFS("../../deploy/traefik")); err != nil {
		s.t.Fatal(err)
	}
	text, err := os.ReadFile("../../deploy/stack.yaml")
	if err != nil {
		s.t.Fatal(err)
	}
	plain := strings.Replace(string(text), `driver_opts: {encrypted: "true"}`, "driver_opts: {}", 1)
	if plain == string(text) {
		s.t.Fatal("deploy/stack.yaml does not encrypt its control network")
	}
	if err := os.WriteFile(filepath.Join(s.dir, "stack.yaml"), []byte(plain), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// deploy runs docker stack deploy.
func (s *stack) deploy(routing string, settings ...string) {
	s.t.Helper()
	env := filepath.Join(s.dir, "settings.env")
	settings = append(settings, "HIGH_WATER_CPU=0", "HIGH_WATER_MEMORY=0", "HIGH_WATER_DISK=0") // of the machine that tests share
	if err := os.WriteFile(env, []byte(strings.Join(settings, "\n")+"\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	node := s.lab.Nodes[0]
	args := []string{"stack", "deploy", "--resolve-image", "never", "-c", filepath.Join(s.dir, "stack.yaml")}
	for _, name := range strings.Fields(s.certificates) {
		args = append(args, "-c", filepath.Join(s.dir, name))
	}
	s.docker(append([]string{
		"BERTH_IMAGE=localhost/berth:lab", "IDE_IMAGE=" + s.ideImage(), "DOMAIN=" + stackDomain, "CONTAINER_DOMAIN=" + containerDomain, "ROUTING=" + routing,
		"ENGINE_SOCKET=" + strings.TrimPrefix(node.Sock, "unix://"), "ENGINE_EXEC_ROOT=" + node.ExecRoot, "HOST_NETNS=" + strings.TrimSuffix(node.NetNS, node.Name) + "{{.Node.Hostname}}", "HTTP_PORT=" + httpPort, "HTTPS_PORT=" + httpsPort, "BERTH_ENV=" + env,
	}, s.more...), append(args, stackName)...)
}

// ideImage is the full image where the lab has it.
func (s *stack) ideImage() string {
	if _, err := s.engine.ImageInspect(context.Background(), fullImage); err == nil {
		return fullImage
	}
	return image
}

// docker runs the engine's client, and expects that it succeeds.
func (s *stack) docker(env []string, args ...string) {
	s.t.Helper()
	if out, err := s.tryDocker(env, args...); err != nil {
		s.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (s *stack) tryDocker(env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(append(os.Environ(), "DOCKER_HOST="+s.lab.Nodes[0].Sock), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// tasks are the containers of the stack's tasks, the ended ones too.
func (s *stack) tasks() ([]string, error) {
	out, err := s.tryDocker(nil, "ps", "-aq", "--filter", "label=com.docker.stack.namespace="+stackName)
	return strings.Fields(out), err
}

// service returns one of the stack's.
func (s *stack) service(name string) swarm.Service {
	s.t.Helper()
	got, _, err := s.engine.ServiceInspectWithRaw(context.Background(), stackName+"_"+name, swarm.ServiceInspectOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// showLogs shows what the stack's tasks have said, if the test has failed.
func (s *stack) showLogs() {
	if !s.t.Failed() {
		return
	}
	tasks, _ := s.tasks()
	for _, id := range tasks {
		state, _ := s.tryDocker(nil, "inspect", "--format", "{{.Name}} {{.State.Status}} {{.State.Error}}", id)
		said, _ := s.tryDocker(nil, "logs", "--tail", "40", id)
		s.t.Logf("%s\n%s", state, tail(said))
	}
	list, _ := s.tryDocker(nil, "stack", "ps", "--no-trunc", stackName)
	s.t.Log(list)
}

// remove takes the stack away, its data too.
func (s *stack) remove() {
	s.docker(nil, "stack", "rm", stackName)
	s.eventually("the stack is gone", patience, func() error {
		if left, err := s.tasks(); err != nil || len(left) > 0 {
			return fmt.Errorf("%v %v", left, err)
		}
		if _, err := s.engine.NetworkInspect(context.Background(), "berth-control", networkOptions); !client.IsErrNotFound(err) {
			return fmt.Errorf("network: %v", err)
		}
		list, err := s.engine.VolumeList(context.Background(), volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "com.docker.stack.namespace="+stackName))})
		for _, v := range list.Volumes {
			err = errors.Join(err, s.engine.VolumeRemove(context.Background(), v.Name, true))
		}
		return err
	})
}
