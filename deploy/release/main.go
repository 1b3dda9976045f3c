// Command release makes what a release consists of, for each platform: the
// static program, the image from scratch as `docker load` takes it, an SBOM
// (CycloneDX); and the checksums of all of them. It needs Go and no engine
// (`make release`).
//
// The same sources and Go make the same program and the same image, byte for
// byte.
package main

import (
	"crypto/sha256"
	"debug/elf"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// sbomTool writes down which modules are in a program.
const sbomTool = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

// architectures a release has.
var architectures = []string{"amd64", "arm64"}

func main() {
	log.SetFlags(0)
	out := flag.String("out", "bin/release", "directory to write to; what is in it goes")
	version := flag.String("version", "", "version to stamp")
	roots := flag.String("ca", "/etc/ssl/certs/ca-certificates.crt", "CA bundle of the image")
	flag.Parse()
	if *version == "" {
		log.Fatal("release: no -version")
	}
	if err := release(*out, *version, *roots); err != nil {
		log.Fatal("release: ", err)
	}
}

// page is what a release is not made without: the dashboard, built.
const page = "dashboard/dist/index.html"

// release builds everything into out.
func release(out, version, roots string) error {
	if _, err := os.Stat(page); err != nil {
		return fmt.Errorf("the dashboard is not built, run make ui: %w", err)
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	tools, err := os.MkdirTemp("", "berth-release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tools)
	install := exec.Command("go", "install", sbomTool)
	install.Env, install.Stderr = append(os.Environ(), "GOBIN="+tools), os.Stderr
	if err := install.Run(); err != nil {
		return fmt.Errorf("build %s: %w", sbomTool, err)
	}
	for _, arch := range architectures {
		base := fmt.Sprintf("berth_%s_linux_%s", version, arch)
		program := filepath.Join(out, base)
		if err := build(program, version, arch); err != nil {
			return fmt.Errorf("build for %s: %w", arch, err)
		}
		if err := static(program); err != nil {
			return err
		}
		if arch == runtime.GOARCH {
			if err := says(program, version); err != nil {
				return err
			}
		}
		if err := sbom(filepath.Join(tools, "cyclonedx-gomod"), program, version, arch); err != nil {
			return fmt.Errorf("write SBOM for %s: %w", arch, err)
		}
		image := Image{Tag: "berth:" + version, Architecture: arch, Version: version, Program: program, Roots: roots}
		if err := write(filepath.Join(out, base+"_image.tar"), image.Write); err != nil {
			return fmt.Errorf("write image for %s: %w", arch, err)
		}
	}
	return checksums(out)
}

func build(program, version, arch string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version, "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// static says whether a program needs no other file to run: no loader and no
// libraries.
func static(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return fmt.Errorf("%s is not static", program)
		}
	}
	return nil
}

// says whether the program tells its version.
func says(program, version string) error {
	out, err := exec.Command(program, "version").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", program, err)
	}
	if got := strings.TrimSpace(string(out)); got != version {
		return fmt.Errorf("%s says that it is %q, not %q", program, got, version)
	}
	return nil
}

func sbom(tool, program, version, arch string) error {
	cmd := exec.Command(tool, "bin", "-json", "-std", "-output", program+".cdx.json", "-version", version, program)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch) // of the program: the tool believes its environment
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// checksums writes SHA256SUMS, as sha256sum -c reads it.
func checksums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, "SHA256SUMS"), func(w io.Writer) error {
		for _, e := range entries {
			sum, err := digest(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s  %s\n", sum, e.Name()); err != nil {
				return err
			}
		}
		return nil
	})
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// write makes a file, and none if it is not whole.
func write(path string, fill func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = fill(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path) // the error is about why it is not whole
	}
	return err
}
