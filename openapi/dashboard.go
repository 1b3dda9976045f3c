package openapi

import (
	"fmt"
	"net/http"

	"berth/dashboard"
	"berth/internal/ide"
)

// dashboard serves the page, which needs no key: all that it shows it asks the
// API for. The queue's own is for admins.
func (s *server) dashboard(mux *http.ServeMux) {
	page, err := dashboard.New(s.write)
	if err != nil {
		panic(fmt.Sprintf("openapi: %v", err)) // files that are part of the program
	}
	mux.Handle("GET "+dashboard.Path, page)
	mux.Handle("GET "+dashboard.Path+"/{view...}", page)
	mux.Handle("GET /{$}", http.RedirectHandler(dashboard.Path, http.StatusFound))
	if s.deps.Queue == nil {
		return
	}
	queues, err := dashboard.NewQueues(s.deps.Queue, s.cfg.QueueWrite, s.write)
	if err != nil {
		panic(fmt.Sprintf("openapi: %v", err)) // the same
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		for _, path := range []string{dashboard.QueuesPath, dashboard.QueuesPath + "/{view...}"} {
			mux.Handle(method+" "+path, s.admins(queues))
		}
	}
}

// admins lets only admins pass.
func (s *server) admins(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ide.PrincipalOf(r.Context()).Role != ide.Admin {
			s.write(w, r, ide.Errorf(ide.Forbidden, "This needs an admin's key."))
			return
		}
		if r.Method != http.MethodGet && !s.cfg.QueueWrite {
			s.write(w, r, ide.Errorf(ide.Forbidden, "Queues are only shown here; QUEUE_ADMIN_WRITE=true allows changes."))
			return
		}
		next.ServeHTTP(w, r)
	})
}
