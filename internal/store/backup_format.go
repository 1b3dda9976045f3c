package store

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"time"
)

// backupFormat is the version of the format: a line of JSON for the header,
// each entry and the footer.
const backupFormat = 1

// BackupHeader is the first line of a backup.
type BackupHeader struct {
	Format int       `json:"format"`
	Berth  string    `json:"berth"` // version of the program that wrote it
	At     time.Time `json:"at"`
}

// backupEntry is a key, or some fields of one. What it means follows from the
// key's form.
type backupEntry struct {
	Key     string            `json:"key"` // without prefix
	Expires *time.Time        `json:"expires,omitempty"`
	Value   string            `json:"value,omitempty"`
	Fields  map[string]string `json:"fields,omitempty"`
	Events  []backupEvent     `json:"events,omitempty"`
	Ended   int64             `json:"ended,omitempty"` // of a job: its score in j:ended
}

type backupEvent struct {
	ID    string `json:"id"`
	Event string `json:"event"`
}

// backupFooter is the last line: without it a backup is not whole.
type backupFooter struct {
	Entries int    `json:"entries"`
	SHA256  string `json:"sha256"` // of all lines before, in hexadecimal
}

// backupWriter counts and sums up the lines that it writes. Its first error
// stays.
type backupWriter struct {
	w       *bufio.Writer
	sum     hash.Hash
	entries int
	err     error
}

func newBackupWriter(w io.Writer) *backupWriter {
	return &backupWriter{w: bufio.NewWriter(w), sum: sha256.New()}
}

func (b *backupWriter) line(v any) {
	text := encode(v) + "\n"
	b.sum.Write([]byte(text))
	if _, err := b.w.WriteString(text); b.err == nil {
		b.err = err
	}
}

func (b *backupWriter) entry(e backupEntry) error {
	b.line(e)
	b.entries++
	return b.err
}

func (b *backupWriter) end() error {
	b.line(backupFooter{Entries: b.entries, SHA256: hex.EncodeToString(b.sum.Sum(nil))})
	if b.err != nil {
		return b.err
	}
	return b.w.Flush()
}

// readBackup reads a backup to its end and calls each with its entries. A file that
// is not whole, or not of a format that is known, is an error.
func readBackup(r io.Reader, each func(backupEntry) error) (h BackupHeader, entries int, err error) {
	in, sum := bufio.NewReaderSize(r, 1<<16), sha256.New()
	line, err := in.ReadBytes('\n')
	if err != nil && err != io.EOF {
		return h, 0, err
	}
	if json.Unmarshal(line, &h) != nil || h.Format == 0 {
		return h, 0, errNoBackup
	}
	if h.Format != backupFormat {
		return h, 0, fmt.Errorf("its format is %d, written by Berth %s; this program reads format %d", h.Format, h.Berth, backupFormat)
	}
	for {
		sum.Write(line)
		if line, err = in.ReadBytes('\n'); err == io.EOF {
			return h, entries, errCut
		}
		if err != nil {
			return h, entries, err
		}
		var e backupEntry
		if err := json.Unmarshal(line, &e); err != nil {
			return h, entries, fmt.Errorf("line %d cannot be read: %w", entries+2, err)
		}
		if e.Key == "" {
			break
		}
		if err := each(e); err != nil {
			return h, entries, fmt.Errorf("line %d: %w", entries+2, err)
		}
		entries++
	}
	var f backupFooter
	if err := json.Unmarshal(line, &f); err != nil {
		return h, entries, fmt.Errorf("footer cannot be read: %w", err)
	}
	if f.Entries != entries || f.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
		return h, entries, errChanged
	}
	if rest, err := in.ReadByte(); err != io.EOF {
		return h, entries, fmt.Errorf("something follows its footer (%q)", rest)
	}
	return h, entries, nil
}
