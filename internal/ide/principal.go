package ide

import "context"

// Role says what a key may do.
type Role string

// The roles.
const (
	Admin  Role = "admin"  // sees and does all
	Client Role = "client" // sees and changes its own
	Viewer Role = "viewer" // sees all, changes nothing
)

// Principal is who calls.
type Principal struct {
	Name string // stable name of the key: the owner of what it makes
	Role Role
}

// MaySee says whether p may know of something that owner owns.
func (p Principal) MaySee(owner string) bool { return p.Role != Client || p.Name == owner }

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
