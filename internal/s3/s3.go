// Package s3 is the control plane's own side of the users' buckets: it says
// where a container's workspace is kept, opens that place with the container's
// credentials, and mints short-lived ones where the operator has a role.
//
// Nothing of the operator's own keys leaves this package.
package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"berth/internal/ide"
	"berth/internal/workspace"
)

// Config is what the operator says of the store.
type Config struct {
	Off bool // workspaces are kept nowhere: for trying out

	Endpoint     string // URL of the store; empty is AWS
	PathStyle    bool
	CA           string // PEM
	Encryption   string // AES256 or aws:kms
	KMSKey       string
	SingleWriter bool
	NoMirror     bool

	KeepGenerations int
	Interval        time.Duration // between two saves

	// A role of AWS's Security Token Service, or of a store that speaks its
	// AssumeRole (MinIO). Keys are the operator's.
	RoleARN              string
	STSEndpoint          string // empty is AWS's of the bucket's region, or Endpoint where that is set
	AccessKey, SecretKey string
	SessionTime          time.Duration // of minted credentials; AWS takes 15 min to 12 h
}

// Kinds of credentials that a container has.
const (
	Own  = "own"  // of the request
	Role = "role" // minted, short-lived
)

// Client opens containers' places. It is safe for concurrent use. A nil Client
// keeps workspaces nowhere.
type Client struct {
	cfg  Config
	http *http.Client

	mu     sync.Mutex
	minted map[string]ide.S3Credentials // by container
}

// New returns a Client, or says what of the configuration cannot be.
func New(cfg Config) (*Client, error) {
	switch {
	case cfg.RoleARN != "" && (cfg.AccessKey == "" || cfg.SecretKey == ""):
		return nil, errors.New("S3_ROLE_ARN needs S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, the keys that may assume it")
	case cfg.RoleARN == "" && cfg.AccessKey != "":
		return nil, errors.New("S3_ACCESS_KEY_ID is for assuming S3_ROLE_ARN, which is not set: the operator's own keys are never given to containers")
	}
	if !cfg.Off {
		// what cannot be is better said now than in every job
		if _, err := workspace.Open(place(cfg, ide.Bucket{Name: "example"}), ide.S3Credentials{}); err != nil {
			return nil, fmt.Errorf("S3 settings: %s", ide.AsError(err).Message)
		}
	}
	hc, err := stsClient(cfg.CA)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, http: hc, minted: map[string]ide.S3Credentials{}}, nil
}

// Off says whether workspaces are kept nowhere.
func (c *Client) Off() bool { return c == nil || c.cfg.Off }

// HasRole says whether credentials can be minted.
func (c *Client) HasRole() bool { return c != nil && c.cfg.RoleARN != "" }

// SingleWriter says whether the operator has given up conditional writes.
func (c *Client) SingleWriter() bool { return c != nil && c.cfg.SingleWriter }

func place(cfg Config, b ide.Bucket) ide.Place {
	return ide.Place{
		Endpoint: cfg.Endpoint, Region: b.Region, Bucket: b.Name, Prefix: b.Prefix, PathStyle: cfg.PathStyle, CA: cfg.CA,
		Encryption: cfg.Encryption, KMSKey: cfg.KMSKey, SingleWriter: cfg.SingleWriter, NoMirror: cfg.NoMirror,
		KeepGenerations: cfg.KeepGenerations, Interval: int(cfg.Interval.Seconds()),
	}
}

// Place returns where a container's workspace is kept, or nil where nothing is.
func (c *Client) Place(rec ide.Container) *ide.Place {
	if c.Off() || rec.NoAgent {
		return nil
	}
	p := place(c.cfg, rec.S3)
	p.Role = rec.Credential == Role
	return &p
}

// Open returns a container's place as the control plane sees it.
func (c *Client) Open(ctx context.Context, rec ide.Container, s ide.Secrets) (*workspace.Bucket, error) {
	creds, err := c.Credentials(ctx, rec, s)
	if err != nil {
		return nil, err
	}
	return workspace.Open(*c.Place(rec), creds)
}

