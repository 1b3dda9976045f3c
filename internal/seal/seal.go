// Package seal encrypts what must not be read on its way through Redis and
// Swarm configs: XChaCha20-Poly1305 under keys derived from SECRET_KEY.
package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// MinKey is the least length of a secret key, in characters.
const MinKey = 32

// version is the first part of every sealed text.
const version = "v1."

// Box seals with its first key and opens with all of them, so that a key can be
// replaced while old and new processes live side by side: give all of them the new
// one in the second place, then in the first, and drop the old one when nothing
// sealed with it is left.
type Box struct {
	keys []cipher.AEAD
	macs [][]byte
}

// New returns a Box for one or more secret keys. A key is any text of at
// least MinKey characters; the cipher's key is derived from it by HKDF-SHA256
// (RFC 5869).
func New(keys ...string) (*Box, error) {
	if len(keys) == 0 {
		return nil, errors.New("no secret key")
	}
	b := &Box{}
	for i, k := range keys {
		if len(k) < MinKey {
			return nil, fmt.Errorf("secret key %d has %d characters, at least %d are needed", i+1, len(k), MinKey)
		}
		raw, err := hkdf.Key(sha256.New, []byte(k), nil, "berth seal v1", chacha20poly1305.KeySize)
		if err != nil {
			return nil, fmt.Errorf("derive key: %w", err)
		}
		aead, err := chacha20poly1305.NewX(raw)
		if err != nil {
			return nil, fmt.Errorf("make cipher: %w", err)
		}
		mac, err := hkdf.Key(sha256.New, []byte(k), nil, "berth mac v1", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive key: %w", err)
		}
		b.keys, b.macs = append(b.keys, aead), append(b.macs, mac)
	}
	return b, nil
}

// Digests returns keyed digests (HMAC-SHA256, hexadecimal) of the JSON of v, one for
// each key, the first key's first: they tell requests apart without letting a reader
// of Redis guess a password that is part of one. Two values are the same where any
// digest of one is one of the other's.
func (b *Box) Digests(v any) ([]string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	list := make([]string, len(b.macs))
	for i, mac := range b.macs {
		h := hmac.New(sha256.New, mac)
		h.Write(plain)
		list[i] = hex.EncodeToString(h.Sum(nil))
	}
	return list, nil
}

// Seal encrypts the JSON of v. The same context must be given to open it:
// what is sealed for one container does not open for another.
func (b *Box) Seal(context string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	aead := b.keys[0]
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	rand.Read(nonce)
	return version + base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, plain, []byte(context))), nil
}

// ErrOpen says that no key opens a sealed text, or that it was sealed for
// something else. It says no more on purpose.
var ErrOpen = errors.New("sealed text cannot be opened with any of the secret keys")

// Open decrypts what Seal made into v.
func (b *Box) Open(context, sealed string, v any) error {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(sealed, version))
	if err != nil || !strings.HasPrefix(sealed, version) {
		return ErrOpen
	}
	for _, aead := range b.keys {
		if len(raw) < aead.NonceSize() {
			return ErrOpen
		}
		n := aead.NonceSize()
		if plain, err := aead.Open(nil, raw[:n], raw[n:], []byte(context)); err == nil {
			return json.Unmarshal(plain, v)
		}
	}
	return ErrOpen
}
