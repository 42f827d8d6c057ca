package engine_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
)

const member = "some/folder/libonnxruntime.so"

// shop is a machine whose only clients are scripts of the test.
type shop struct {
	cache, bin, calls string
	library           []byte
	sha               string
	url               string
	mu                sync.Mutex
	lines             []string
}

// newShop empties PATH. The library in its packages is the one that the other
// tests run on, so that it can be loaded.
func newShop(t *testing.T) *shop {
	t.Helper()
	library := must(os.ReadFile(enginetest.Open(t).Library.Path))(t)
	dir := t.TempDir()
	sum := sha256.Sum256(library)
	s := &shop{cache: filepath.Join(dir, "cache"), bin: filepath.Join(dir, "bin"), calls: filepath.Join(dir, "calls"), library: library, sha: hex.EncodeToString(sum[:])}
	if err := os.Mkdir(s.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", s.bin)
	t.Setenv(engine.LibraryEnv, "")
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	s.url = server.URL + "/onnxruntime.tgz"
	return s
}

// client puts a script on PATH. $dest is the folder that it was told to write to.
func (s *shop) client(t *testing.T, name, body string) {
	t.Helper()
	script := "#!/bin/sh\nPATH=/usr/bin:/bin\necho " + name + ` "$@" >> ` + s.calls + `
while [ $# -gt 0 ]; do case $1 in --dest|--pack-destination) dest=$2;; esac; shift; done
` + body + "\n"
	if err := os.WriteFile(filepath.Join(s.bin, name), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// wheel writes a zip file with the given content as the library.
func (s *shop) wheel(t *testing.T, content []byte) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w := must(z.CreateHeader(&zip.FileHeader{Name: member, Method: zip.Store}))(t)
	must(w.Write(content))(t)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return s.keep(t, "package.whl", b.Bytes())
}

// tgz writes a .tgz with a file before the library.
func (s *shop) tgz(t *testing.T, content []byte) string {
	t.Helper()
	var b bytes.Buffer
	z := must(gzip.NewWriterLevel(&b, gzip.NoCompression))(t)
	w := tar.NewWriter(z)
	for _, f := range []struct {
		name string
		data []byte
	}{{"some/README", []byte("read me")}, {"./" + member, content}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data))}); err != nil {
			t.Fatal(err)
		}
		must(w.Write(f.data))(t)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return s.keep(t, "package.tgz", b.Bytes())
}

func (s *shop) keep(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(s.bin), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *shop) provision(ctx context.Context) (engine.Found, error) {
	log := func(line string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines = append(s.lines, line)
	}
	return engine.ProvisionFrom(ctx, engine.Options{Log: log}, s.cache, member, s.sha, s.url)
}

// check expects the library in the cache, whole and alone.
func (s *shop) check(t *testing.T, found engine.Found, err error, source string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(s.cache, "onnxruntime-1.30.0-test-cpu", "libonnxruntime.so.1.30.0")
	if found.Path != want || found.Source != source || found.Version == "" {
		t.Errorf("got %+v, want %s from %s", found, want, source)
	}
	if !bytes.Equal(must(os.ReadFile(found.Path))(t), s.library) {
		t.Error("got other bytes than the package holds")
	}
	s.holds(t, "libonnxruntime.so.1.30.0")
}

// holds expects nothing in the library's folder but the lock and the named files.
func (s *shop) holds(t *testing.T, names ...string) {
	t.Helper()
	var got []string
	for _, f := range must(os.ReadDir(filepath.Join(s.cache, "onnxruntime-1.30.0-test-cpu")))(t) {
		got = append(got, f.Name())
	}
	if want := append([]string{".lock"}, names...); !slices.Equal(got, want) {
		t.Errorf("got %q in the cache, want %q", got, want)
	}
}

func (s *shop) called(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(s.calls)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

func TestProvisionByPip(t *testing.T) {
	s := newShop(t)
	s.client(t, "python3", "cp "+s.wheel(t, s.library)+" $dest/onnxruntime-1.30.0.whl")
	found, err := s.provision(t.Context())
	s.check(t, found, err, "pip")
	for _, want := range []string{"python3 -m pip download", "--no-deps", "onnxruntime==1.30.0", "--platform test"} {
		if got := s.called(t); !strings.Contains(got, want) {
			t.Errorf("got call %q, want %q in it", got, want)
		}
	}
	// The second time nothing is fetched.
	found, err = s.provision(t.Context())
	s.check(t, found, err, "cache")
	if got := strings.Count(s.called(t), "\n"); got != 1 {
		t.Errorf("got %d calls, want 1", got)
	}
}

func TestProvisionFallsThroughTheClients(t *testing.T) {
	s := newShop(t)
	s.client(t, "python3", "echo 'No module named pip' >&2; exit 1")
	s.client(t, "pip", "cp "+s.wheel(t, s.library)+" $dest/onnxruntime-1.30.0.whl")
	found, err := s.provision(t.Context())
	s.check(t, found, err, "pip")
}

func TestProvisionByNpm(t *testing.T) {
	s := newShop(t)
	s.client(t, "npm", "cp "+s.tgz(t, s.library)+" $dest/onnxruntime-node-1.30.0.tgz")
	found, err := s.provision(t.Context())
	s.check(t, found, err, "npm")
}

func TestProvisionByArchive(t *testing.T) {
	s := newShop(t)
	path := s.tgz(t, s.library)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		io.Copy(w, f)
	}))
	defer server.Close()
	s.url = server.URL + "/onnxruntime.tgz"
	found, err := s.provision(t.Context())
	s.check(t, found, err, "release archive")
}

