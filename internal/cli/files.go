package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteFile puts what write gives in a file, which only its owner may read; "-"
// is stdout. The file is whole, or as it was before.
func WriteFile(name string, stdout io.Writer, write func(io.Writer) error) error {
	if name == "-" {
		return write(stdout)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// ReadFile gives read a file that it can read twice; "-" is stdin, which is copied
// into a temporary file before.
func ReadFile(name string, stdin io.Reader, read func(io.ReadSeeker) error) error {
	if name == "-" {
		return spool(stdin, read)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return read(f)
}

func spool(in io.Reader, read func(io.ReadSeeker) error) error {
	f, err := os.CreateTemp("", "berth-restore-*")
	if err != nil {
		return fmt.Errorf("keep the input, TMPDIR says where: %w", err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil { // it stays until it is closed
		return err
	}
	if _, err := io.Copy(f, in); err != nil {
		return fmt.Errorf("read input: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return read(f)
}
