package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LibraryEnv names the environment variable that points at ONNX Runtime.
const LibraryEnv = "ONNXRUNTIME_LIB"

// LibraryVersion is the release of ONNX Runtime that is fetched.
const LibraryVersion = "1.30.0"

// Found is a library that can be loaded.
type Found struct {
	Path    string `json:"path"`
	Source  string `json:"source"`  // "configuration", "ONNXRUNTIME_LIB", "cache", or the client that has just fetched it: "pip", "npm", "release archive"
	Version string `json:"version"` // as the library says: "1.30.0"
}

// Locate finds ONNX Runtime: Options.Library, else ONNXRUNTIME_LIB, else the
// cache, else a download into the cache. A library that was named and cannot
// be used is an error; nothing else is tried then.
func Locate(ctx context.Context, o Options) (Found, error) { return locateFor(ctx, o, "") }

// locateFor is Locate for a variant of the platform: "/cuda" is the library with
// the CUDA provider beside it.
func locateFor(ctx context.Context, o Options, variant string) (Found, error) {
	if o.Library != "" {
		return inspect(o.Library, "configuration")
	}
	if path := os.Getenv(LibraryEnv); path != "" {
		return inspect(path, LibraryEnv)
	}
	cache, err := cacheDir(o)
	if err != nil {
		return Found{}, err
	}
	return provision(ctx, o, cache, runtime.GOOS+"/"+runtime.GOARCH+variant, sources)
}

// cacheDir is $XDG_CACHE_HOME/immiscible, on every system, so that the place
// can be told in one sentence. XDG says to ignore a relative value.
func cacheDir(o Options) (string, error) {
	if o.CacheDir != "" {
		return filepath.Abs(o.CacheDir)
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "immiscible"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("engine: no place for the cache: %w: set XDG_CACHE_HOME, or %s=/path/to/libonnxruntime.so", err, LibraryEnv)
	}
	return filepath.Join(home, ".cache", "immiscible"), nil
}

// provision finds the pinned library in the cache or fetches it from the first
// of the sources that can give it.
func provision(ctx context.Context, o Options, cache, platform string, from []source) (Found, error) {
	known := map[string]bool{} // digests of the platform's libraries
	var beside []member
	for _, s := range from {
		if p, ok := s.pins[platform]; ok {
			known[p.sha256], beside = true, p.beside
		}
	}
	what := "onnxruntime"
	if strings.HasSuffix(platform, "/cuda") {
		what = "onnxruntime-gpu"
	}
	if len(known) == 0 {
		return Found{}, fmt.Errorf("engine: no ONNX Runtime %s is pinned for %s: install one of version 1.%d or newer and set %s=/path/to/libonnxruntime.so (.dylib on macOS)", LibraryVersion, platform, minMinor, LibraryEnv)
	}
	// A folder of its own: providers are separate files beside the library.
	dir := filepath.Join(cache, "onnxruntime-"+LibraryVersion+"-"+strings.ReplaceAll(platform, "/", "-"))
	path := filepath.Join(dir, "libonnxruntime.so."+LibraryVersion)
	cached := func() (sum string, ok bool, err error) { // what lies beside is put there first
		for _, m := range beside {
			if info, err := os.Stat(filepath.Join(dir, m.base())); err != nil || info.Size() != m.bytes {
				return "", false, os.ErrNotExist
			}
		}
		sum, err = fileSHA256(path)
		return sum, err == nil && known[sum], err
	}
	if _, ok, _ := cached(); ok {
		return inspect(path, "cache")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Found{}, fmt.Errorf("engine: cache: %w: make the folder writable, or set XDG_CACHE_HOME or %s", err, LibraryEnv)
	}
	unlock, err := lock(ctx, o, filepath.Join(dir, ".lock"))
	if err != nil {
		return Found{}, err
	}
	defer unlock()
	sum, ok, err := cached() // another process may have been faster
	switch {
	case ok:
		return inspect(path, "cache")
	case err == nil:
		o.log("%s is damaged (sha256 %s): fetching it again", path, sum)
	case !errors.Is(err, os.ErrNotExist):
		return Found{}, fmt.Errorf("engine: cache: %w: remove the file, or set %s", err, LibraryEnv)
	}

	var tried []error
	for _, s := range from {
		p, ok := s.pins[platform]
		if !ok {
			continue
		}
		o.log("fetching ONNX Runtime %s for %s with %s", LibraryVersion, platform, s.name)
		if err := fetch(ctx, s, p, dir, path); err != nil {
			if ctx.Err() != nil {
				return Found{}, fmt.Errorf("engine: fetching ONNX Runtime: %w", ctx.Err())
			}
			o.log("%s: %v", s.name, err)
			tried = append(tried, fmt.Errorf("%s: %w", s.name, err))
			continue
		}
		o.log("ONNX Runtime %s is in %s", LibraryVersion, path)
		return inspect(path, s.name)
	}
	list := ""
	for i, err := range tried {
		list += fmt.Sprintf("; (%d) %v", i+1, err)
	}
	return Found{}, fmt.Errorf("engine: ONNX Runtime %s could not be fetched%s. Get it on another machine (pip download --no-deps %s==%s, unzip the wheel) and set %s=/path/to/libonnxruntime.so.%s", LibraryVersion, list, what, LibraryVersion, LibraryEnv, LibraryVersion)
}

// lock takes an exclusive lock on a file, waiting until ctx ends. Where the
// file system has no locks it gives none: the rename that ends a fetch is safe
// by itself, and the lock only spares a second download.
func lock(ctx context.Context, o Options, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("engine: cache: %w: make the folder writable, or set XDG_CACHE_HOME or %s", err, LibraryEnv)
	}
	for waiting := false; ; waiting = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return func() { f.Close() }, nil
		}
		if !waiting {
			o.log("waiting for another process to fetch ONNX Runtime (%s)", path)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("engine: waiting for %s: %w", path, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
