package worker

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"berth/functions"
	"berth/internal/ide"
)

// mostImages is how many images a worker gives away at a time.
const mostImages = 2

// giveImages serves the templates' images that this node has to the workers of
// others, on its address on the overlay, where containers cannot reach it. It
// waits for that address to be there.
func (w *Worker) giveImages(ctx context.Context) error {
	address, err := w.overlayAddress(ctx)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	at := l.Addr().String()
	w.node.gives.Store(&at)
	defer w.node.gives.Store(nil)
	srv := &http.Server{Handler: w.imageHandler(), ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// overlayAddress is this process's address on the containers' network.
func (w *Worker) overlayAddress(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	subnets, err := w.deps.Swarm.Subnets(ctx)
	if err != nil {
		return "", err
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range own {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if ip = ip.Unmap(); ok && slices.ContainsFunc(subnets, func(s netip.Prefix) bool { return s.Contains(ip) }) {
			return ip.String(), nil
		}
	}
	return "", errors.New("this process has no address on the containers' network, so it gives no images to other nodes")
}

// imageHandler answers GET /image with a tar stream of the image, to who has a
// ticket.
func (w *Worker) imageHandler() http.Handler {
	slots := make(chan struct{}, mostImages)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /image", func(rw http.ResponseWriter, r *http.Request) {
		name, ok := functions.MayFetch(w.deps, r)
		if !ok {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		tar, err := w.deps.Swarm.SaveImage(r.Context(), name)
		if err != nil {
			w.log.Warn("image is not given", "image", name, "err", err)
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		defer tar.Close()
		rw.Header().Set("Content-Type", "application/x-tar")
		if _, err := io.Copy(rw, tar); err != nil {
			w.log.Warn("image is not given", "image", name, "err", err)
			panic(http.ErrAbortHandler) // the other side must not take it for whole
		}
	})
	return mux
}

// prepare says of each node which images it still waits for, and has them
// brought: those of the templates that another node has. A node that took
// containers before goes on to do so while a new image is on its way.
func (w *Worker) prepare(ctx context.Context, nodes, before []ide.Node, workers []ide.Worker) error {
	has := map[string][]string{}
	for _, o := range workers {
		for _, image := range w.deps.Images() {
			if o.Engine && !slices.Contains(o.Missing, image) {
				has[o.Node] = append(has[o.Node], image)
			}
		}
	}
	var failed error
	for i, n := range nodes {
		var missing []string
		for _, o := range nodes {
			for _, image := range has[o.ID] {
				if o.ID != n.ID && o.State == "ready" && !slices.Contains(has[n.ID], image) && !slices.Contains(missing, image) {
					missing = append(missing, image)
				}
			}
		}
		if len(missing) == 0 {
			continue
		}
		if slices.ContainsFunc(workers, func(o ide.Worker) bool { return o.Node == n.ID }) {
			failed = errors.Join(failed, functions.AskImages(ctx, w.deps, n.ID))
		}
		was := slices.IndexFunc(before, func(o ide.Node) bool { return o.ID == n.ID })
		if was < 0 || len(before[was].Missing) > 0 {
			nodes[i].Missing = missing
		}
	}
	return failed
}
