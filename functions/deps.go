package functions

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"berth/internal/ide"
	"berth/internal/s3"
	"berth/internal/seal"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/queue"

	"go.opentelemetry.io/otel/trace"
)

// Deps is what a function may touch. In the API process Swarm is nil: Admit
// must not use it.
type Deps struct {
	Store *store.Store
	Queue *queue.Client
	Swarm *swarm.Client
	S3    *s3.Client
	Box   *seal.Box
	HTTP  *http.Client // to agents and the edge; follows no redirect
	Hooks *http.Client // to webhooks: see WebhookClient
	Log   *slog.Logger
	Node  func() string // engine ID of this worker's node; empty while it is not known

	// LogRead says whether the log of a container of this node (by the engine's ID) was read to its end and shipped; nil
	// where nobody ships logs.
	LogRead func(engineID string) bool

	Traces trace.TracerProvider // of jobs; nil is none

	Settings
}

// Settings are the choices of the operator that functions need.
type Settings struct {
	URLScheme       string // of the containers' URLs
	ContainerDomain string // "host" or "host:port" of the containers' URLs
	EdgeURL         string // where the control plane itself finds the edge, "http://gateway:8080"

	Templates  []ide.Template // one is ide.DefaultTemplate
	ImageAllow []string       // patterns an image asked for must match; none refuses all but the templates'
	AWSRegion  string

	Resources    ide.Resources // when a request says nothing
	MaxResources ide.Resources // limits a request may not exceed; 0 is any
	MaxPerKey    int           // live containers of one key; 0 is any number
	Pack         bool

	WebhookAllow   []netip.Prefix // private networks that webhooks may be in
	WebhooksPerKey int            // standing webhooks of one key

	RequestTimeout time.Duration // of one request to a container; 0 is 5 s
	SaveDeadline   time.Duration // how long a stop tries to save before the files are parked

	Schedules       map[string]string // by function, where they are not the function's own
	IdleTimeout     time.Duration     // when a request says nothing; 0 is never
	MaxIdleTimeout  time.Duration     // the longest that a request may ask for, never included; 0 is any
	IdleWarning     time.Duration     // before a stop for want of use
	MaxKeepalive    time.Duration     // how far ahead such a stop can be put off
	MaxLifetime     time.Duration     // of a run; 0 is any
	EdgeUnseen      bool              // requests do not pass through our gateway: Traefik routes by labels
	RecordRetention time.Duration     // of stopped and failed containers
	EventRetention  time.Duration     // of the shared stream of events
	PressureStop    bool              // stop containers where a node stays short of memory
}
