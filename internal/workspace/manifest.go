package workspace

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"
)

// format is the version of the manifests written here.
const format = 1

// maxManifest bounds what is read of one manifest, for a worker that verifies
// what somebody may have put into a bucket of theirs.
const maxManifest = 512 << 20

// The kinds of an Entry.
const (
	File = "file"
	Dir  = "dir"
	Link = "link"
)

// Entry is one file, directory or symbolic link of a generation.
type Entry struct {
	Path   string // below the workspace, any bytes
	Kind   string
	Mode   uint32 // as in chmod(2): 07777
	MTime  Stamp
	Size   int64
	Disk   int64 // bytes that it takes on the disk, if it has holes; 0 is all of Size
	Sum    Sum
	Target string // of a link, any bytes
	Hard   string // of a file: the first path of the same file, where this is another; the content is that one's
	// Attrs are the extended attributes of a file or directory, all named user.*
	Attrs map[string]string

	ETag  string         // of the object
	Plain string         // ETag of the plain file that is known to have this content
	Stale map[string]Sum // further ETags that a plain file of ours may have at this path, with the content of each
}

// Header is what a manifest says before its entries.
type Header struct {
	Format     int       `json:"format"`
	Generation int64     `json:"generation"`
	Base       int64     `json:"base"`             // the generation before
	Author     string    `json:"author"`           // random, one process
	Writer     string    `json:"writer,omitempty"` // Config.Writer
	At         time.Time `json:"at"`
	Files      int       `json:"files"`
	Bytes      int64     `json:"bytes"`
	// Objects that this generation has and its base had not, and the reverse:
	// with them, collecting reads no manifest whole but the oldest.
	Added   []Sum `json:"added"`
	Dropped []Sum `json:"dropped"`
	// Gone has the plain files to delete that may still be there: by path the ETags
	// that they may have, with the content of each. A user has deleted them from a
	// workspace whose last generation had them.
	Gone map[string]map[string]Sum `json:"gone,omitempty"`
}

// wireEntry is an Entry as JSON. Names that are not UTF-8 are in base64.
type wireEntry struct {
	Path     string            `json:"path,omitempty"`
	Path64   string            `json:"path64,omitempty"`
	Kind     string            `json:"kind"`
	Mode     uint32            `json:"mode,omitempty"`
	MTime    int64             `json:"mtime,omitempty"` // seconds
	NS       int64             `json:"ns,omitempty"`    // and nanoseconds
	Disk     int64             `json:"disk,omitempty"`
	Hard     string            `json:"hard,omitempty"`
	Hard64   string            `json:"hard64,omitempty"`
	Attrs    map[string][]byte `json:"attrs,omitempty"`
	Attrs64  map[string][]byte `json:"attrs64,omitempty"` // of names in base64
	Size     int64             `json:"size,omitempty"`
	Sum      *Sum              `json:"sha256,omitempty"`
	Target   string            `json:"target,omitempty"`
	Target64 string            `json:"target64,omitempty"`
	ETag     string            `json:"etag,omitempty"`
	Plain    string            `json:"plain,omitempty"`
	Stale    map[string]Sum    `json:"stale,omitempty"`
}

func toWire(s string) (text, b64 string) {
	if utf8.ValidString(s) {
		return s, ""
	}
	return "", base64.StdEncoding.EncodeToString([]byte(s))
}

