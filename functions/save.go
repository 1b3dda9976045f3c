package functions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"
	"berth/internal/workspace"
)

// agentPatience is how long an agent may be silent in the middle of a save
// before it is taken for gone.
const agentPatience = 15 * time.Second

// errGivenUp ends a wait for a save that force has made pointless.
var errGivenUp = errors.New("force was asked for")

// keep is the save that a stop begins with: it returns what came of it, by the
// words of ide.StopTable, with the save and the cause.
func (d *Deps) keep(ctx context.Context, c ide.Container) (ide.SaveOutcome, *ide.LastSave, error) {
	switch {
	case Forced(ctx):
		return ide.GivenUp, nil, nil
	case d.S3.Place(c) == nil:
		return ide.KeptNowhere, nil, nil
	case c.Restored != c.Run && !c.Unsaved:
		return ide.NothingToSave, nil, nil
	}
	secrets, _, err := d.secrets(c)
	if err != nil {
		return ide.StoreRefuses, nil, err
	}
	a := d.agentAt(c.Address, secrets.AgentToken)
	saved, err := d.finish(ctx, c, a, false)
	if outcome := outcomeOf(err); outcome != ide.AgentGone {
		return d.verified(ctx, c, secrets, a, saved, outcome, err)
	}
	if err := d.nodeUp(ctx, c); err != nil {
		return ide.NodeDown, nil, err
	}
	if a, err = d.saver(ctx, c, secrets); err == nil {
		saved, err = d.finish(ctx, c, a, false)
	} else if down := d.nodeUp(ctx, c); down != nil {
		return ide.NodeDown, nil, down // Swarm has noticed in the meantime
	} else if ide.HasCode(err, ide.ContainerStartFailed) || ide.HasCode(err, ide.Docker) {
		// what ends a start for good (a drained node, an image that is not there) may change
		err = ide.Transient(ide.WorkspaceUnsaved, err, "No other agent could be started in its place. %s", ide.AsError(err).Message)
	}
	return d.verified(ctx, c, secrets, a, saved, outcomeOf(err), err)
}

// verified reads with the control plane's own client what an agent has said to
// be saved. What is not there is sent again, once.
func (d *Deps) verified(ctx context.Context, c ide.Container, s ide.Secrets, a agent, saved *ide.LastSave, o ide.SaveOutcome, cause error) (ide.SaveOutcome, *ide.LastSave, error) {
	for again := false; o == ide.SaveVerified; again = true {
		Progress(ctx, fmt.Sprintf("Looking for the %d files of generation %d in the bucket.", saved.Files, saved.Generation))
		err := d.verify(ctx, c, s, saved)
		switch {
		case err == nil:
			saved.Verified = true
			if saved.LeftOut > 0 {
				return ide.FilesLeftOut, saved, leftOut(saved, a.leftOut(ctx))
			}
			return o, saved, nil
		case !errors.Is(err, workspace.ErrDamaged):
			return outcomeOf(err), nil, err
		case again || ide.AfterSave(ide.GenerationBad).Next != ide.AgainNext:
			return ide.GenerationBad, nil, err
		}
		saved, cause = d.finish(ctx, c, a, true)
		o = outcomeOf(cause)
	}
	return o, saved, cause
}

// leftOut is the error of a save that is whole but for files that are on the volume
// only.
func leftOut(saved *ide.LastSave, names []string) error {
	what := fmt.Sprintf("%d files are", saved.LeftOut)
	if saved.LeftOut == 1 {
		what = "1 file is"
	}
	if len(names) > 0 {
		what += ": " + strings.Join(names, "; ")
	} else {
		what += " left out"
	}
	return ide.Errorf(ide.ResourceLimitExceeded, "Generation %d is saved and verified, but not in it %s.", saved.Generation, what)
}

func (d *Deps) verify(ctx context.Context, c ide.Container, s ide.Secrets, saved *ide.LastSave) error {
	if saved.Generation == 0 {
		return nil // there was never a file
	}
	b, err := d.S3.Open(ctx, c, s)
	if err != nil {
		return err
	}
	_, err = b.Verify(ctx, saved.Generation)
	return err
}