// Credentials returns those of a container: the request's own, or minted ones
// that are good for at least half of their time.
func (c *Client) Credentials(ctx context.Context, rec ide.Container, s ide.Secrets) (ide.S3Credentials, error) {
	if rec.Credential != Role {
		return ide.S3Credentials{AccessKey: s.AWSAccessKeyID, SecretKey: s.AWSSecretAccessKey}, nil
	}
	if was, ok := c.known(rec.ID); ok {
		return was, nil
	}
	minted, err := c.mint(ctx, rec)
	if err != nil {
		return ide.S3Credentials{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.minted[rec.ID] = minted
	return minted, nil
}

// known returns credentials that were minted before and will do, and forgets
// those of the past.
func (c *Client) known(id string) (ide.S3Credentials, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for k, v := range c.minted {
		if now.After(v.Until) {
			delete(c.minted, k)
		}
	}
	was, ok := c.minted[id]
	return was, ok && now.Add(c.cfg.SessionTime/2).Before(was.Until)
}

// mint asks the Security Token Service for credentials that can do what an
// agent does, below the container's prefix only (AWS STS API Reference,
// AssumeRole: a session's rights are the role's and the policy's both).
func (c *Client) mint(ctx context.Context, rec ide.Container) (ide.S3Credentials, error) {
	endpoint := c.cfg.STSEndpoint
	if endpoint == "" {
		endpoint = c.cfg.Endpoint
	}
	if endpoint == "" {
		endpoint = "https://sts." + rec.S3.Region + ".amazonaws.com"
	}
	policy, err := sessionPolicy(rec.S3)
	if err != nil {
		return ide.S3Credentials{}, err
	}
	sts := credentials.STSAssumeRole{STSEndpoint: endpoint, Client: c.http, Options: credentials.STSAssumeRoleOptions{
		AccessKey: c.cfg.AccessKey, SecretKey: c.cfg.SecretKey, Policy: policy, Location: rec.S3.Region,
		DurationSeconds: int(c.cfg.SessionTime.Seconds()), RoleARN: c.cfg.RoleARN, RoleSessionName: "berth-" + rec.ID,
	}}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	type answer struct {
		v   credentials.Value
		err error
	}
	done := make(chan answer, 1)
	go func() { // the library has no context; the client's own time-out ends it
		v, err := sts.RetrieveWithCredContext(&credentials.CredContext{Client: c.http})
		done <- answer{v, err}
	}()
	select {
	case <-ctx.Done():
		return ide.S3Credentials{}, ide.Transient(workspace.Unavailable, ctx.Err(), "S3: the Security Token Service did not answer in time.")
	case a := <-done:
		if a.err != nil {
			return ide.S3Credentials{}, c.stsError(a.err)
		}
		until := a.v.Expiration
		if until.IsZero() {
			until = time.Now().Add(c.cfg.SessionTime)
		}
		return ide.S3Credentials{AccessKey: a.v.AccessKeyID, SecretKey: a.v.SecretAccessKey, Token: a.v.SessionToken, Until: until}, nil
	}
}

// stsError says in plain words why no credentials were minted. Whether it
// stays cannot be told from the library's error but by S3's code in it. What a
// service says may quote the request: the keys are taken out.
func (c *Client) stsError(err error) error {
	said := errors.New(strings.NewReplacer(c.cfg.SecretKey, "(secret key)", c.cfg.AccessKey, "(access key)").Replace(err.Error()))
	var refused credentials.ErrorResponse
	if errors.As(err, &refused) && refused.STSError.Code != "" {
		permanent := refused.STSError.Type != "Receiver" && refused.STSError.Code != "Throttling" && refused.STSError.Code != "InternalError"
		return &ide.Error{Code: ide.InvalidS3Bucket, Permanent: permanent, Err: said,
			Message: fmt.Sprintf("S3: the role of this server could not be assumed (%s).", refused.STSError.Code)}
	}
	return ide.Transient(workspace.Unavailable, said, "S3: the Security Token Service cannot be reached.")
}

type statement struct {
	Effect    string         `json:"Effect"`
	Action    []string       `json:"Action"`
	Resource  []string       `json:"Resource"`
	Condition map[string]any `json:"Condition,omitempty"`
}

// sessionPolicy allows what saving and restoring need, in one bucket below one
// prefix (Amazon S3 User Guide, "Policies and permissions").
func sessionPolicy(b ide.Bucket) (string, error) {
	prefix := strings.Trim(b.Prefix, "/")
	if strings.ContainsAny(prefix, "*?$") {
		return "", ide.Errorf(ide.ValidationFailed, "With a role, s3Prefix may not contain *, ? or $.")
	}
	arn := "arn:aws:s3:::" + b.Name
	list := statement{Effect: "Allow", Action: []string{"s3:ListBucket", "s3:GetBucketLocation"}, Resource: []string{arn}}
	below := arn + "/*"
	if prefix != "" {
		below = arn + "/" + prefix + "/*"
		list.Condition = map[string]any{"StringLike": map[string]any{"s3:prefix": []string{prefix + "/*"}}}
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []statement{list, {
		Effect: "Allow", Resource: []string{below},
		Action: []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"},
	}}})
	return string(text), err
}
