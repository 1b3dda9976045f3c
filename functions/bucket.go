package functions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/workspace"
)

// checkPlace tries what restoring and saving will do in the bucket, with the
// control plane's own client: list, write, write on a condition, read, delete
// below .berth/. What S3 refuses is said in plain words, as is a prefix inside
// another workspace.
func (d *Deps) checkPlace(ctx context.Context, c ide.Container, s ide.Secrets) (*workspace.Bucket, error) {
	b, err := d.S3.Open(ctx, c, s)
	if err != nil {
		return nil, err
	}
	if err := b.Check(ctx); err != nil {
		return nil, err
	}
	return b, b.Nested(ctx)
}

// takePlace checks the bucket, claims the prefix, and makes sure that the bucket
// has the container's last save, unless force says that it need not.
func (d *Deps) takePlace(ctx context.Context, c ide.Container, s ide.Secrets, force bool) error {
	b, err := d.checkPlace(ctx, c, s)
	if err != nil {
		return err
	}
	if err := b.ClaimPrefix(ctx); err != nil {
		return err
	}
	if c.LastSave == nil || c.LastSave.Generation == 0 || force || c.Restored == c.Run {
		return nil
	}
	all, err := b.Generations(ctx)
	if err != nil {
		return err
	}
	return missing(c, all)
}

// missing is the error of a bucket that does not have a container's last save,
// nor a later one.
func missing(c ide.Container, all []workspace.Generation) error {
	newest := workspace.Generation{}
	if len(all) > 0 {
		newest = all[len(all)-1]
	}
	if newest.Number >= c.LastSave.Generation {
		return nil
	}
	has, details := "no generation at all", map[string]any{"lastSave": c.LastSave.Generation, "savedAt": c.LastSave.At, "newest": newest.Number}
	if newest.Number > 0 {
		has = fmt.Sprintf("generation %d of %s as its newest", newest.Number, newest.At.UTC().Format(time.RFC3339))
	}
	e := ide.Errorf(ide.WorkspaceMissing, "The last save of the container, generation %d of %s, is not in the bucket %q below %q: it has %s. Nothing was started and nothing was changed. Bring the objects below .berth/ back, or start it with force=true to go on with what the bucket has.",
		c.LastSave.Generation, c.LastSave.At.UTC().Format(time.RFC3339), c.S3.Name, c.S3.Prefix, has)
	e.Details = details
	return e
}

// giveCredentials hands an agent those that were minted for it: a Swarm secret
// does not change, and they must.
func (d *Deps) giveCredentials(ctx context.Context, c ide.Container, a agent) error {
	if p := d.S3.Place(c); p == nil || !p.Role {
		return nil
	}
	creds, err := d.S3.Credentials(ctx, c, ide.Secrets{})
	if err != nil {
		return err
	}
	if err := a.credentials(ctx, creds); errors.Is(err, errNoAgent) {
		return err
	} else if err != nil {
		return ide.Transient(ide.ContainerStartFailed, err, "The agent in the container does not take its credentials.")
	}
	return nil
}

// restored waits for the workspace, and notes in the record that from now on it
// may be edited, so that a stop has to save it.
func (d *Deps) restored(ctx context.Context, c ide.Container, a agent) error {
	r, err := d.waitRestored(ctx, a)
	if err != nil {
		return err
	}
	SetResult(ctx, "workspace", r)
	message := older(c, r)
	if len(r.Outside)+len(r.Overruled) > 0 {
		message = strings.TrimSpace(message + fmt.Sprintf(" Other programs have changed plain files in the bucket. Taken over: %q. Overruled by changes made here: %q.", r.Outside, r.Overruled))
	}
	if r.Recovered != "" {
		message = strings.TrimSpace(message + fmt.Sprintf(" Files that gave way to newer ones: %d, in the folder %s of the workspace. They are saved as all others.", r.RecoveredFiles, r.Recovered))
	}
	if r.Doubted {
		message = strings.TrimSpace(message + fmt.Sprintf(" What Berth notes beside the workspace was missing or out of date. The files of the volume stay, and all are compared with the last save; %d that were not there were brought back from it.", r.BroughtBack))
	}
	if len(r.Skipped) > 0 {
		message = strings.TrimSpace(message + " In the bucket, but not in the workspace: " + strings.Join(r.Skipped, "; ") + ".")
	}
	return d.Store.Note(ctx, c.ID, "container.workspace", message, func(rec *ide.Container) bool {
		known := rec.Run != c.Run || rec.Restored == c.Run
		if rec.Run == c.Run {
			rec.Restored = c.Run
		}
		return !known
	})
}

// older says that a container goes on from an older save than its last, and why.
func older(c ide.Container, r *ide.Restored) string {
	switch {
	case c.LastSave == nil || r.Local:
		return ""
	case r.Generation < c.LastSave.Generation:
		return fmt.Sprintf("It goes on from generation %d: its last save, generation %d of %s, is not in the bucket, and force was asked for.",
			r.Generation, c.LastSave.Generation, c.LastSave.At.UTC().Format(time.RFC3339))
	case slices.ContainsFunc(c.Kept, func(node string) bool { return node != c.Node }):
		return fmt.Sprintf("It goes on from generation %d of the bucket. What was changed after that save is on the volume of a node that does not answer; when the node is back, its worker keeps the volume.", r.Generation)
	}
	return ""
}
