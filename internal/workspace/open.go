package workspace

import "berth/internal/ide"

// Open returns the Bucket of a place, as an agent is told of it.
func Open(p ide.Place, c ide.S3Credentials) (*Bucket, error) {
	return New(Config{
		Endpoint: p.Endpoint, Region: p.Region, Bucket: p.Bucket, Prefix: p.Prefix, PathStyle: p.PathStyle, CA: []byte(p.CA),
		Encryption: p.Encryption, KMSKey: p.KMSKey, SingleWriter: p.SingleWriter, NoMirror: p.NoMirror, KeepGenerations: p.KeepGenerations, Writer: p.Writer, Kept: p.Unsaved,
		Credentials: Credentials{AccessKey: c.AccessKey, SecretKey: c.SecretKey, Token: c.Token},
	})
}