// finish has an agent save, end all programs, and save the quiet tree.
func (d *Deps) finish(ctx context.Context, c ide.Container, a agent, anew bool) (*ide.LastSave, error) {
	if err := d.giveCredentials(ctx, c, a); err != nil {
		return nil, err
	}
	number, err := a.finish(ctx, anew)
	if err != nil {
		return nil, err
	}
	heard := time.Now()
	for wait := 20 * time.Millisecond; ; wait = min(wait*3/2, time.Second) {
		if Forced(ctx) {
			return nil, errGivenUp
		}
		s, err := a.status(ctx)
		w := s.Workspace
		switch {
		case errors.Is(err, errNoAgent) && time.Since(heard) > agentPatience:
			return nil, err
		case errors.Is(err, errNoAgent):
		case err != nil:
			return nil, err
		case w.Tries < number:
			heard = time.Now()
			Progress(ctx, "The workspace is being saved.")
		case w.Nothing:
			return nil, workspace.ErrNotRestored
		case w.Finished && w.LastSave != nil:
			return w.LastSave, unlessGone(d.noteSave(ctx, c, w))
		case w.Lost:
			return nil, &ide.Error{Code: ide.Conflict, Permanent: true, Err: workspace.ErrTaken,
				Message: "Another container has saved this workspace in the meantime."}
		case w.Finish != nil:
			return nil, w.Finish.Err()
		default:
			return nil, errNoAgent // another agent than the one that was asked
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// saver runs a task that only saves, on the node that has the volume, and
// returns its agent.
func (d *Deps) saver(ctx context.Context, c ide.Container, s ide.Secrets) (agent, error) {
	Progress(ctx, "The agent does not answer; another is started to save what its volume holds.")
	_, data, err := d.secrets(c)
	if err != nil {
		return agent{}, err
	}
	secretID, err := d.Swarm.PutSecret(ctx, c.ID, c.Run, data)
	if err != nil {
		return agent{}, err
	}
	if err := d.Swarm.RunSaver(ctx, c, secretID); err != nil {
		return agent{}, err
	}
	task, err := d.Swarm.WaitSaver(ctx, c, nil)
	if err != nil {
		return agent{}, err
	}
	a := d.agentAt(task.Address, s.AgentToken)
	end := time.Now().Add(readyTimeout)
	for wait := 20 * time.Millisecond; ; wait = min(wait*3/2, time.Second) {
		status, err := a.status(ctx)
		if err == nil {
			if err := d.giveCredentials(ctx, c, a); err != nil {
				return a, err
			}
			w := status.Workspace
			switch {
			case w.Restored, w.Nothing, w.Lost:
				return a, nil
			case w.Error != nil && (w.Error.Permanent || w.Error.Code == workspace.Unavailable):
				return a, w.Error.Err()
			}
		} else if !errors.Is(err, errNoAgent) {
			return a, err
		}
		if Forced(ctx) {
			return a, errGivenUp
		}
		if time.Now().After(end) {
			return a, errNoAgent
		}
		if err := pause(ctx, wait); err != nil {
			return a, err
		}
	}
}

// nodeUp fails while the node of a container does not answer Swarm.
func (d *Deps) nodeUp(ctx context.Context, c ide.Container) error {
	nodes, err := d.Swarm.Nodes(ctx)
	if err != nil {
		return err
	}
	if ide.FateOf(nodes, c.Node) == ide.NodeUp {
		return nil
	}
	return ide.Transient(ide.WorkspaceUnsaved, swarm.ErrNodeDown, "The node that has the workspace does not answer.")
}

// outcomeOf sorts an error of a save by the words of ide.StopTable.
func outcomeOf(err error) ide.SaveOutcome {
	switch {
	case err == nil:
		return ide.SaveVerified
	case errors.Is(err, errGivenUp):
		return ide.GivenUp
	case errors.Is(err, errNoAgent):
		return ide.AgentGone
	case errors.Is(err, workspace.ErrNotRestored):
		return ide.NothingToSave
	case errors.Is(err, workspace.ErrTaken), ide.HasCode(err, ide.Conflict) && ide.IsPermanent(err):
		return ide.Overtaken
	case errors.Is(err, workspace.ErrDamaged):
		return ide.GenerationBad
	case errors.Is(err, swarm.ErrNodeDown):
		return ide.NodeDown
	case ide.HasCode(err, ide.ResourceLimitExceeded), ide.HasCode(err, ide.WorkspaceUnsaved) && ide.IsPermanent(err):
		return ide.FileUnreadable
	case ide.HasCode(err, ide.InvalidS3Bucket) && ide.IsPermanent(err):
		return ide.StoreRefuses
	case ide.HasCode(err, workspace.Unavailable):
		return ide.StoreFails
	default:
		return ide.AgentGone
	}
}
