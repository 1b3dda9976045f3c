package gateway

import (
	"strings"

	"berth/internal/ide"
)

// maxHost is the length of the longest name DNS knows.
const maxHost = 253

// parse reads "<id>-<port name>.<domain>", in any case, with or without a
// trailing dot and a port. ok says that the host has this form; port is zero
// when no port has that name.
func (g *Gateway) parse(host string) (id string, port ide.Port, ok bool) {
	name, ok := splitPort(host)
	if !ok {
		return "", ide.Port{}, false
	}
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxHost || !plain(name) {
		return "", ide.Port{}, false
	}
	label, ok := strings.CutSuffix(strings.ToLower(name), g.suffix)
	if !ok || len(label) < ide.IDLength+2 || label[ide.IDLength] != '-' || strings.Contains(label, ".") {
		return "", ide.Port{}, false
	}
	id, suffix := label[:ide.IDLength], label[ide.IDLength+1:]
	if !ide.ValidID(id) {
		return "", ide.Port{}, false
	}
	for _, p := range ide.Ports {
		if p.Name == suffix {
			return id, p, true
		}
	}
	return id, ide.Port{}, true
}

// splitPort cuts a port, one to five digits, off a host. Not ok is a host with
// a colon and anything else after it.
func splitPort(host string) (name string, ok bool) {
	name, port, found := strings.Cut(host, ":")
	if !found {
		return name, true
	}
	return name, len(port) > 0 && len(port) <= 5 && strings.Trim(port, "0123456789") == ""
}

// plain says whether s has only characters of a host name. Lower-casing is
// safe only then: the Kelvin sign becomes a k.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}
