package openapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// metrics is what this process counts itself, and, at each scrape, what Redis
// tells of the whole control plane: a worker has no HTTP server, so what jobs
// have come to is counted with the script that ends them.
type metrics struct {
	requests *prometheus.HistogramVec
	all      *prometheus.Registry
}

func newMetrics(deps *functions.Deps, version string) *metrics {
	m := &metrics{requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "berth_http_request_seconds", Help: "Time until a request was over, by operation and class of its status; none is what reached no operation.",
		Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30},
	}, []string{"operation", "status"})}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "berth_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}})
	build.Set(1)
	m.all = prometheus.NewRegistry()
	m.all.MustRegister(m.requests, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		totals{deps: deps, log: deps.Log})
	return m
}

// request counts a request. Both labels are bounded: operations are those of
// the document, statuses five.
func (m *metrics) request(operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(cmp.Or(operation, "none"), strconv.Itoa(status/100)+"xx").Observe(took.Seconds())
}

// scrape serves the metrics to whoever sees all.
func (s *server) scrape(api huma.API) {
	op := read("get-metrics", "/metrics", "health", "Metrics for Prometheus", http.StatusForbidden)
	op.Description = "For admin and viewer keys. What is told of containers, jobs, queues and nodes is of the whole control plane and the same from every replica."
	op.Responses = map[string]*huma.Response{"200": {Description: "The text format of Prometheus",
		Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: "string"}, Example: "berth_containers{status=\"running\"} 12\n"}}}}
	huma.Register(api, op, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		families, err := s.metrics.all.Gather()
		if err != nil {
			return nil, err // promhttp would show it
		}
		gathered := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			promhttp.HandlerFor(gathered, promhttp.HandlerOpts{}).ServeHTTP(w, r)
		}}, nil
	})
}

// totals reads from Redis, at each scrape, how much there is of everything.
type totals struct {
	deps *functions.Deps
	log  *slog.Logger
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("berth_"+name, help, labels, nil)
}

var (
	redisUp        = desc("redis_up", "Whether Redis answers; without it all else about the control plane is missing.")
	containers     = desc("containers", "Containers by state.", "status")
	jobsOpen       = desc("jobs_open", "Jobs that have not ended, by state.", "status")
	jobsEnded      = desc("jobs_total", "Jobs that have ended, by function and outcome.", "function", "status")
	jobSeconds     = desc("job_seconds", "Time from the request until the job's end.", "function")
	stepSeconds    = desc("step_seconds", "Time of each step of a job; queue is the wait for a worker.", "function", "step")
	queueDepth     = desc("queue_depth", "Deliveries that wait for a worker.", "queue")
	queueLatency   = desc("queue_latency_seconds", "How long the oldest of them has waited.", "queue")
	workersUp      = desc("workers", "Workers that reported in the last 15 seconds.")
	nodeContainers = desc("node_reservations", "Containers that hold a place on a node.", "node")
	cpuFree        = desc("node_cpu_free_cores", "What admission can still give away.", "node")
	memoryFree     = desc("node_memory_free_bytes", "What admission can still give away.", "node")
	cpuTotal       = desc("node_cpu_cores", "What the node has.", "node")
	memoryTotal    = desc("node_memory_bytes", "What the node has.", "node")
	nodeUp         = desc("node_up", "Whether the node is ready, as Swarm sees it.", "node")
	nodeStale      = desc("node_stale", "Whether the node's worker has not reported in the last 30 seconds; then what is measured there is missing.", "node")
	nodePressure   = desc("node_pressure", "Whether a resource of the node is above its high-water mark: nothing is put there meanwhile.", "node", "resource")
	cpuUsed        = desc("node_cpu_used_cores", "Cores in use, as measured.", "node")
	memoryUsed     = desc("node_memory_used_bytes", "Memory in use, as measured.", "node")
	diskUsed       = desc("node_disk_used_bytes", "In use of the disk of the engine's data directory.", "node")
	diskTotal      = desc("node_disk_bytes", "Size of the disk of the engine's data directory.", "node")
	lastReport     = desc("node_last_report_seconds", "When the node's worker last reported, in seconds since 1970.", "node")
	addressesFree  = desc("addresses_free", "Addresses left for containers.")
	addressesTotal = desc("addresses", "Addresses of the containers' network.")
	placeable      = desc("node_placeable", "Whether containers may be put on the node.", "node")
)

