package swarm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"berth/internal/ide"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// ErrNodeDown is in the chain of WaitGone's error where the last tasks are on
// nodes that Swarm calls down: whether their containers have ended cannot be
// known, and waiting longer does not tell.
var ErrNodeDown = errors.New("node is down")

// ErrNodeFault is in the chain of WaitRunning's error where the node may be at
// fault: another may run the same container.
var ErrNodeFault = errors.New("the node does not run it")

// ErrTaskEnded is in the chain of WaitRunning's error where Swarm's attempts may be
// used up: only another service gets another task.
var ErrTaskEnded = errors.New("its task has ended")

// ErrUnreachable is in the chain of an error where no engine has heard of the call.
var ErrUnreachable = errors.New("no engine answers")

// classify turns an error of the engine's client into ours. doing ("create
// service") is for logs. What cannot be told apart is transient: a try too
// many costs less than a container given up.
func classify(doing string, err error) *ide.Error {
	if own := (*ide.Error)(nil); errors.As(err, &own) {
		return own
	}
	wrapped := fmt.Errorf("%s: %w", doing, err)
	permanent := func(message string) *ide.Error {
		return &ide.Error{Code: ide.Docker, Message: message, Err: wrapped, Permanent: true}
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ide.Transient(ide.Docker, wrapped, "The container engine did not answer in time.")
	case client.IsErrConnectionFailed(err):
		return ide.Transient(ide.Docker, errors.Join(wrapped, ErrUnreachable), "The container engine cannot be reached.")
	case notManager(err):
		return ide.Transient(ide.Docker, wrapped, "The container engine is not a manager of a Swarm at the moment.")
	case outOfSequence(err), errdefs.IsConflict(err), errdefs.IsAlreadyExists(err):
		return ide.Transient(ide.Conflict, wrapped, "Something else changed the same thing at the same time.")
	case errdefs.IsInvalidArgument(err):
		return permanent("The container engine refused the request as invalid.")
	case errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err):
		return permanent("The container engine refused access.")
	case errdefs.IsNotImplemented(err):
		return permanent("The container engine cannot do what was asked.")
	default:
		return ide.Transient(ide.Docker, wrapped, "The container engine failed to do what was asked.")
	}
}

// conflict is a CONFLICT that trying again cannot mend.
func conflict(cause error, format string, args ...any) *ide.Error {
	e := ide.Errorf(ide.Conflict, format, args...)
	e.Err = cause
	return e
}

// outOfSequence recognises Swarm's answer to an update with an old version
// index. The engine gives it as status 500, so only its words tell.
func outOfSequence(err error) bool {
	return err != nil && strings.Contains(err.Error(), "update out of sequence")
}

// notManager recognises the answer of a worker, or of an engine outside of
// any Swarm, to a call that needs a manager (status 503).
func notManager(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "not a swarm manager") || errdefs.IsUnavailable(err))
}

// inUse recognises the refusal to remove a secret that a service refers to.
// The engine gives it as status 400, so only its words tell.
func inUse(err error) bool {
	return err != nil && strings.Contains(err.Error(), "is in use by the following service")
}

// lastManager recognises the refusal to demote the last manager of a Swarm. The
// engine gives it as status 400 or 500, so only its words tell.
func lastManager(err error) bool {
	return err != nil && strings.Contains(err.Error(), "last manager")
}

// nameTaken recognises the refusal of a second object of one name.
func nameTaken(err error) bool {
	return err != nil && (errdefs.IsConflict(err) || errdefs.IsAlreadyExists(err))
}
