package cli

import (
	"errors"
	"time"

	"berth/functions"
	"berth/internal/ide"
)

// Spec is what create and check ask for.
type Spec struct {
	Bucket   string            `arg:"" help:"S3 bucket of the workspace."`
	Region   string            `help:"Region of the bucket."`
	Prefix   string            `help:"Folder in the bucket."`
	Template string            `help:"One of the server's templates."`
	Image    string            `help:"Image to run."`
	CPU      float64           `name:"cpu" help:"Limit, in cores."`
	Memory   string            `help:"Limit, in bytes with k, m or g."`
	Label    map[string]string `help:"Your own labels, name=value."`
	Where    []string          `name:"constraint" help:"Condition on the node, node.labels.NAME==VALUE or !=; several may be given."`
	Strategy string            `enum:",spread,pack" default:"" help:"spread takes the emptiest node that fits, pack the fullest."`
	Generic  []string          `help:"Other resources that nodes announce, as gpu=1."`
	Idle     *Span             `name:"idle-timeout" help:"After how long without use it is stopped, as 30m; 0 is never."`
	AWSKeys  bool              `name:"aws-keys" help:"Send AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment, for the bucket; needed where the server has no role of its own (S3_ROLE_ARN)."`
}

// request is the body of a start. The keys of the bucket are read from the
// environment, which no list of processes shows, and only if asked for: they
// may be there for something else.
func (s Spec) request(g *Globals) (functions.CreateContainerRequest, error) {
	r := functions.CreateContainerRequest{S3Bucket: s.Bucket, S3Region: s.Region, S3Prefix: s.Prefix, Template: s.Template, Image: s.Image, Labels: s.Label}
	if s.Idle != nil {
		seconds := int(time.Duration(*s.Idle).Seconds())
		r.IdleTimeout = &seconds
	}
	if s.CPU != 0 || s.Memory != "" {
		r.Resources = &functions.ResourceRequest{CPULimit: s.CPU, MemoryLimit: s.Memory}
	}
	if len(s.Where)+len(s.Generic) > 0 || s.Strategy != "" {
		r.Placement = &ide.Placement{Constraints: s.Where, Strategy: s.Strategy, Generic: s.Generic}
	}
	if s.AWSKeys {
		r.AWSAccessKeyID, r.AWSSecretAccessKey = g.vars["AWS_ACCESS_KEY_ID"], g.vars["AWS_SECRET_ACCESS_KEY"]
		if r.AWSAccessKeyID == "" || r.AWSSecretAccessKey == "" {
			return r, errors.New("--aws-keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
		}
	}
	return r, nil
}