// A package with other bytes is not used, wherever it comes from; each source
// gives its reason, and the error says what to do.
func TestProvisionRefusesOtherBytes(t *testing.T) {
	s := newShop(t)
	wrong := append(bytes.Clone(s.library[:1<<20]), 1)
	s.client(t, "python3", "cp "+s.wheel(t, wrong)+" $dest/onnxruntime-1.30.0.whl")
	s.client(t, "npm", "echo 'npm error code E404' >&2; echo 'npm error 404 Not Found' >&2; echo 'see the log' >&2; exit 1")
	_, err := s.provision(t.Context())
	refused(t, err, "pip: checksum of "+member, "want "+s.sha, "npm: npm: exit status 1: npm error 404 Not Found", "release archive", "404 Not Found", "set ONNXRUNTIME_LIB=")
	s.holds(t)
}

func TestProvisionWithoutClients(t *testing.T) {
	s := newShop(t)
	_, err := s.provision(t.Context())
	refused(t, err, "python3 is not on PATH", "pip3 is not on PATH", "npm is not on PATH", "release archive", "set ONNXRUNTIME_LIB=")
	s.holds(t)
}

func TestProvisionNeedsTheMember(t *testing.T) {
	s := newShop(t)
	var b bytes.Buffer
	if err := zip.NewWriter(&b).Close(); err != nil {
		t.Fatal(err)
	}
	s.client(t, "python3", "cp "+s.keep(t, "empty.whl", b.Bytes())+" $dest/onnxruntime-1.30.0.whl")
	s.client(t, "npm", "exit 0")
	_, err := s.provision(t.Context())
	refused(t, err, "pip: onnxruntime-1.30.0.whl: open "+member, "npm: it left 0 packages")
}

func TestProvisionMendsADamagedCache(t *testing.T) {
	s := newShop(t)
	s.client(t, "python3", "cp "+s.wheel(t, s.library)+" $dest/onnxruntime-1.30.0.whl")
	found, err := s.provision(t.Context())
	s.check(t, found, err, "pip")
	// A new file: the process has the old one mapped.
	if err := os.Remove(found.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(found.Path, s.library[:1<<20], 0o755); err != nil {
		t.Fatal(err)
	}
	found, err = s.provision(t.Context())
	s.check(t, found, err, "pip")
	if got := strings.Join(s.lines, "\n"); !strings.Contains(got, "damaged") {
		t.Errorf("got log %q, want the damage in it", got)
	}
}

// Whoever comes second waits and finds the file. Locks belong to open files,
// so goroutines stand for processes here.
func TestProvisionOnceForMany(t *testing.T) {
	s := newShop(t)
	s.client(t, "python3", "sleep 0.3; cp "+s.wheel(t, s.library)+" $dest/onnxruntime-1.30.0.whl")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if _, err := s.provision(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	found, err := s.provision(t.Context())
	s.check(t, found, err, "cache")
	if got := strings.Count(s.called(t), "\n"); got != 1 {
		t.Errorf("got %d calls, want 1", got)
	}
}

func TestProvisionStopsWithTheContext(t *testing.T) {
	s := newShop(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.client(t, "python3", "sleep 60")
	go func() {
		defer cancel()
		for range 1000 {
			if _, err := os.Stat(s.calls); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := s.provision(ctx)
	refused(t, err, "context canceled")
	if strings.Contains(s.called(t), "npm") {
		t.Error("got another client after the end of the context")
	}
	s.holds(t)
}

func TestProvisionUnknownPlatform(t *testing.T) {
	_, err := engine.ProvisionFor(t.Context(), engine.Options{}, t.TempDir(), "plan9/386")
	refused(t, err, "plan9/386", "set ONNXRUNTIME_LIB=")
}

func TestCacheFolder(t *testing.T) {
	s := newShop(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the folder is made before anything is fetched
	t.Setenv("XDG_CACHE_HOME", filepath.Join(s.cache, "xdg"))
	t.Setenv("HOME", filepath.Join(s.cache, "home"))
	for _, c := range []struct{ xdg, option, want string }{
		{filepath.Join(s.cache, "xdg"), "", "xdg/immiscible"},
		{"relative/is/ignored", "", "home/.cache/immiscible"},
		{filepath.Join(s.cache, "xdg"), filepath.Join(s.cache, "mine"), "mine"},
	} {
		t.Setenv("XDG_CACHE_HOME", c.xdg)
		d := engine.Diagnose(ctx, engine.Options{CacheDir: c.option})
		if want := filepath.Join(s.cache, c.want); d.Cache != want {
			t.Errorf("got %s, want %s", d.Cache, want)
		}
		if _, err := os.Stat(filepath.Join(s.cache, c.want)); err != nil {
			t.Error(err)
		}
	}
}
