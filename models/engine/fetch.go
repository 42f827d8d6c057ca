package engine

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// source is one way to get ONNX Runtime: a client, and what to ask it for.
type source struct {
	name string
	pins map[string]pin // by GOOS/GOARCH
	// get leaves one package, a wheel or a .tgz, in dir.
	get func(ctx context.Context, ask, dir string) error
}

// pin is what one source holds for one platform.
type pin struct {
	ask    string // what get is asked for: a wheel platform, a package, a URL
	member string // the library's path in the package
	sha256 string // of the library; the builds of the sources differ
	beside []member
}

// member is a further file of a package, which belongs beside the library.
type member struct {
	path   string // in the package
	bytes  int64
	sha256 string
}

func (m member) base() string { return path.Base(m.path) }

// sources in the order that they are tried. The digests of pip and npm were
// measured on the packages (the wheels of CPython 3.11, 3.12 and 3.13 hold the
// same library). Those of the archives are published by several projects that
// pin the same release, among them:
// https://github.com/microsoft/onnxruntime/releases/tag/v1.30.0
var sources = []source{
	{name: "pip", get: pipDownloadGPU, pins: map[string]pin{
		"linux/amd64/cuda": {ask: "manylinux_2_28_x86_64", member: "onnxruntime/capi/libonnxruntime.so.1.30.0", sha256: "5a140dc17c8b60b35b2ceab0bb533e65ac54f06a208948417c1f9c31df6afc4c", beside: []member{
			{"onnxruntime/capi/libonnxruntime_providers_shared.so", 14632, "086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d"},
			{"onnxruntime/capi/libonnxruntime_providers_cuda.so", 272049904, "35da2e7ed0dd0d1aec5cdb16ce11a51d06c0c48cf62d1b1c9332946a4fae14fc"},
		}},
	}},
	{name: "pip", get: pipDownload, pins: map[string]pin{
		"linux/amd64": {ask: "manylinux_2_28_x86_64", member: "onnxruntime/capi/libonnxruntime.so.1.30.0", sha256: "c902c70b3003c0e99fada202f37478c515ae9bba7944c2b2abd0017bae0c82ed"},
		"linux/arm64": {ask: "manylinux_2_28_aarch64", member: "onnxruntime/capi/libonnxruntime.so.1.30.0", sha256: "8a218e1e446880131115c368ec7005969a5022af9a15a26173de648fef0b7789"},
	}},
	{name: "npm", get: npmPack, pins: map[string]pin{
		"linux/amd64": {ask: "onnxruntime-node@1.30.0", member: "package/bin/napi-v6/linux/x64/libonnxruntime.so.1", sha256: "ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23"},
		"linux/arm64": {ask: "onnxruntime-node@1.30.0", member: "package/bin/napi-v6/linux/arm64/libonnxruntime.so.1", sha256: "1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76"},
	}},
	{name: "release archive", get: httpGet, pins: map[string]pin{
		"linux/amd64": {ask: "https://github.com/microsoft/onnxruntime/releases/download/v1.30.0/onnxruntime-linux-x64-1.30.0.tgz", member: "onnxruntime-linux-x64-1.30.0/lib/libonnxruntime.so.1.30.0", sha256: "245a6f8c38127551057a1cd1ffd59f0a186a227ade4f3492dea2494eb565542e"},
		"linux/arm64": {ask: "https://github.com/microsoft/onnxruntime/releases/download/v1.30.0/onnxruntime-linux-aarch64-1.30.0.tgz", member: "onnxruntime-linux-aarch64-1.30.0/lib/libonnxruntime.so.1.30.0", sha256: "64e903a43a041240fd6bcffe0ac6d4fea47ef87bf24b9d097801bd00a9612a4b"},
	}},
}

// fetch gets a package, takes the library out, checks it, and moves it to path
// in one step. dir is path's folder: the temporary files must be on the same
// file system.
func fetch(ctx context.Context, s source, p pin, dir, path string) error {
	tmp, err := os.MkdirTemp(dir, ".fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := s.get(ctx, p.ask, tmp); err != nil {
		return err
	}
	var packages []string
	for _, pattern := range []string{"*.whl", "*.tgz"} {
		found, err := filepath.Glob(filepath.Join(tmp, pattern))
		if err != nil {
			return err
		}
		packages = append(packages, found...)
	}
	if len(packages) != 1 {
		return fmt.Errorf("it left %d packages for %s, want 1", len(packages), p.ask)
	}
	for _, m := range p.beside {
		if err := take(packages[0], m.path, m.sha256, filepath.Join(tmp, "library"), filepath.Join(dir, m.base())); err != nil {
			return err
		}
	}
	return take(packages[0], p.member, p.sha256, filepath.Join(tmp, "library"), path)
}

