package workspace

import (
	"crypto/rand"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"

	"berth/internal/ide"
)

// Config says where a workspace is kept, and how.
type Config struct {
	Endpoint    string // URL of the store; empty is AWS
	Region      string // empty is us-east-1
	Bucket      string
	Prefix      string // "a/b" and "a/b/" are the same place
	Credentials Credentials
	PathStyle   bool   // https://host/bucket/key, not https://bucket.host/key
	CA          []byte // PEM certificates trusted beside the system's

	Encryption string // "", SSES3 or SSEKMS
	KMSKey     string // with SSEKMS; empty is the store's default key

	// SingleWriter is the operator's word that no two containers ever write
	// below the same prefix, for stores without conditional writes.
	SingleWriter bool
	NoMirror     bool // keep no plain files for other programs

	// Writer names the run that writes, such as container and run number. A
	// process that starts again in this run knows its own generations by it.
	Writer string
	// Kept: the volume holds files of an earlier run that are in no generation.
	Kept bool

	KeepGenerations int           // at least so many are kept; 0 is 10
	KeepFor         time.Duration // and all that are younger; 0 is 7 days
	Grace           time.Duration // no object younger than this is collected; 0 is 24 h, the least 2 s

	// A file that is not in the last generation and would pass one of these is
	// left out and reported. 0 is 500,000 files, 100 GiB, 40 GiB.
	MaxFiles     int
	MaxBytes     int64
	MaxFileBytes int64
}

// minGrace is more than the second to which S3 tells an object's time.
const minGrace = 2 * time.Second

// The server-side encryptions.
const (
	SSES3  = "AES256"
	SSEKMS = "aws:kms"
)

// Credentials of the store. Token is set for short-lived ones.
type Credentials struct{ AccessKey, SecretKey, Token string }

// Bucket is the place of one workspace in an S3 store.
type Bucket struct {
	cfg    Config
	prefix string // "" or ends in /
	s3     *minio.Core
	creds  *rotating
	sse    encrypt.ServerSide

	// patience is for how long a writer waits for a collector.
	patience time.Duration
	// lateness is for how long after a note of it a plain file may be written by
	// a writer that has been overtaken.
	lateness time.Duration

	mu      sync.Mutex
	checked bool // Check has succeeded
}

// New returns a Bucket. It does not talk to the store: Check does.
func New(cfg Config) (*Bucket, error) {
	if cfg.KeepGenerations == 0 {
		cfg.KeepGenerations = 10
	}
	if cfg.KeepFor == 0 {
		cfg.KeepFor = 7 * 24 * time.Hour
	}
	if cfg.Grace == 0 {
		cfg.Grace = 24 * time.Hour
	}
	cfg.Grace = max(cfg.Grace, minGrace)
	if cfg.MaxFiles == 0 {
		cfg.MaxFiles = 500_000
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 100 << 30
	}
	if cfg.MaxFileBytes == 0 || cfg.MaxFileBytes > maxParts*partSize {
		cfg.MaxFileBytes = 40 << 30
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Endpoint == "" {
		cfg.Endpoint = "https://s3.amazonaws.com"
	}
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, ide.Errorf(ide.ValidationFailed, "The S3 endpoint is not a URL of the form https://host:port.")
	}
	b := &Bucket{cfg: cfg, prefix: strings.Trim(cfg.Prefix, "/"), creds: &rotating{value: cfg.Credentials}, patience: time.Minute, lateness: keepJournals}
	if b.prefix != "" {
		b.prefix += "/"
	}
	switch cfg.Encryption {
	case "":
	case SSES3:
		b.sse = encrypt.NewSSE()
	case SSEKMS:
		if b.sse, err = encrypt.NewSSEKMS(cfg.KMSKey, nil); err != nil {
			return nil, ide.Errorf(ide.ValidationFailed, "The KMS key is not valid.")
		}
	default:
		return nil, ide.Errorf(ide.ValidationFailed, "Server-side encryption is %s, %s or none.", SSES3, SSEKMS)
	}
	tr, err := transport(cfg.CA)
	if err != nil {
		return nil, err
	}
	lookup := minio.BucketLookupAuto
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	b.s3, err = minio.NewCore(u.Host, &minio.Options{
		Creds: credentials.New(b.creds), Secure: u.Scheme == "https", Transport: tr,
		Region: cfg.Region, BucketLookup: lookup, MaxRetries: 5,
	})
	if err != nil {
		return nil, &ide.Error{Code: ide.ValidationFailed, Message: "The S3 endpoint is not valid.", Err: err, Permanent: true}
	}
	return b, nil
}

// SetCredentials replaces the credentials, for requests from now on.
func (b *Bucket) SetCredentials(c Credentials) { b.creds.set(c) }

// rotating is a credentials.Provider whose value may be replaced at any time.
type rotating struct {
	mu    sync.Mutex
	value Credentials
	fresh bool // the client has asked for this value
}

func (r *rotating) set(c Credentials) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value, r.fresh = c, false
}

func (r *rotating) IsExpired() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.fresh
}

func (r *rotating) Retrieve() (credentials.Value, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fresh = true
	return credentials.Value{
		AccessKeyID: r.value.AccessKey, SecretAccessKey: r.value.SecretKey, SessionToken: r.value.Token,
		SignerType: credentials.SignatureV4,
	}, nil
}

func (r *rotating) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return r.Retrieve()
}

// Where things stand below the prefix.
const (
	objectsDir   = reserved + "/objects/"
	manifestsDir = reserved + "/manifests/"
	journalDir   = reserved + "/journal/"
	collectDir   = reserved + "/collect/"
	checkDir     = reserved + "/check/"
	sweptKey     = reserved + "/swept"
	claimKey     = reserved + "/claim.json"
)

func (b *Bucket) objectKey(s Sum) string { return b.prefix + objectsDir + s.String() }

// key is an object of Berth's own below the prefix.
func (b *Bucket) key(name string) string { return b.prefix + name }

// place names bucket and prefix, to tell whether a local directory was
// restored from here.
func (b *Bucket) place() string { return b.cfg.Endpoint + "/" + b.cfg.Bucket + "/" + b.prefix }

// putOptions has every write signed with the SHA-256 of all of it, which the
// store then checks. The client's own way signs chunk by chunk over HTTP, which
// stores other than AWS keep as the object's encoding, and nothing over HTTPS.
func (b *Bucket) putOptions() minio.PutObjectOptions {
	return minio.PutObjectOptions{ServerSideEncryption: b.sse, ContentType: "application/octet-stream", DisableContentSha256: true}
}

// newAuthor returns the name under which one process writes.
func newAuthor() string { return rand.Text() }