// Describe implements prometheus.Collector. It names nothing: what there is
// depends on what Redis knows.
func (t totals) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (t totals) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if err := t.tell(ctx, out, gauge); err != nil {
		t.log.Warn("metrics cannot be read", "err", err)
		gauge(redisUp, 0)
		return
	}
	gauge(redisUp, 1)
}

func (t totals) tell(ctx context.Context, out chan<- prometheus.Metric, gauge func(*prometheus.Desc, float64, ...string)) error {
	have, err := t.deps.Store.Totals(ctx)
	if err != nil {
		return err
	}
	rooms, err := t.deps.Store.Room(ctx)
	if err != nil {
		return err
	}
	workers, err := t.deps.Store.Workers(ctx, 15*time.Second)
	if err != nil {
		return err
	}
	depths, err := t.deps.Queue.Depths()
	if err != nil {
		return err
	}
	addresses, err := t.deps.Store.Addresses(ctx)
	if err != nil {
		return err
	}
	if addresses != nil {
		gauge(addressesFree, float64(addresses.Free))
		gauge(addressesTotal, float64(addresses.Total))
	}
	for status, n := range have.Containers {
		gauge(containers, float64(n), string(status))
	}
	for status, n := range have.Open {
		gauge(jobsOpen, float64(n), string(status))
	}
	for _, d := range depths {
		gauge(queueDepth, float64(d.Waiting), d.Queue)
		gauge(queueLatency, d.Oldest.Seconds(), d.Queue)
	}
	gauge(workersUp, float64(len(workers)))
	for _, r := range rooms {
		gauge(nodeContainers, float64(r.Reservation), r.Node.ID)
		gauge(cpuFree, float64(r.FreeCPU)/1e9, r.Node.ID)
		gauge(memoryFree, float64(r.FreeMemory), r.Node.ID)
		gauge(cpuTotal, float64(r.Node.CPU)/1e9, r.Node.ID)
		gauge(memoryTotal, float64(r.Node.Memory), r.Node.ID)
		gauge(placeable, oneIf(r.Fresh && r.Node.Placeable() && len(r.Above()) == 0), r.Node.ID)
		gauge(nodeUp, oneIf(r.Node.State == "ready"), r.Node.ID)
		gauge(nodeStale, oneIf(r.Stale()), r.Node.ID)
		if r.Use != nil {
			gauge(lastReport, float64(r.Use.At.UnixMilli())/1000, r.Node.ID)
		}
		if r.Stale() {
			continue
		}
		gauge(cpuUsed, r.Use.CPU, r.Node.ID)
		gauge(memoryUsed, float64(r.Use.Memory), r.Node.ID)
		gauge(diskUsed, float64(r.Use.Disk), r.Node.ID)
		gauge(diskTotal, float64(r.Use.DiskTotal), r.Node.ID)
		for _, resource := range []string{ide.ResourceCPU, ide.ResourceMemory, ide.ResourceDisk} {
			above := slices.ContainsFunc(r.Above(), func(m ide.Mark) bool { return m.Resource == resource })
			gauge(nodePressure, oneIf(above), r.Node.ID, resource)
		}
	}
	for _, n := range have.Tallies {
		switch n.Kind {
		case store.JobsEnded:
			out <- prometheus.MustNewConstMetric(jobsEnded, prometheus.CounterValue, float64(n.Count), n.Function, n.Name)
		case store.JobTime:
			out <- prometheus.MustNewConstHistogram(jobSeconds, n.Count, n.Seconds, n.Within, n.Function)
		case store.StepTime:
			out <- prometheus.MustNewConstHistogram(stepSeconds, n.Count, n.Seconds, n.Within, n.Function, n.Name)
		}
	}
	return nil
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
