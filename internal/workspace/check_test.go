package workspace

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"berth/internal/ide"
)

func TestCheckLeavesNothing(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		b := s.bucket(t)
		if err := b.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if keys := b.keys(t); len(keys) != 0 {
			t.Errorf("left %v", keys)
		}
	})
}

func TestReasonsInPlainWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status    int
		code      string
		permanent bool
		want      string
	}{
		{403, "AccessDenied", true, "access is denied"},
		{403, "InvalidAccessKeyId", true, "the access key is not known"},
		{403, "SignatureDoesNotMatch", true, "the signature is wrong: the secret key is wrong"},
		{401, "", true, "does not accept the credentials"},
		{403, "InvalidClientTokenId", true, "the access key is not known"},
		{403, "RequestTimeTooSkewed", false, "more than 15 minutes apart"},
		{403, "", true, "or it does not know them"},
		{403, "RequestTimeTooSkewed", false, "the clocks"},
		{404, "NoSuchBucket", true, "the bucket's name, or the key, is wrong"},
		{301, "PermanentRedirect", true, "another region"},
		{400, "AuthorizationHeaderMalformed", true, "the region is wrong"},
		{400, "ExpiredToken", false, "has expired"},
		{405, "MethodNotAllowed", true, "does not allow"},
		{500, "InternalError", false, "has trouble"},
		{503, "SlowDown", false, "fewer requests"},
		{503, "", false, "has trouble"},
		{507, "XMinioStorageFull", false, "full"},
	} {
		t.Run(fmt.Sprint(c.status, c.code), func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(c.status)
				if c.code != "" {
					fmt.Fprintf(w, "<Error><Code>%s</Code><Message>stranger</Message></Error>", c.code)
				}
			}))
			t.Cleanup(s.Close)
			err := explain("list the bucket", server{url: s.URL}.bucket(t).listOnce(t.Context(), listAll, nil))
			want := Unavailable
			if c.permanent {
				want = ide.InvalidS3Bucket
			}
			if !ide.HasCode(err, want) || ide.IsPermanent(err) != c.permanent {
				t.Errorf("%v: want code %s, permanent %v", err, want, c.permanent)
			}
			if m := ide.AsError(err).Message; !strings.Contains(m, c.want) || strings.Contains(m, "stranger") {
				t.Errorf("message %q, want %q in it", m, c.want)
			}
		})
	}
}

func TestUnreachableStoreIsNoFaultOfTheBucket(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(nil)
	s.Close()
	err := explain("list the bucket", server{url: s.URL}.bucket(t).listOnce(t.Context(), listAll, nil))
	if !ide.HasCode(err, Unavailable) || ide.IsPermanent(err) {
		t.Errorf("got %v, want a transient error", err)
	}
}

func TestWrongKeysThenRightOnes(t *testing.T) {
	t.Parallel()
	s := versity(t)
	b := s.bucket(t, func(c *Config) { c.Credentials.SecretKey = "wrong" })
	if err := b.Check(t.Context()); !ide.HasCode(err, ide.InvalidS3Bucket) || !strings.Contains(err.Error(), "secret key is wrong") {
		t.Errorf("wrong secret: %v", err)
	}
	b.SetCredentials(s.keys)
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("right secret: %v", err)
	}
	if err := s.bucket(t, func(c *Config) { c.Bucket = "absent" }).Check(t.Context()); !ide.IsPermanent(err) || !strings.Contains(err.Error(), "no such bucket") {
		t.Errorf("absent bucket: %v", err)
	}
}

func TestStoreWithoutConditionalWrites(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
		"ignores them": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Del("If-None-Match")
			next.ServeHTTP(w, r)
		},
		"refuses them": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotImplemented)
				fmt.Fprint(w, "<Error><Code>NotImplemented</Code></Error>")
				return
			}
			next.ServeHTTP(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memory(t).between(t, handle)
			if _, _, err := s.bucket(t).Restore(t.Context(), t.TempDir(), nil); !errors.Is(err, ErrNoConditionalWrite) || !ide.IsPermanent(err) {
				t.Fatalf("restore: %v, want ErrNoConditionalWrite", err)
			}
			single := func(c *Config) { c.SingleWriter = true }
			one, two := t.TempDir(), t.TempDir()
			w, _ := mustRestore(t, s.bucket(t, single), one)
			w2, _ := mustRestore(t, s.bucket(t, single), two)
			write(t, one, "f", "1")
			mustSave(t, w)
			write(t, one, "f", "2")
			if got := mustSave(t, w); got.Generation != 2 {
				t.Errorf("saved %+v", got)
			}
			write(t, two, "g", "1")
			if _, err := w2.Save(t.Context()); !errors.Is(err, ErrTaken) {
				t.Errorf("second writer in spite of the word given: %v, want ErrTaken where it can be seen", err)
			}
		})
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		dir := t.TempDir()
		b := s.bucket(t)
		if v, err := b.Verify(t.Context(), 0); err != nil || v.Generation != 0 {
			t.Errorf("empty bucket: %+v, %v", v, err)
		}
		w, _ := mustRestore(t, b, dir)
		write(t, dir, "empty", "")
		for i := range 2 * fewObjects {
			write(t, dir, fmt.Sprint("many/", i), fmt.Sprint("text ", i))
		}
		mustSave(t, w)
		os.RemoveAll(filepath.Join(dir, "many"))
		write(t, dir, "f", "text of f")
		mustSave(t, w)
		if v, err := b.Verify(t.Context(), 0); err != nil || v.Generation != 2 || v.Files != 2 || v.Author != w.author {
			t.Fatalf("verified %+v, %v", v, err)
		}
		if _, err := b.Verify(t.Context(), 9); !errors.Is(err, ErrDamaged) {
			t.Errorf("no such generation: %v", err)
		}
		for generation, text := range map[int64]string{1: "text 7", 2: "text of f"} {
			key := b.key(objectsDir + sumHex(text))
			for name, damage := range map[string]func() error{
				"missing":       func() error { return b.remove(t.Context(), key) },
				"short":         func() error { _, err := b.put(t.Context(), key, []byte(text[1:])); return err },
				"other content": func() error { _, err := b.put(t.Context(), key, []byte(strings.ToUpper(text))); return err },
			} {
				if err := damage(); err != nil {
					t.Fatal(err)
				}
				if _, err := b.Verify(t.Context(), generation); !errors.Is(err, ErrDamaged) {
					t.Errorf("generation %d, %s: %v, want ErrDamaged", generation, name, err)
				}
				if _, err := b.put(t.Context(), key, []byte(text)); err != nil {
					t.Fatal(err)
				}
				if _, err := b.Verify(t.Context(), generation); err != nil {
					t.Errorf("generation %d, mended: %v", generation, err)
				}
			}
		}
		// The one who has the files mends it.
		if err := b.remove(t.Context(), b.key(objectsDir+sumHex("text of f"))); err != nil {
			t.Fatal(err)
		}
		w.Distrust()
		if got := mustSave(t, w); got.Changed || got.Sent != 2 {
			t.Errorf("saved %+v", got)
		}
	})
}

