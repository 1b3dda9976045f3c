package workspace

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"berth/internal/ide"
)

// What a caller may have to tell apart, with errors.Is.
var (
	// ErrTaken: another writer has made the generation that this save was to
	// be. Nothing was lost on either side; this one can save no more.
	ErrTaken = errors.New("another writer has saved this workspace")
	// ErrNoConditionalWrite: the store ignores or refuses If-None-Match.
	ErrNoConditionalWrite = errors.New("store has no conditional write")
	// ErrNotRestored: the directory was never fully restored, so that saving
	// it could empty the bucket.
	ErrNotRestored = errors.New("directory was not restored")
	// ErrInUse: another process works on the same directory.
	ErrInUse = errors.New("directory is in use")
	// ErrNested: another workspace is kept above or below the prefix.
	ErrNested = errors.New("workspace is inside another")
	// ErrDamaged: an object or manifest is missing or is not what it should be.
	ErrDamaged = errors.New("generation is damaged")
)

// Unavailable is the code of a failure of the store that may pass.
const Unavailable = ide.S3Unavailable

func taken(generation int64) error {
	return &ide.Error{Code: ide.Conflict, Permanent: true, Err: ErrTaken,
		Message: fmt.Sprintf("Another container has saved this workspace: generation %d is not ours. This one keeps its files and saves no more.", generation)}
}

func damaged(format string, args ...any) error {
	return &ide.Error{Code: ide.InvalidS3Bucket, Permanent: true, Err: ErrDamaged, Message: fmt.Sprintf(format, args...)}
}

// asDamaged is for a manifest or the like that cannot be understood.
func asDamaged(generation int64, err error) error {
	var known *ide.Error
	if errors.As(err, &known) {
		return err
	}
	return &ide.Error{Code: ide.InvalidS3Bucket, Permanent: true, Err: fmt.Errorf("%w: %w", ErrDamaged, err),
		Message: fmt.Sprintf("What the bucket has of generation %d cannot be read.", generation)}
}

// reasons says in plain words what S3's error codes mean here, and whether
// trying again can help.
var reasons = map[string]struct {
	text  string
	stays bool
}{
	"NoSuchBucket":                 {"the store has no such bucket for this access key: the bucket's name, or the key, is wrong", true},
	"InvalidBucketName":            {"the bucket name is not valid", true},
	"AccessDenied":                 {"access is denied: the store knows these credentials but they may not do this, or it does not know them", true},
	"AllAccessDisabled":            {"the bucket is closed to everybody", true},
	"AccountProblem":               {"there is a problem with the account", true},
	"InvalidAccessKeyId":           {"the access key is not known to the store", true},
	"InvalidClientTokenId":         {"the access key is not known to the store", true},
	"UnrecognizedClientException":  {"the access key is not known to the store", true},
	"InvalidSecurity":              {"the credentials are not valid", true},
	"InvalidToken":                 {"the session token is not valid", true},
	"SignatureDoesNotMatch":        {"the signature is wrong: the secret key is wrong, or a proxy changes the request on its way", true},
	"AuthorizationHeaderMalformed": {"the region is wrong", true},
	"PermanentRedirect":            {"the bucket is in another region or at another endpoint", true},
	"IllegalLocationConstraint":    {"the region is wrong", true},
	"MethodNotAllowed":             {"the store does not allow this", true},
	"InvalidObjectState":           {"the object is archived", true},
	"KMS.NotFoundException":        {"the KMS key does not exist", true},
	"KMS.DisabledException":        {"the KMS key is disabled", true},
	"NotImplemented":               {"the store cannot do this", true},
	"RequestTimeTooSkewed":         {"the clocks of this machine and of the store are more than 15 minutes apart", false},
	"RequestExpired":               {"the clocks of this machine and of the store are more than 15 minutes apart", false},
	"ExpiredToken":                 {"the session token has expired", false},
	"RequestTimeout":               {"the store waited in vain for the request", false},
	"BadRequest":                   {"the store could not read the request", false},
	"SlowDown":                     {"the store asks for fewer requests", false},
	"QuotaExceeded":                {"the store's quota is used up", false},
	"XMinioStorageFull":            {"the store is full", false},
}

