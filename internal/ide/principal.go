package ide

import (
	"context"
	"path"
	"slices"
	"time"
)

// Role says what a key may do.
type Role string

// The roles.
const (
	Admin  Role = "admin"  // sees and does all
	Client Role = "client" // sees and changes its own
	Viewer Role = "viewer" // sees all, changes nothing
)

// Roles lists the roles.
func Roles() []Role { return []Role{Admin, Client, Viewer} }

// Principal is who calls.
type Principal struct {
	Name string // stable name of the key: the owner of what it makes
	Role Role
	Limits
}

// Limits are a key's own; zero values stand for the server's.
type Limits struct {
	RateLimit     int      `json:"rateLimit,omitempty" minimum:"1" maximum:"1000000" doc:"Requests a minute; the server's limit if missing" example:"300"`
	MaxContainers int      `json:"maxContainers,omitempty" minimum:"1" maximum:"1000000" doc:"Live containers; the server's limit if missing" example:"20"`
	Buckets       []string `json:"buckets,omitempty" maxItems:"100" doc:"Patterns of buckets that it may use, with * and ?; any if missing" example:"course-1-*"`
}

// MayUse says whether the key may use a bucket.
func (l Limits) MayUse(bucket string) bool {
	return len(l.Buckets) == 0 || slices.ContainsFunc(l.Buckets, func(pattern string) bool {
		ok, err := path.Match(pattern, bucket)
		return ok && err == nil
	})
}

// Key is an API key that was made at run time. Its secret is not kept: only
// the SHA-256 of it.
type Key struct {
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	Digest    string    `json:"digest"` // hexadecimal
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	Limits
}

// MaySee says whether p may know of something that owner owns.
func (p Principal) MaySee(owner string) bool { return p.Role != Client || p.Name == owner }

// SeesNodes says whether p may know of the Swarm's machines: their names, and
// what each has free.
func (p Principal) SeesNodes() bool { return p.Role == Admin || p.Role == Viewer }

type principalKey struct{}

// WithPrincipal returns a context that carries who calls.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf returns who calls, or a principal that may see nothing.
func PrincipalOf(ctx context.Context) Principal {
	p, ok := ctx.Value(principalKey{}).(Principal)
	if !ok {
		return Principal{Role: Client}
	}
	return p
}
