package workspace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// helperEnv makes the test binary a process that saves until it is killed.
const helperEnv = "WORKSPACE_TEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		act := saveForEver
		if os.Getenv("HELPER_MODE") != "" {
			act = saveOnce
		}
		if err := act(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	minio.DefaultRetryUnit = 10 * time.Millisecond // faults are many here
	os.Exit(m.Run())
}

const roundFiles = 12

// saveForEver writes round after round the same number into some files, one of
// several parts, saves, and says on standard output what it was told.
func saveForEver() error {
	var cfg Config
	dir := os.Getenv(helperEnv)
	cfg.Endpoint, cfg.Bucket, cfg.Prefix, cfg.PathStyle = os.Getenv("HELPER_URL"), "bucket", "ws", true
	cfg.Credentials = Credentials{AccessKey: "access", SecretKey: "secretsecret"}
	cfg.KeepGenerations, cfg.KeepFor, cfg.Grace = 2, 1, 1
	b, err := New(cfg)
	if err != nil {
		return err
	}
	ctx := context.Background()
	w, r, err := b.Restore(ctx, dir, nil)
	if err != nil {
		return err
	}
	if len(r.Outside) > 0 {
		return fmt.Errorf("outside edits %q", r.Outside)
	}
	fmt.Println("restored", r.Generation)
	round, err := roundOf(dir)
	if err != nil {
		return err
	}
	for {
		round++
		for i := range roundFiles {
			text := strconv.Itoa(round)
			if i == 0 {
				text += strings.Repeat("\n", partSize)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), []byte(text), 0o644); err != nil {
				return err
			}
		}
		s, err := w.Save(ctx)
		if err != nil {
			return err
		}
		fmt.Println("saved", s.Generation, round)
	}
}

var errTorn = errors.New("files of different rounds")

// roundOf returns the number that all files have.
func roundOf(dir string) (int, error) {
	round := -1
	for i := range roundFiles {
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("f", i)))
		if errors.Is(err, os.ErrNotExist) && round <= 0 {
			round = 0
			continue
		}
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(strings.TrimRight(string(b), "\n"))
		if err != nil {
			return 0, err
		}
		if round >= 0 && n != round {
			return 0, fmt.Errorf("%w: %d and %d", errTorn, round, n)
		}
		round = n
	}
	return round, nil
}

// TestKilledInTheMiddleOfASave kills the saving process at one request after
// the other. What was acknowledged is there, nothing is torn, and the next
// process on the same directory goes on.
func TestKilledInTheMiddleOfASave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var killAt atomic.Int64
	var process atomic.Pointer[os.Process]
	f := versity(t).faulty(t, 1, func(n int64) {
		if at := killAt.Load(); at > 0 && n >= at {
			if p := process.Load(); p != nil {
				p.Kill()
			}
		}
	})
	b := f.bucket(t)
	acknowledged, generations := 0, int64(0) // what was, and what was seen to be there
	began, early := time.Now(), false
	for i := range cycles() {
		if early = enough(t, began, i); early {
			break
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperEnv+"="+dir, "HELPER_URL="+f.url)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		process.Store(cmd.Process)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var round int
			var generation int64
			switch {
			case strings.HasPrefix(lines.Text(), "restored"):
				killAt.Store(f.seen.Load() + 1 + int64(i*13%150))
			default:
				if _, err := fmt.Sscanf(lines.Text(), "saved %d %d", &generation, &round); err != nil {
					t.Fatalf("the helper says %q", lines.Text())
				}
				acknowledged, generations = round, generation
			}
		}
		err = cmd.Wait()
		process.Store(nil)
		killAt.Store(0)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Exited() {
			t.Fatalf("the helper ended by itself: %v", err)
		}

		v, err := b.Verify(t.Context(), 0)
		if err != nil || v.Generation < generations {
			t.Fatalf("kill %d: newest is %+v, %v; acknowledged was %d", i, v, err, generations)
		}
		if v.Generation == 0 {
			for j := range roundFiles {
				os.Remove(filepath.Join(dir, fmt.Sprint("f", j)))
			}
			continue
		}
		back := t.TempDir()
		_, r := mustRestore(t, b, back)
		round, err := roundOf(back)
		if err != nil || round < acknowledged || round > acknowledged+1 || len(r.Outside) > 0 {
			t.Fatalf("kill %d: restored round %d, %v, outside %q; acknowledged was %d", i, round, err, r.Outside, acknowledged)
		}
		acknowledged = round
		// The directory may have been left in the middle of a round.
		for j := range roundFiles {
			text := strconv.Itoa(round)
			if j == 0 {
				text += strings.Repeat("\n", partSize)
			}
			write(t, dir, fmt.Sprint("f", j), text)
		}
	}
	t.Logf("%d generations", generations)
	if generations < 3 && !testing.Short() && !early {
		t.Errorf("only %d generations: the test tests little", generations)
	}
}
