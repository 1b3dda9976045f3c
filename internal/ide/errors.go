package ide

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Code names an error for programs. The HTTP status of each stands in the
// edge (package openapi).
type Code string

// The codes, as in docs/API.md.
const (
	ValidationFailed       Code = "VALIDATION_FAILED"
	InvalidS3Bucket        Code = "INVALID_S3_BUCKET"
	S3Unavailable          Code = "S3_UNAVAILABLE" // a failure of the store that may pass
	AuthenticationFailed   Code = "AUTHENTICATION_FAILED"
	Forbidden              Code = "FORBIDDEN"
	ContainerNotFound      Code = "CONTAINER_NOT_FOUND"
	JobNotFound            Code = "JOB_NOT_FOUND"
	NotFound               Code = "NOT_FOUND"
	MethodNotAllowed       Code = "METHOD_NOT_ALLOWED"
	BodyTooLarge           Code = "BODY_TOO_LARGE"
	UnsupportedMediaType   Code = "UNSUPPORTED_MEDIA_TYPE"
	Conflict               Code = "CONFLICT"
	IdempotencyKeyReused   Code = "IDEMPOTENCY_KEY_REUSED"
	RateLimited            Code = "RATE_LIMITED"
	ContainerLimitExceeded Code = "CONTAINER_LIMIT_EXCEEDED"
	Internal               Code = "INTERNAL_ERROR"
	Docker                 Code = "DOCKER_ERROR"
	PlacementImpossible    Code = "PLACEMENT_IMPOSSIBLE" // no node, as the nodes are, can ever take it
	ResourceLimitExceeded  Code = "RESOURCE_LIMIT_EXCEEDED"
	QueueUnavailable       Code = "QUEUE_UNAVAILABLE"
	ContainerStartFailed   Code = "CONTAINER_START_FAILED"
	ContainerStopFailed    Code = "CONTAINER_STOP_FAILED"
	WorkspaceUnsaved       Code = "WORKSPACE_UNSAVED"
	ItemsFailed            Code = "ITEMS_FAILED" // of a job about several: some failed
	WorkspaceMissing       Code = "WORKSPACE_MISSING"
	Canceled               Code = "CANCELED"
	Timeout                Code = "TIMEOUT"
)

// Error is an error with a code and a sentence that may be shown to a client.
// Err, the cause, is for logs and never leaves the process.
type Error struct {
	Code    Code   `json:"code" example:"CONTAINER_NOT_FOUND" doc:"The error's name, for programs"`
	Message string `json:"message" doc:"One sentence, for people" example:"There is no container k3xqh5zt2mwfa."`
	Details any    `json:"details,omitempty" doc:"What else is known, by code"`

	Err        error         `json:"-"`
	Permanent  bool          `json:"-"` // trying again cannot help
	RetryAfter time.Duration `json:"-"` // when asking again makes sense; 0 is unknown
}

// Errorf returns an error that trying again cannot mend.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Permanent: true}
}

// Transient returns an error that may pass by itself, with its cause.
func Transient(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: cause}
}

func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Err != nil {
		s = strings.TrimSuffix(s, ".") + ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// GetHeaders returns the headers that an HTTP answer with this error has; the
// name is the one that Huma looks for.
func (e *Error) GetHeaders() http.Header {
	h := http.Header{}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	if e.Code == AuthenticationFailed {
		h.Set("WWW-Authenticate", `Bearer realm="Berth"`)
	}
	return h
}

// AsError returns the *Error in err's chain, or one that hides a stranger's
// text behind a general sentence.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: Internal, Message: "Something went wrong on our side.", Err: err}
}

// HasCode says whether err carries the code.
func HasCode(err error, code Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// IsPermanent says whether err is known to stay.
func IsPermanent(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Permanent
}
