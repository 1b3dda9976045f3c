package functions

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/internal/ide"
	"berth/internal/s3"
	"berth/internal/store"
	"berth/queue"
)

// CreateContainerRequest is the body of a start. The first five fields are
// the original design's.
type CreateContainerRequest struct {
	S3Bucket           string            `json:"s3Bucket" maxLength:"63" example:"alice-workspace" doc:"Bucket of the workspace"`
	S3Region           string            `json:"s3Region,omitempty" maxLength:"32" example:"us-east-1" doc:"Region of the bucket; the server's default if missing"`
	VNCPassword        string            `json:"vncPassword,omitempty" minLength:"6" maxLength:"8" pattern:"^[!-~]*$" patternDescription:"visible ASCII characters" doc:"Password of the desktop: 6 to 8 visible ASCII characters (VNC knows no more); random if missing" example:"hunter22"`
	AWSAccessKeyID     string            `json:"awsAccessKeyId,omitempty" maxLength:"128" doc:"Credentials for the bucket; prefer a role" example:"AKIAIOSFODNN7EXAMPLE"`
	AWSSecretAccessKey string            `json:"awsSecretAccessKey,omitempty" maxLength:"128" example:"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" doc:"Goes with awsAccessKeyId"`
	S3Prefix           string            `json:"s3Prefix,omitempty" maxLength:"512" example:"course-1/alice" doc:"Folder in the bucket"`
	Template           string            `json:"template,omitempty" maxLength:"63" example:"python" doc:"One of the server's templates: image, resources, web command and environment; default if missing"`
	Image              string            `json:"image,omitempty" maxLength:"255" doc:"Image to run, where the server allows it; the template's if missing" example:"registry.example.com/ide:3"`
	Resources          *ResourceRequest  `json:"resources,omitempty" doc:"The template's, or else the server's, if missing"`
	Placement          *ide.Placement    `json:"placement,omitempty" doc:"On which node it may run, beside what its template says"`
	Labels             map[string]string `json:"labels,omitempty" maxProperties:"32" doc:"Your own labels"`
	Webhook            *WebhookRequest   `json:"webhook,omitempty" doc:"An endpoint that is told what becomes of this container; its secret is among the container's credentials"`
	IdleTimeout        *int              `json:"idleTimeout,omitempty" minimum:"0" maximum:"31536000" example:"1800" doc:"Seconds without use after which it is saved and stopped; 0 is never; the server's default if missing"`
	Activity           *ActivityRequest  `json:"activity,omitempty" doc:"What counts as use, beside typing, input on the desktop and bytes on the web port"`
}

// ActivityRequest widens what counts as use.
type ActivityRequest struct {
	CPU float64 `json:"cpu,omitempty" minimum:"0.01" maximum:"512" example:"0.5" doc:"Cores: a load that reaches it, as of a long build, counts as use"`
}

// ResourceRequest bounds a container.
type ResourceRequest struct {
	CPULimit    float64 `json:"cpuLimit,omitempty" minimum:"0.05" maximum:"512" example:"2" doc:"Cores"`
	MemoryLimit string  `json:"memoryLimit,omitempty" maxLength:"16" example:"4g" doc:"Bytes, with k, m or g"`
}

// CreateContainerArgs is the job of a new container. All else stands in the
// container's record.
type CreateContainerArgs struct {
	Request
	Body CreateContainerRequest `json:"-"`
	ID   string                 `json:"id"`
	Run  int                    `json:"run"`
}

func (a *CreateContainerArgs) fingerprint() any { return a.Body }