func fromWire(text, b64 string) (string, error) {
	if b64 == "" {
		return text, nil
	}
	if text != "" {
		return "", errors.New("a name is given twice")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(b64)
	return string(b), err
}

// writeManifest writes a manifest, one line for each entry. Entries are in
// the order of their paths.
func writeManifest(w io.Writer, h Header, entries []Entry) error {
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	bw := bufio.NewWriter(w)
	bw.Write(head[:len(head)-1])
	bw.WriteString(`,"entries":[`)
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	for i, e := range entries {
		if i > 0 {
			bw.WriteByte(',')
		}
		x := wireEntry{Kind: e.Kind, Mode: e.Mode, MTime: e.MTime.Sec, NS: e.MTime.Nsec, Size: e.Size, Disk: e.Disk, ETag: e.ETag, Plain: e.Plain, Stale: e.Stale}
		x.Path, x.Path64 = toWire(e.Path)
		x.Target, x.Target64 = toWire(e.Target)
		x.Hard, x.Hard64 = toWire(e.Hard)
		for attr, value := range e.Attrs {
			text, b64 := toWire(attr)
			into := &x.Attrs
			if b64 != "" {
				into = &x.Attrs64
			}
			if *into == nil {
				*into = map[string][]byte{}
			}
			(*into)[text+b64] = []byte(value)
		}
		if e.Kind == File {
			x.Sum = &e.Sum
		}
		line.Reset()
		if err := enc.Encode(x); err != nil {
			return err
		}
		bw.WriteByte('\n')
		bw.Write(bytes.TrimRight(line.Bytes(), "\n"))
	}
	bw.WriteString("\n]}\n")
	return bw.Flush()
}

// errStop ends readManifest early without an error.
var errStop = errors.New("enough")

// readManifest reads a manifest from anybody's bucket. It calls each, if not
// nil, for every entry after it was found sound: a clean path, below a
// directory that came before, in order, so none twice. An error of each ends it.
func readManifest(r io.Reader, begin func(Header) error, each func(Entry) error) (Header, error) {
	dec := json.NewDecoder(&capped{r: r, left: maxManifest})
	h, err := readHeader(dec)
	if err != nil {
		return h, err
	}
	if begin != nil {
		if err := begin(h); err != nil {
			return h, ignore(err, errStop)
		}
	}
	var v validator
	for dec.More() {
		var x wireEntry
		if err := dec.Decode(&x); err != nil {
			return h, fmt.Errorf("entry %d: %w", v.count, err)
		}
		e, err := v.entry(x)
		if err != nil {
			return h, fmt.Errorf("entry %d: %w", v.count, err)
		}
		if each != nil {
			if err := each(e); err != nil {
				return h, ignore(err, errStop)
			}
		}
	}
	for _, want := range []json.Delim{']', '}'} {
		if err := delim(dec, want); err != nil {
			return h, err
		}
	}
	if v.files != h.Files || v.bytes != h.Bytes {
		return h, fmt.Errorf("it lists %d files and %d bytes, not %d and %d", v.files, v.bytes, h.Files, h.Bytes)
	}
	return h, nil
}

// readHeader reads up to the first entry.
func readHeader(dec *json.Decoder) (h Header, err error) {
	if err := delim(dec, '{'); err != nil {
		return h, err
	}
	fields := map[string]any{
		"format": &h.Format, "generation": &h.Generation, "base": &h.Base, "author": &h.Author, "writer": &h.Writer, "at": &h.At,
		"files": &h.Files, "bytes": &h.Bytes, "added": &h.Added, "dropped": &h.Dropped, "gone": &h.Gone,
	}
	for {
		t, err := dec.Token()
		if err != nil {
			return h, err
		}
		name, ok := t.(string)
		if !ok {
			return h, errors.New("it has no entries")
		}
		if name == "entries" {
			break
		}
		into, known := fields[name]
		if !known {
			into = new(json.RawMessage)
		}
		if err := dec.Decode(into); err != nil {
			return h, fmt.Errorf("%.40s: %w", name, err)
		}
	}
	if h.Format != format {
		return h, fmt.Errorf("it has format %d, known is %d", h.Format, format)
	}
	return h, delim(dec, '[')
}

func delim(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err == nil && t != want {
		err = fmt.Errorf("found %v, not %v", t, want)
	}
	return err
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// capped ends with an error, not as if the input were over.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("it is too long")
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// validator checks entries one after the other.
type validator struct {
	last  string
	dirs  map[string]bool
	count int
	files int
	bytes int64
}

func (v *validator) entry(x wireEntry) (e Entry, err error) {
	v.count++
	e = Entry{Kind: x.Kind, Mode: x.Mode, MTime: Stamp{x.MTime, x.NS}, Size: x.Size, Disk: x.Disk, ETag: x.ETag, Plain: x.Plain, Stale: x.Stale}
	if e.Path, err = fromWire(x.Path, x.Path64); err != nil {
		return e, err
	}
	if e.Target, err = fromWire(x.Target, x.Target64); err != nil {
		return e, err
	}
	if e.Hard, err = fromWire(x.Hard, x.Hard64); err != nil {
		return e, err
	}
	if err := checkPath(e.Path); err != nil {
		return e, err
	}
	if e.Hard != "" && (e.Kind != File || e.Hard >= e.Path || checkPath(e.Hard) != nil) {
		return e, fmt.Errorf("other path of %.80q", e.Path)
	}
	if e.MTime.Nsec < 0 || e.MTime.Nsec >= 1e9 || e.Disk < 0 {
		return e, fmt.Errorf("time or size of %.80q", e.Path)
	}
	if len(x.Attrs)+len(x.Attrs64) > 0 {
		e.Attrs = map[string]string{}
	}
	for attr, value := range x.Attrs {
		e.Attrs[attr] = string(value)
	}
	for b64, value := range x.Attrs64 {
		attr, err := fromWire("", b64)
		if err != nil {
			return e, fmt.Errorf("attribute of %.80q: %w", e.Path, err)
		}
		e.Attrs[attr] = string(value)
	}
	if err := checkAttributes(e.Attrs); err != nil {
		return e, fmt.Errorf("%w of %.80q", err, e.Path)
	}
	if v.count > 1 && e.Path <= v.last {
		return e, fmt.Errorf("path %.80q is out of order", e.Path)
	}
	v.last = e.Path
	if i := strings.LastIndexByte(e.Path, '/'); i >= 0 && !v.dirs[e.Path[:i]] {
		return e, fmt.Errorf("path %.80q is in no directory", e.Path)
	}
	if e.Mode&^0o7777 != 0 {
		return e, fmt.Errorf("mode %o of %.80q", e.Mode, e.Path)
	}
	switch e.Kind {
	case File:
		if x.Sum == nil || e.Size < 0 || (e.Size == 0) != (*x.Sum == emptySum) {
			return e, fmt.Errorf("size or hash of %.80q", e.Path)
		}
		e.Sum = *x.Sum
		v.files++
		v.bytes += e.Size
	case Dir:
		if v.dirs == nil {
			v.dirs = map[string]bool{}
		}
		v.dirs[e.Path] = true
	case Link:
		if e.Target == "" || strings.ContainsRune(e.Target, 0) {
			return e, fmt.Errorf("target of %.80q", e.Path)
		}
	default:
		return e, fmt.Errorf("kind %.20q of %.80q", e.Kind, e.Path)
	}
	if e.Kind != File && (e.Size != 0 || x.Sum != nil) || e.Kind != Link && e.Target != "" {
		return e, fmt.Errorf("%.80q is more than a %s", e.Path, e.Kind)
	}
	return e, nil
}

// checkPath says what is wrong with a path from outside: every element must be
// a name.
func checkPath(p string) error {
	if p == "" || len(p) > 64<<10 || strings.ContainsRune(p, 0) || p[0] == '/' {
		return fmt.Errorf("path %.80q", p)
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == "" || name == "." || name == ".." {
			return fmt.Errorf("path %.80q", p)
		}
	}
	return nil
}

// fileMode turns chmod(2)'s bits into Go's, and unixMode the reverse.
func fileMode(m uint32) fs.FileMode {
	fm := fs.FileMode(m & 0o777)
	for bit, flag := range specialBits {
		if m&bit != 0 {
			fm |= flag
		}
	}
	return fm
}

func unixMode(fm fs.FileMode) uint32 {
	m := uint32(fm.Perm())
	for bit, flag := range specialBits {
		if fm&flag != 0 {
			m |= bit
		}
	}
	return m
}

var specialBits = map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky}