// take gets one member out of a package, checks it, and moves it to its place.
func take(from, member, want, tmp, to string) error {
	if err := extract(from, member, tmp); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(from), err)
	}
	sum, err := fileSHA256(tmp)
	if err != nil {
		return err
	}
	if sum != want {
		return fmt.Errorf("checksum of %s in %s: got sha256 %s, want %s", member, filepath.Base(from), sum, want)
	}
	return os.Rename(tmp, to)
}

// pipDownload asks for one fixed wheel, whatever Python runs pip.
func pipDownload(ctx context.Context, ask, dir string) error {
	return pipGet(ctx, "onnxruntime", ask, dir)
}

// pipDownloadGPU asks for the wheel with the CUDA 13 provider.
func pipDownloadGPU(ctx context.Context, ask, dir string) error {
	return pipGet(ctx, "onnxruntime-gpu", ask, dir)
}

func pipGet(ctx context.Context, name, ask, dir string) error {
	return firstOf(ctx, dir, []string{"python3 -m pip", "pip3", "pip"},
		"download", "--no-deps", name+"=="+LibraryVersion, "--dest", dir,
		"--only-binary=:all:", "--implementation", "cp", "--python-version", "3.12", "--abi", "cp312", "--platform", ask,
		"--disable-pip-version-check", "--no-input", "--quiet", "--retries", "2")
}

func npmPack(ctx context.Context, ask, dir string) error {
	return firstOf(ctx, dir, []string{"npm"},
		"pack", ask, "--ignore-scripts", "--silent", "--fetch-retries=1", "--pack-destination", dir)
}

// firstOf runs programs with the same arguments in dir until one succeeds. Its
// error has each program's reason.
func firstOf(ctx context.Context, dir string, programs []string, args ...string) error {
	var reasons []string
	for _, program := range programs {
		argv := append(strings.Fields(program), args...)
		if _, err := exec.LookPath(argv[0]); err != nil {
			reasons = append(reasons, argv[0]+" is not on PATH")
			continue
		}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir = dir
		// Clients start processes of their own; the end of ctx ends them all.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		reasons = append(reasons, fmt.Sprintf("%s: %v: %s", program, err, reason(string(out))))
	}
	return errors.New(strings.Join(reasons, ", "))
}

// reason is the line of a client's output that says most: the last that begins
// with an error mark, else the last.
func reason(out string) string {
	last := "no output"
	marked := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		last = line
		if strings.HasPrefix(line, "ERROR") || strings.HasPrefix(line, "npm error") || strings.HasPrefix(line, "npm ERR!") {
			marked = line
		}
	}
	if marked != "" {
		last = marked
	}
	if len(last) > 200 {
		last = last[:200] + "…"
	}
	return last
}

// httpGet downloads a URL to a file of its base name.
func httpGet(ctx context.Context, ask, dir string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 30 * time.Second
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ask, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: got %s", ask, res.Status)
	}
	f, err := os.Create(filepath.Join(dir, path.Base(ask)))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, res.Body); err != nil {
		return fmt.Errorf("%s: %w", ask, err)
	}
	return f.Close()
}

// extract writes one member of a wheel (a zip file) or .tgz to a file, synced
// to disk.
func extract(archive, member, to string) error {
	if strings.HasSuffix(archive, ".whl") {
		z, err := zip.OpenReader(archive)
		if err != nil {
			return err
		}
		defer z.Close()
		f, err := z.Open(member)
		if err != nil {
			return err
		}
		defer f.Close()
		return writeFile(to, f)
	}
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for entries := tar.NewReader(plain); ; {
		header, err := entries.Next()
		if err == io.EOF {
			return fmt.Errorf("it holds no %s", member)
		}
		if err != nil {
			return err
		}
		if path.Clean(header.Name) == member && header.Typeflag == tar.TypeReg {
			return writeFile(to, entries)
		}
	}
}

func writeFile(to string, from io.Reader) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, from); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