// CreateContainer starts a new container.
var CreateContainer = define(Function[CreateContainerArgs]{
	Name: "container-create", Doc: "Start a new container", Route: "POST /api/containers/start", Created: true,
	Queue: queue.Default, Attempts: 12, Timeout: 5 * time.Minute, Cancelable: true, Moves: true,
	Expect: []ide.Status{ide.Starting, ide.Running},
	Admit:  admitCreate,
	Run: func(ctx context.Context, d *Deps, a CreateContainerArgs) error {
		return start(ctx, d, a.ID, "container-create", false)
	},
	Fail: func(ctx context.Context, d *Deps, a CreateContainerArgs, cause *ide.Error) error {
		return failStart(ctx, d, a.ID, runOf(ctx), "container-create", cause)
	},
	Again: func(ctx context.Context, d *Deps, p ide.Principal, _ ide.Job, a CreateContainerArgs) (store.Admitted, error) {
		return StartContainer.Enqueue(ctx, d, p, &StartContainerArgs{ID: a.ID})
	},
})

// check returns what a request comes to: the container it would make, so far
// as the request says.
func (b CreateContainerRequest) check(d *Deps, p ide.Principal) (c ide.Container, err error) {
	if err := checkBucket(b.S3Bucket); err != nil {
		return c, err
	}
	if err := checkPrefix(b.S3Prefix); err != nil {
		return c, err
	}
	if !p.MayUse(b.S3Bucket) {
		return c, ide.Errorf(ide.Forbidden, "Your key may not use this bucket.")
	}
	if (b.AWSAccessKeyID == "") != (b.AWSSecretAccessKey == "") {
		return c, invalid("body.awsSecretAccessKey", "awsAccessKeyId and awsSecretAccessKey must come together")
	}
	t, err := d.template(b.Template)
	if err != nil {
		return c, err
	}
	c = ide.Container{
		Owner: p.Name, Labels: b.Labels, S3: ide.Bucket{Name: b.S3Bucket, Region: b.S3Region, Prefix: b.S3Prefix},
		Template: t.Name, Env: t.Env, WebCommand: t.WebCommand, Hardening: t.Hardening, NoAgent: t.NoAgent,
	}
	if err := place(&c, t.Placement, b.Placement); err != nil {
		return c, err
	}
	if c.S3.Region == "" {
		c.S3.Region = d.AWSRegion
	}
	if c.Image, err = d.image(b.Image, t); err != nil {
		return c, err
	}
	if c.Resources, err = d.resources(b.Resources, t); err != nil {
		return c, err
	}
	if t.Hardening.PIDs > 0 {
		c.Resources.PIDs = t.Hardening.PIDs
	}
	if err := b.use(d, &c); err != nil {
		return c, err
	}
	if d.S3.Place(c) != nil {
		switch {
		case b.AWSAccessKeyID != "":
			c.Credential = s3.Own
		case d.S3.HasRole():
			c.Credential = s3.Role
		default:
			return c, invalid("body.awsAccessKeyId", "awsAccessKeyId and awsSecretAccessKey must be given: this server has no role for buckets")
		}
	}
	if b.Webhook != nil {
		if err := b.Webhook.check(d, "body.webhook."); err != nil {
			return c, err
		}
	}
	return c, checkLabels(b.Labels)
}

// use sets from when on a container is idle. It refuses a timeout for what
// nobody can see the use of.
func (b CreateContainerRequest) use(d *Deps, c *ide.Container) error {
	timeout := int(d.IdleTimeout.Seconds())
	if b.IdleTimeout != nil {
		timeout = *b.IdleTimeout
	}
	most := int(d.MaxIdleTimeout.Seconds())
	switch {
	case most > 0 && (timeout == 0 || timeout > most):
		return invalid("body.idleTimeout", fmt.Sprintf("idleTimeout must be at least 1 and at most %d seconds here", most))
	case timeout > 0 && c.NoAgent && d.EdgeUnseen:
		return invalid("body.idleTimeout", "idleTimeout must be 0: this image has no agent and its traffic does not pass through Berth, so nobody sees whether it is used")
	case b.Activity != nil && b.Activity.CPU > 0 && c.NoAgent:
		return invalid("body.activity.cpu", "activity.cpu must not be given: this image has no agent that could tell its load")
	}
	c.IdleTimeout = timeout
	if b.Activity != nil {
		c.ActivityCPU = b.Activity.CPU
	}
	return nil
}

