// Command agent is the first process of an IDE container. It answers the
// control plane on port 9000 and the user on the three ports that the edge
// leads to, 8080 (editor), 6080 (desktop) and 3000 (the user's web server).
//
// In the full image it keeps code-server, an X server with a window manager and
// the user's web server running, each behind a port of the agent's, so that it
// sees every connection and can limit wrong passwords. In the slim image it is
// all there is: a file editor over the workspace, a page that says that there
// is no desktop, and the workspace's own pages.
//
//	/agent          run until SIGTERM
//	/agent health   exit 0 if a running agent answers (the health check of Swarm)
//	/agent version  print the version
//	/agent look     say what can be reached from here, for berth doctor isolation
//	/agent exec     start a program under the filter of bind.go; the agent's own
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"berth/internal/ide"
)

// terminated is the exit code after SIGTERM, 128 and the signal's number. An
// engine that was killed ends its containers so when it is started again: with
// code 0 Swarm would take them for finished, and start them no more.
const terminated = 143

// healthTimeout is how long an agent has to say that it is alive.
const healthTimeout = 2 * time.Second

func main() { os.Exit(command(os.Args[1:], os.Getenv, os.Stdout)) }

// command runs a subcommand and returns the exit code.
func command(args []string, getenv func(string) string, out io.Writer) int {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	switch {
	case name == execCommand:
		fmt.Fprintln(out, execUnderFilter(args[1:]))
		return 127
	case name == ide.LookCommand:
		return lookOut(args[1:], out)
	case len(args) > 1:
	case name == "health":
		ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
		defer cancel()
		if err := health(ctx, "http://127.0.0.1:"+strconv.Itoa(ide.AgentPort)); err != nil {
			fmt.Fprintln(out, err)
			return 1
		}
		return 0
	case name == "version":
		fmt.Fprintln(out, version())
		return 0
	case name == "":
		log := slog.New(slog.NewJSONHandler(out, nil))
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		if err := start(ctx, getenv, log, listen); err != nil {
			log.Error("agent ends", "err", err)
			return 1
		}
		if ctx.Err() != nil {
			return terminated
		}
		return 0
	}
	fmt.Fprintln(out, "usage: agent [health | version]")
	return 2
}

// start reads the configuration and runs an agent until ctx ends.
func start(ctx context.Context, getenv func(string) string, log *slog.Logger, listen listenFunc) error {
	cfg, err := readConfig(getenv)
	if err != nil {
		return err
	}
	a, err := newAgent(cfg, log)
	if err != nil {
		return err
	}
	defer a.root.Close()
	return a.run(ctx, listen)
}

// listenFunc opens a listener of one of the agent's ports. No host is all
// addresses: the filter on each node decides who may call.
type listenFunc func(ctx context.Context, host string, port uint16) (net.Listener, error)

func listen(ctx context.Context, host string, port uint16) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
}

// outerAddresses are those on which others may reach this container.
func outerAddresses() (all []string) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			all = append(all, n.IP.String())
		}
	}
	return all
}

// health asks a running agent whether it is alive.
func health(ctx context.Context, base string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+alivePath, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask agent: %w", err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("ask agent: status %d", res.StatusCode)
	}
	return nil
}

// version is what the Go tool stamped into the binary.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}
