// Package ide is the domain: containers, their states, jobs, nodes, events,
// principals and errors, as every role of Berth speaks of them. It imports
// nothing but the standard library, so that any package may import it.
package ide

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// idAlphabet is the lower-case base32 alphabet of RFC 4648, section 6.
var idAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// IDLength is the number of characters of an ID.
const IDLength = 13

// NewID returns 13 lower-case base32 characters (65 bits) from crypto/rand:
// one form that is at once a DNS label, a service name and a Redis key.
func NewID() string {
	b := make([]byte, 9)
	rand.Read(b)
	return idAlphabet.EncodeToString(b)[:IDLength]
}

// ValidID says whether s has the form of an ID.
func ValidID(s string) bool {
	return len(s) == IDLength && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}
