package functions

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"path"
	"regexp"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"

	"github.com/docker/go-units"
)

// CreateContainerRequest is the body of a start. The first five fields are
// the original design's.
type CreateContainerRequest struct {
	S3Bucket           string            `json:"s3Bucket" maxLength:"63" example:"alice-workspace" doc:"Bucket of the workspace"`
	S3Region           string            `json:"s3Region,omitempty" maxLength:"32" example:"us-east-1" doc:"Region of the bucket; the server's default if missing"`
	VNCPassword        string            `json:"vncPassword,omitempty" minLength:"6" maxLength:"8" doc:"Password of the desktop, at most 8 characters (the limit of VNC); random if missing"`
	AWSAccessKeyID     string            `json:"awsAccessKeyId,omitempty" maxLength:"128" doc:"Credentials for the bucket; prefer a role"`
	AWSSecretAccessKey string            `json:"awsSecretAccessKey,omitempty" maxLength:"128"`
	S3Prefix           string            `json:"s3Prefix,omitempty" maxLength:"512" example:"course-1/alice" doc:"Folder in the bucket"`
	Image              string            `json:"image,omitempty" maxLength:"255" doc:"Image to run, where the server allows it; its default if missing"`
	Resources          *ResourceRequest  `json:"resources,omitempty"`
	Labels             map[string]string `json:"labels,omitempty" maxProperties:"32" doc:"Your own labels"`
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
	Queue: queue.Default, Attempts: 12, Timeout: 5 * time.Minute, Cancelable: true,
	Expect: []ide.Status{ide.Starting, ide.Running},
	Admit:  admitCreate,
	Run: func(ctx context.Context, d *Deps, a CreateContainerArgs) error {
		return start(ctx, d, a.ID, a.Run, "container-create")
	},
	Fail: func(ctx context.Context, d *Deps, a CreateContainerArgs, cause *ide.Error) error {
		return failStart(ctx, d, a.ID, a.Run, "container-create", cause)
	},
	Again: func(ctx context.Context, d *Deps, p ide.Principal, a CreateContainerArgs) (store.Admitted, error) {
		return StartContainer.Enqueue(ctx, d, p, &StartContainerArgs{ID: a.ID})
	},
})

// check returns what a request comes to: the image and the resources that the
// container would have.
func (b CreateContainerRequest) check(s Settings, p ide.Principal) (image string, res ide.Resources, err error) {
	if err := checkBucket(b.S3Bucket); err != nil {
		return "", res, err
	}
	if !p.MayUse(b.S3Bucket) {
		return "", res, ide.Errorf(ide.Forbidden, "Your key may not use this bucket.")
	}
	if (b.AWSAccessKeyID == "") != (b.AWSSecretAccessKey == "") {
		return "", res, invalid("body.awsSecretAccessKey", "awsAccessKeyId and awsSecretAccessKey go together")
	}
	if image, err = s.image(b.Image); err != nil {
		return "", res, err
	}
	if res, err = s.resources(b.Resources); err != nil {
		return "", res, err
	}
	return image, res, checkLabels(b.Labels)
}

func admitCreate(_ context.Context, d *Deps, p ide.Principal, a *CreateContainerArgs) (store.Admission, error) {
	b := a.Body
	image, res, err := b.check(d.Settings, p)
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
	region := b.S3Region
	if region == "" {
		region = d.AWSRegion
	}
	a.ID, a.Run = id, 1
	return store.Admission{
		New: &ide.Container{
			ID: id, Run: 1, Owner: p.Name, Status: ide.Starting, Image: image, Resources: res, Labels: b.Labels,
			S3:        ide.Bucket{Name: b.S3Bucket, Region: region, Prefix: b.S3Prefix},
			URLs:      ide.MakeURLs(d.URLScheme, id, d.ContainerDomain),
			CreatedAt: time.Now().UTC(), Probe: ide.NewID(), Sealed: sealed,
		},
		Reserve: true, MaxPerKey: d.maxPerKey(p), Pack: d.Pack, Message: "A start was asked for.",
	}, nil
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
		return ide.Errorf(ide.InvalidS3Bucket, "s3Bucket is not a valid bucket name: 3 to 63 lower-case letters, digits, dots and hyphens.")
	}
	return nil
}

// labelKey is the form of Kubernetes' and Docker's label keys: safe in every
// place where labels end up.
var labelKey = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)

func checkLabels(labels map[string]string) error {
	for k, v := range labels {
		if !labelKey.MatchString(k) || len(v) > 255 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return invalid("body.labels", "a label's key has 1 to 63 letters, digits, dots, slashes, underscores and hyphens, its value at most 255 printable characters")
		}
	}
	return nil
}

// image returns the image to run for one that was asked for.
func (s Settings) image(asked string) (string, error) {
	if asked == "" || asked == s.DefaultImage {
		return s.DefaultImage, nil
	}
	for _, pattern := range s.ImageAllow {
		if ok, _ := path.Match(pattern, asked); ok {
			return asked, nil
		}
	}
	return "", invalid("body.image", "this image is not allowed here")
}

// resources returns what a container gets for what was asked.
func (s Settings) resources(asked *ResourceRequest) (ide.Resources, error) {
	r := s.Resources
	if asked == nil {
		return r, nil
	}
	if asked.CPULimit != 0 {
		r.CPULimit = int64(asked.CPULimit * 1e9)
	}
	if asked.MemoryLimit != "" {
		n, err := units.RAMInBytes(asked.MemoryLimit)
		if err != nil || n < 64<<20 {
			return r, invalid("body.resources.memoryLimit", "memoryLimit is a number of bytes with k, m or g, at least 64m")
		}
		r.MemoryLimit = n
	}
	if most := s.MaxResources; most.CPULimit > 0 && r.CPULimit > most.CPULimit || most.MemoryLimit > 0 && r.MemoryLimit > most.MemoryLimit {
		return r, invalid("body.resources", "this is more than a container may have here")
	}
	r.CPUReservation, r.MemoryReservation = min(r.CPUReservation, r.CPULimit), min(r.MemoryReservation, r.MemoryLimit)
	return r, nil
}
