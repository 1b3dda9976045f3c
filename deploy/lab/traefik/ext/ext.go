// Package ext stands for a module inside Traefik's that its zip leaves out:
// places where other editions of Traefik put settings of their own.
package ext

type (
	HTTP       struct{}
	Router     struct{}
	Service    struct{}
	Middleware struct{}
)