func admitCreate(ctx context.Context, d *Deps, p ide.Principal, a *CreateContainerArgs) (store.Admission, error) {
	b := a.Body
	c, err := b.check(d, p)
	if err != nil {
		return store.Admission{}, err
	}
	id := ide.NewID()
	secrets := ide.Secrets{
		AgentToken: password(32), VNCPassword: b.VNCPassword, CodePassword: password(16),
		AWSAccessKeyID: b.AWSAccessKeyID, AWSSecretAccessKey: b.AWSSecretAccessKey,
	}
	if secrets.VNCPassword == "" {
		secrets.VNCPassword = password(8)
	}
	sealed, err := d.Box.Seal(sealContext(id), secrets)
	if err != nil {
		return store.Admission{}, err
	}
	a.ID, a.Run = id, 1
	c.ID, c.Run, c.Status, c.CreatedAt = id, 1, ide.Starting, d.Store.Time(ctx)
	c.URLs, c.Probe, c.Sealed = ide.MakeURLs(d.URLScheme, id, d.ContainerDomain), ide.NewID(), sealed
	adm := store.Admission{
		New: &c, Reserve: true, Place: d.S3.Place(c) != nil, MaxPerKey: d.maxPerKey(p), Pack: d.Pack, Message: "A start was asked for.",
	}
	if b.Webhook != nil {
		w, _, err := b.Webhook.endpoint(d, p)
		if err != nil {
			return store.Admission{}, err
		}
		w.All, w.Container, c.Webhook, adm.Webhook = false, id, w.ID, &w
	}
	return adm, nil
}

// maxPerKey is how many live containers a key may have; 0 is any number.
func (s Settings) maxPerKey(p ide.Principal) int {
	if p.MaxContainers > 0 {
		return p.MaxContainers
	}
	return s.MaxPerKey
}

// sealContext binds sealed secrets to their container.
func sealContext(id string) string { return "container/" + id }

// password returns n characters from crypto/rand, 6 bits each.
func password(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

func invalid(location, message string) *ide.Error {
	e := ide.Errorf(ide.ValidationFailed, "The request is not valid: %s.", message)
	e.Details = []map[string]any{{"location": location, "message": message}}
	return e
}

// bucketName is the form of general purpose bucket names (Amazon S3 User
// Guide, "Bucket naming rules"), which S3-compatible stores share.
var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	likeIPv4   = regexp.MustCompile(`^\d+\.\d+\.\d+\.\d+$`)
)

func checkBucket(name string) error {
	if !bucketName.MatchString(name) || strings.Contains(name, "..") || likeIPv4.MatchString(name) ||
		strings.HasPrefix(name, "xn--") || strings.HasSuffix(name, "-s3alias") {
		return ide.Errorf(ide.InvalidS3Bucket, "s3Bucket must be a valid bucket name: 3 to 63 lower-case letters, digits, dots and hyphens.")
	}
	return nil
}

// checkPrefix refuses what cannot be a folder of its own in the bucket.
func checkPrefix(prefix string) error {
	bad := !utf8.ValidString(prefix) || strings.ContainsFunc(prefix, unicode.IsControl) || strings.Contains(prefix, "//")
	for part := range strings.SplitSeq(strings.Trim(prefix, "/"), "/") {
		bad = bad || part == "." || part == ".." || part == ".berth"
	}
	if bad {
		return invalid("body.s3Prefix", "s3Prefix must be a folder: names between slashes, which must not be empty, ., .. or .berth")
	}
	return nil
}

// labelKey is the form of Kubernetes' and Docker's label keys: safe in every
// place where labels end up.
var labelKey = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)

func checkLabels(labels map[string]string) error {
	for k, v := range labels {
		if !labelKey.MatchString(k) || utf8.RuneCountInString(v) > 255 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return invalid("body.labels", "a label's key must have 1 to 63 letters, digits, dots, slashes, underscores and hyphens, and begin and end with a letter or digit; its value must have at most 255 characters, and no control characters")
		}
	}
	return nil
}
