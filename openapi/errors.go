package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// statuses is the HTTP status of each code.
var statuses = map[ide.Code]int{
	ide.ValidationFailed: http.StatusBadRequest, ide.InvalidS3Bucket: http.StatusBadRequest,
	ide.AuthenticationFailed: http.StatusUnauthorized, ide.Forbidden: http.StatusForbidden,
	ide.ContainerNotFound: http.StatusNotFound, ide.JobNotFound: http.StatusNotFound, ide.NotFound: http.StatusNotFound,
	ide.MethodNotAllowed: http.StatusMethodNotAllowed, ide.BodyTooLarge: http.StatusRequestEntityTooLarge,
	ide.UnsupportedMediaType: http.StatusUnsupportedMediaType, ide.Conflict: http.StatusConflict,
	ide.IdempotencyKeyReused: http.StatusUnprocessableEntity, ide.PlacementImpossible: http.StatusUnprocessableEntity, ide.ContainerLimitExceeded: http.StatusTooManyRequests, ide.RateLimited: http.StatusTooManyRequests,
	ide.Docker: http.StatusBadGateway, ide.ResourceLimitExceeded: http.StatusServiceUnavailable,
	ide.QueueUnavailable: http.StatusServiceUnavailable, ide.S3Unavailable: http.StatusServiceUnavailable,
}

// status is the HTTP status of an error; what has none of its own is 500.
func status(e *ide.Error) int {
	if s, ok := statuses[e.Code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// Envelope is the body of every error.
type Envelope struct {
	Err       *ide.Error `json:"error" doc:"What went wrong"`
	Timestamp time.Time  `json:"timestamp" doc:"When"`
	Path      string     `json:"path" example:"/api/containers/start" doc:"Path of the request"`
}

// Error implements error.
func (e *Envelope) Error() string { return e.Err.Error() }

// GetStatus implements huma.StatusError.
func (e *Envelope) GetStatus() int { return status(e.Err) }

// GetHeaders implements huma.HeadersError.
func (e *Envelope) GetHeaders() http.Header { return e.Err.GetHeaders() }

// envelope wraps an error for a client. What is not ours becomes a general
// sentence.
func envelope(err error, path string) *Envelope {
	e := ide.AsError(err)
	if status(e) == http.StatusInternalServerError {
		e = &ide.Error{Code: ide.Internal, Message: "Something went wrong on our side. The request ID finds it in the log.", Err: e}
	}
	return &Envelope{Err: e, Timestamp: time.Now().UTC(), Path: path}
}

// newError is huma.NewError: Huma calls it for what it finds wrong with a
// request, and for errors that handlers return.
func newError(status int, message string, errs ...error) huma.StatusError {
	for _, err := range errs {
		var e *ide.Error
		if errors.As(err, &e) {
			return envelope(err, "")
		}
	}
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return envelope(validation(message, errs), "")
	case http.StatusRequestEntityTooLarge:
		return envelope(ide.Errorf(ide.BodyTooLarge, "The body is larger than this operation takes."), "")
	case http.StatusUnsupportedMediaType:
		return envelope(ide.Errorf(ide.UnsupportedMediaType, "The body must be application/json."), "")
	case http.StatusNotAcceptable:
		return envelope(ide.Errorf(ide.ValidationFailed, "The answer is application/json, which Accept does not allow."), "")
	case http.StatusRequestTimeout:
		return envelope(ide.Errorf(ide.ValidationFailed, "The body did not arrive in time."), "")
	}
	return envelope(errors.Join(errs...), "")
}

// validation is VALIDATION_FAILED with one detail for each thing wrong. The
// values are left out: one of them may be a secret.
func validation(message string, errs []error) *ide.Error {
	e := ide.Errorf(ide.ValidationFailed, "The request is not valid.")
	var details []map[string]string
	for _, err := range errs {
		var d *huma.ErrorDetail
		if errors.As(err, &d) {
			details = append(details, map[string]string{"location": d.Location, "message": rule(d.Message)})
		}
	}
	if len(details) == 0 {
		e.Message = fmt.Sprintf("The request is not valid: %s.", strings.TrimSuffix(message, "."))
	} else {
		e.Message = fmt.Sprintf("The request is not valid: %s: %s.", details[0]["location"], details[0]["message"])
		e.Details = details
	}
	return e
}

// setPath is a Huma transformer: it completes errors that Huma made, and logs
// those that are our fault.
func (s *server) setPath(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*Envelope)
	if !ok {
		return v, nil
	}
	u := ctx.URL()
	e.Path = u.Path
	logFault(s.log, ctx.Context(), e)
	return e, nil
}

// write answers with an error outside of Huma.
func (s *server) write(w http.ResponseWriter, r *http.Request, err error) {
	e := envelope(err, r.URL.Path)
	logFault(s.log, r.Context(), e)
	for k, v := range e.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.GetStatus())
	_ = json.NewEncoder(w).Encode(e) // a client that has gone away
}

func logFault(log *slog.Logger, ctx interface{ Value(any) any }, e *Envelope) {
	if e.GetStatus() >= http.StatusInternalServerError && e.Err.Err != nil {
		log.Error("request failed", "request", callOf(ctx).id, "path", e.Path, "code", e.Err.Code, "err", e.Err.Err)
	}
}