// explain turns an error of the client into an *ide.Error. doing is what was
// tried, as in "list objects".
func explain(doing string, err error) error {
	var known *ide.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	var disk *fs.PathError
	if errors.As(err, &disk) {
		return &ide.Error{Code: ide.ResourceLimitExceeded, Permanent: true, Err: err,
			Message: fmt.Sprintf("The disk of the workspace: %s.", bare(err))}
	}
	e := &ide.Error{Err: fmt.Errorf("%s: %w", doing, err)}
	var resp minio.ErrorResponse
	var unknownCA x509.UnknownAuthorityError
	var badName x509.HostnameError
	var notTLS tls.RecordHeaderError
	why, stays := "the store cannot be reached or broke off", false
	switch {
	case errors.As(err, &resp) && resp.StatusCode != 0:
		r, ok := reasons[resp.Code]
		switch {
		case ok:
			why, stays = r.text, r.stays
		case resp.StatusCode == http.StatusUnauthorized:
			why, stays = "the store does not accept the credentials", true
		case resp.StatusCode == http.StatusForbidden: // without a body the store does not say which
			why, stays = reasons["AccessDenied"].text, true
		case resp.StatusCode == http.StatusNotFound:
			why, stays = "it does not exist", true
		case resp.StatusCode >= 300 && resp.StatusCode < 400:
			why, stays = "the bucket is in another region or at another endpoint", true
		case resp.StatusCode == http.StatusNotImplemented:
			why, stays = "the store cannot do this", true
		case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout:
			why = "the store has trouble"
		case resp.StatusCode >= 400 && resp.Code != "RequestError" && resp.Code != "IncompleteBody" && resp.Code != "BadDigest" && resp.Code != "XAmzContentSHA256Mismatch":
			why, stays = "the store refuses the request", true
		}
		why = fmt.Sprintf("%s (%s, status %d)", why, code(resp), resp.StatusCode)
	case errors.As(err, &unknownCA):
		why, stays = "its certificate is signed by an unknown authority", true
	case errors.As(err, &badName):
		why, stays = "its certificate is for another name", true
	case errors.As(err, &notTLS):
		why, stays = "it does not speak TLS", true
	case errors.Is(err, context.DeadlineExceeded):
		why = "the store did not answer in time"
	}
	e.Permanent = stays
	e.Code = Unavailable
	if stays {
		e.Code = ide.InvalidS3Bucket
	}
	e.Message = fmt.Sprintf("S3: cannot %s: %s.", doing, why)
	return e
}

func code(r minio.ErrorResponse) string {
	if r.Code == "" {
		return "no code"
	}
	return r.Code
}

// isMissing says whether a key does not exist. A missing bucket is another matter.
func isMissing(err error) bool {
	var resp minio.ErrorResponse
	return errors.As(err, &resp) && resp.StatusCode == http.StatusNotFound && resp.Code != "NoSuchBucket"
}

// errRefused is what a conditional write would have answered.
var errRefused = errors.New("the key exists")

// isRefused says whether a conditional write found its condition unmet.
func isRefused(err error) bool {
	var resp minio.ErrorResponse
	return errors.Is(err, errRefused) || errors.As(err, &resp) && (resp.StatusCode == http.StatusPreconditionFailed || resp.StatusCode == http.StatusConflict)
}

// isRefusedKey says whether S3 refuses one key, and not the credentials, the
// bucket or every request.
func isRefusedKey(err error) bool {
	var resp minio.ErrorResponse
	if !errors.As(err, &resp) || !ide.IsPermanent(err) {
		return false
	}
	return resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusConflict || resp.StatusCode == http.StatusMethodNotAllowed
}

// isNotImplemented says whether the store knows no such request.
func isNotImplemented(err error) bool {
	var resp minio.ErrorResponse
	return errors.As(err, &resp) && resp.StatusCode == http.StatusNotImplemented
}

// try calls f until it succeeds, what is wrong stays, or it has failed five
// times. The client itself repeats whole requests; this repeats what breaks
// off in the middle of an answer.
func try(ctx context.Context, doing string, f func() error) error {
	for attempt := 0; ; attempt++ {
		err := f()
		if err == nil {
			return nil
		}
		if file := (*fileError)(nil); errors.As(err, &file) {
			return err
		}
		if err = explain(doing, err); attempt == 4 || ide.IsPermanent(err) || ctx.Err() != nil {
			return err
		}
		pause := time.NewTimer(rand.N(100 * time.Millisecond << attempt))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}