// Parts of another size give an object another ETag, and the same content.
func TestVerifyReadsWhatHasAnotherETag(t *testing.T) {
	t.Parallel()
	b := versity(t).bucket(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, b, dir)
	text := strings.Repeat("0123456789abcdef", partSize/16+1)
	write(t, dir, "f", text)
	mustSave(t, w)
	key := b.key(objectsDir + sumHex(text))
	before, _, _ := b.stat(t.Context(), key)
	if _, err := b.put(t.Context(), key, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if after, _, _ := b.stat(t.Context(), key); after.ETag == before.ETag {
		t.Fatal("the ETag is the same: the test tests nothing")
	}
	if _, err := b.Verify(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

// Every body is signed whole, so that the store refuses what was changed on
// the way, and keeps objects without an encoding of their own.
func TestStoreChecksWhatArrives(t *testing.T) {
	t.Parallel()
	var corrupt atomic.Bool
	s := versity(t).between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if corrupt.Load() && r.Method == http.MethodPut && r.ContentLength > 0 {
			r.Body = struct {
				io.Reader
				io.Closer
			}{strings.NewReader(strings.Repeat("!", int(r.ContentLength))), r.Body}
		}
		next.ServeHTTP(w, r)
	})
	b := s.bucket(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, b, dir)
	write(t, dir, "small", "text")
	write(t, dir, "big", strings.Repeat("b", partSize+1))
	mustSave(t, w)
	for _, key := range b.keys(t) {
		info, _, err := b.stat(t.Context(), b.key(key))
		if err != nil || info.Metadata.Get("Content-Encoding") != "" {
			t.Errorf("%s: encoding %q, %v", key, info.Metadata.Get("Content-Encoding"), err)
		}
	}
	corrupt.Store(true)
	for _, text := range []string{"other text", strings.Repeat("c", smallFile+1), strings.Repeat("d", partSize+1)} {
		write(t, dir, "small", text)
		if _, err := w.Save(t.Context()); err == nil || ide.IsPermanent(err) {
			t.Errorf("save of %d bytes over a bad line: %v, want a transient error", len(text), err)
		}
	}
	corrupt.Store(false)
	if got := mustSave(t, w); got.Generation != 2 {
		t.Errorf("saved %+v", got)
	}
}

func TestEncryptionIsAskedFor(t *testing.T) {
	t.Parallel()
	for mode, key := range map[string]string{SSES3: "", SSEKMS: "key-1"} {
		var plain, ours atomic.Int32
		s := memory(t).between(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			writes := r.Method == http.MethodPut && !r.URL.Query().Has("partNumber") || r.Method == http.MethodPost && r.URL.Query().Has("uploads")
			if writes {
				ok := r.Header.Get("X-Amz-Server-Side-Encryption") == mode && r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") == key
				if ok {
					ours.Add(1)
				} else {
					plain.Add(1)
					t.Errorf("%s %s without encryption", r.Method, r.URL)
				}
			}
			r.Header.Del("X-Amz-Server-Side-Encryption")
			r.Header.Del("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id")
			next.ServeHTTP(w, r)
		})
		dir := t.TempDir()
		w, _ := mustRestore(t, s.bucket(t, func(c *Config) { c.Encryption, c.KMSKey = mode, key }), dir)
		write(t, dir, "f", "1")
		write(t, dir, "big", strings.Repeat("b", partSize+1))
		mustSave(t, w)
		if ours.Load() < 6 || plain.Load() != 0 {
			t.Errorf("%s: %d writes with, %d without", mode, ours.Load(), plain.Load())
		}
	}
}

func TestConfigThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"endpoint":   func(c *Config) { c.Endpoint = "s3.example.org" },
		"path":       func(c *Config) { c.Endpoint = "https://s3.example.org/x" },
		"encryption": func(c *Config) { c.Encryption = "rot13" },
		"CA":         func(c *Config) { c.CA = []byte("no certificate") },
	} {
		cfg := server{url: "https://s3.example.org"}.config()
		change(&cfg)
		if _, err := New(cfg); !ide.HasCode(err, ide.ValidationFailed) {
			t.Errorf("%s: %v, want VALIDATION_FAILED", name, err)
		}
	}
}
