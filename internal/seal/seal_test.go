package seal

import (
	"errors"
	"strings"
	"testing"
)

var (
	oldKey = strings.Repeat("old-", 8)
	newKey = strings.Repeat("new-", 8)
)

func box(t testing.TB, keys ...string) *Box {
	t.Helper()
	b, err := New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSealedOpensOnlyForItsContext(t *testing.T) {
	t.Parallel()
	b := box(t, newKey)
	s, err := b.Seal("container/a", map[string]string{"password": "hunter22"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(s, "hunter22") {
		t.Fatal("the sealed text shows the secret")
	}
	var got map[string]string
	if err := b.Open("container/a", s, &got); err != nil || got["password"] != "hunter22" {
		t.Fatalf("got %v, %v", got, err)
	}
	if err := b.Open("container/b", s, &got); !errors.Is(err, ErrOpen) {
		t.Fatalf("opened for another container: %v", err)
	}
}

func TestOldKeyStillOpens(t *testing.T) {
	t.Parallel()
	s, err := box(t, oldKey).Seal("x", "value")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := box(t, newKey, oldKey).Open("x", s, &got); err != nil || got != "value" {
		t.Fatalf("got %q, %v", got, err)
	}
	if err := box(t, newKey).Open("x", s, &got); !errors.Is(err, ErrOpen) {
		t.Fatalf("opened without the key: %v", err)
	}
}

func TestSealIsDifferentEachTime(t *testing.T) {
	t.Parallel()
	b := box(t, newKey)
	one, _ := b.Seal("x", "v")
	two, _ := b.Seal("x", "v")
	if one == two {
		t.Fatal("two seals of one value are equal")
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := New(); err == nil {
		t.Error("no key was accepted")
	}
	if _, err := New(newKey, "short"); err == nil || !strings.Contains(err.Error(), "key 2") {
		t.Errorf("got %v, want an error that names key 2", err)
	}
}

func FuzzOpen(f *testing.F) {
	b := box(f, newKey)
	good, _ := b.Seal("x", "v")
	for _, s := range []string{"", "v1.", "v1.!!", "v1.AAAA", "v2." + good[3:], good[:len(good)-1], good + "A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var v string
		if err := b.Open("x", s, &v); err == nil && s != good {
			t.Errorf("opened %q, which was never sealed", s)
		}
	})
}
