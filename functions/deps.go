package functions

import (
	"log/slog"
	"net/http"

	"berth/internal/ide"
	"berth/internal/seal"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/queue"
)

// Deps is what a function may touch. In the API process Swarm is nil: Admit
// must not use it.
type Deps struct {
	Store *store.Store
	Queue *queue.Client
	Swarm *swarm.Client
	Box   *seal.Box
	HTTP  *http.Client // to agents and the edge; follows no redirect
	Log   *slog.Logger

	Settings
}

// Settings are the choices of the operator that functions need.
type Settings struct {
	URLScheme       string // of the containers' URLs
	ContainerDomain string // "host" or "host:port" of the containers' URLs
	EdgeURL         string // where the control plane itself finds the edge, "http://gateway:8080"

	DefaultImage string
	ImageAllow   []string // patterns an image asked for must match; none refuses all but the default
	AWSRegion    string

	Resources    ide.Resources // when a request says nothing
	MaxResources ide.Resources // limits a request may not exceed; 0 is any
	MaxPerKey    int           // live containers of one key; 0 is any number
	Pack         bool
}
