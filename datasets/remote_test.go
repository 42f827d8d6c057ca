package datasets

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// hasty is patience for tests.
var hasty = patience{tries: 6, pause: time.Millisecond, stall: 5 * time.Second}

// fileServer serves a folder with net/http's own ranges and validators, behind what
// between makes of it.
func fileServer(t testing.TB, dir string, between func(http.Handler) http.Handler) *httptest.Server {
	t.Helper()
	handler := http.FileServer(http.Dir(dir))
	if between != nil {
		handler = between(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// bigShard is a tar of n records of some size each, so that it has several blocks.
func bigShard(t testing.TB, dir, name string, n, bytes int) string {
	t.Helper()
	var members []member
	for i := range n {
		members = append(members, member{name: fmt.Sprintf("%05d.png", i), data: dot(4, 3, uint8(i))},
			file(fmt.Sprintf("%05d.cls", i), fmt.Sprint(i%7)), member{name: fmt.Sprintf("%05d.bin", i), data: make([]byte, bytes)})
	}
	return writeIn(t, dir, name, tarBytes(t, 0, members...))
}

// threeShards writes three shards of some 2.4 MB and returns their folder.
func threeShards(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 3 {
		bigShard(t, dir, fmt.Sprintf("r-%03d.tar", i), 17+i, 130_000)
	}
	return dir
}

// sameExamples holds n examples of d from a position on to those of want, bit for bit.
func sameExamples(t *testing.T, d, want *Dataset, from int64, n int) {
	t.Helper()
	l, m := d.Loader(from, 6), want.Loader(from, 6)
	defer l.Close()
	defer m.Close()
	for done := 0; done < n; done += 6 {
		a, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Keys, b.Keys) || !slices.Equal(a.Labels, b.Labels) || !slices.Equal(a.Pixels, b.Pixels) {
			t.Fatalf("batch at %d: keys %v, want %v", a.Position, a.Keys, b.Keys)
		}
	}
}

// TestRemoteIsLocal: the same bits from an HTTP server as from the disk, for both
// orders, with the disk cache, with a full one, and without.
func TestRemoteIsLocal(t *testing.T) {
	dir := threeShards(t)
	url := fileServer(t, dir, nil).URL + "/r-{000..002}.tar"
	for _, window := range []int{0, 9} {
		local := mustOpen(t, Options{Sources: []string{dir}, Seed: 4, Flip: true, Window: window})
		for name, o := range map[string]Options{
			"cached": {CacheDir: t.TempDir()}, "small cache": {CacheDir: t.TempDir(), CacheBytes: 1 << 20}, "none": {CacheDir: NoCache, Workers: 5},
		} {
			o.Sources, o.Seed, o.Flip, o.Window, o.patience = []string{url}, 4, true, window, hasty
			d := mustOpen(t, o)
			for _, from := range []int64{0, 20, 61} {
				sameExamples(t, d, local, from, 60)
			}
			if row := d.Shards()[1]; row.Shard != "r-001.tar" || !strings.HasPrefix(row.Path, "http://127.0.0.1:") {
				t.Errorf("%s: %+v", name, row)
			}
		}
	}
}

// counted counts requests and bytes.
func counted(requests, sent *atomic.Int64) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			h.ServeHTTP(countingWriter{w, sent}, r)
		})
	}
}

type countingWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w countingWriter) Write(p []byte) (int, error) {
	w.sent.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

// TestRemoteCache: what one data set has read, another reads from the disk, index
// included: a request a shard is left, which asks whether it is still the same; and
// the index needs a small part of the bytes.
func TestRemoteCache(t *testing.T) {
	var requests, sent atomic.Int64
	dir := t.TempDir()
	path := bigShard(t, dir, "r.tar", 20, 400_000)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Sources: []string{fileServer(t, dir, counted(&requests, &sent)).URL + "/r.tar"}, Resolution: 3, Channels: 1, CacheDir: t.TempDir(), patience: hasty}
	d := mustOpen(t, o)
	if read := sent.Load(); read > info.Size()/10 {
		t.Errorf("the index took %d of %d bytes", read, info.Size())
	}
	first := keysOf(t, d, 0, 5, 60)
	if err := d.Close(); err != nil { // waits for requests ahead
		t.Fatal(err)
	}
	requests.Store(0)
	again := mustOpen(t, o)
	if got := keysOf(t, again, 0, 5, 60); !slices.Equal(got, first) {
		t.Error("another order from the cache")
	}
	if n := requests.Load(); n != 2 { // the shard's beginning, and r.tar.index, which is not there
		t.Errorf("%d requests with everything in the cache", n)
	}
	// A damaged block is asked for again.
	blocks, err := filepath.Glob(filepath.Join(o.CacheDir, "blocks", "*", "*"))
	if err != nil || len(blocks) < 5 {
		t.Fatalf("%d blocks in the cache: %v", len(blocks), err)
	}
	for _, block := range blocks {
		data, err := os.ReadFile(block)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(block, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	sameExamples(t, mustOpen(t, o), mustOpen(t, Options{Sources: []string{path}, Resolution: 3, Channels: 1}), 0, 30)
}

// TestRemoteCacheIsBounded: two data sets that share a folder keep less than its bound.
func TestRemoteCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	bigShard(t, dir, "r.tar", 40, 700_000) // 28 MB
	o := Options{Sources: []string{fileServer(t, dir, nil).URL + "/r.tar"}, CacheDir: t.TempDir(), CacheBytes: 12 << 20, patience: hasty}
	for range 2 {
		d := mustOpen(t, o)
		for position := range int64(40) {
			if _, err := d.Example(t.Context(), position); err != nil {
				t.Fatal(err)
			}
			total := int64(0)
			blocks, err := filepath.Glob(filepath.Join(o.CacheDir, "blocks", "*", "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, block := range blocks {
				if info, err := os.Stat(block); err == nil {
					total += info.Size()
				}
			}
			if total > o.CacheBytes {
				t.Fatalf("%d bytes in the cache, want at most %d", total, o.CacheBytes)
			}
		}
	}
}

// TestDroppedConnections: a server that breaks off every third answer in its middle
// TestShortAnswers: a server that breaks off every answer is read for as long as each
// TestFirstRequest: a server that drops connections is asked as often for a shard's
// TestCacheFolderOfNoUse: where nothing can be written, remote shards are read all the
// same, and the data set says so.
func TestCacheFolderOfNoUse(t *testing.T) {
	dir := threeShards(t)
	o := Options{Sources: []string{fileServer(t, dir, nil).URL + "/r-{000..002}.tar"}, CacheDir: writeIn(t, t.TempDir(), "file", []byte("in the way")), patience: hasty}
	d := mustOpen(t, o)
	sameExamples(t, d, mustOpen(t, Options{Sources: []string{dir}}), 0, 60)
	if lines := d.Warnings(); len(lines) != 1 || !strings.Contains(lines[0], o.CacheDir) {
		t.Errorf("warnings %q, want one that names %s", lines, o.CacheDir)
	}
}

// TestRemoteChange: a file that is replaced mid-run is an error that names the URL and
// TestReadAhead: while one worker decodes, what it will need next is on its way: with 20
// ms a request, several run at a time.
func TestReadAhead(t *testing.T) {
	dir := t.TempDir()
	bigShard(t, dir, "r.tar", 40, 400_000)
	var now, most atomic.Int64
	server := fileServer(t, dir, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for n, m := now.Add(1), most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(20 * time.Millisecond)
			h.ServeHTTP(w, r)
			now.Add(-1)
		})
	})
	d := mustOpen(t, Options{Sources: []string{server.URL + "/r.tar"}, Workers: 1, Prefetch: 1, CacheDir: NoCache, patience: hasty})
	keysOf(t, d, 0, 2, 40)
	if most.Load() < 3 || most.Load() > aheadRequests+1 {
		t.Errorf("%d requests at a time, want 3 to %d", most.Load(), aheadRequests+1)
	}
}

// TestCloseDoesNotWait: a loader whose server has fallen silent is closed at once, and
// the data set can still be read when it talks again; and the context of Open ends a
// read.
func TestCloseDoesNotWait(t *testing.T) {
	dir := t.TempDir()
	bigShard(t, dir, "r.tar", 20, 400_000)
	var silent atomic.Bool
	server := fileServer(t, dir, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for silent.Load() && r.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
			h.ServeHTTP(w, r)
		})
	})
	p := hasty
	p.stall = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	d, err := Open(ctx, Options{Sources: []string{server.URL + "/r.tar"}, CacheDir: NoCache, patience: p})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	silent.Store(true)
	l := d.Loader(0, 4)
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	for err == nil {
		_, err = l.Next(short)
	}
	start := time.Now()
	l.Close()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("Close took %v", took)
	}
	silent.Store(false)
	keysOf(t, d, 0, 4, 20)
	silent.Store(true)
	fresh := mustOpenWith(t, ctx, &silent, Options{Sources: []string{server.URL + "/r.tar"}, CacheDir: NoCache, patience: p})
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := fresh.Example(t.Context(), 9); !errors.Is(err, context.Canceled) {
		t.Errorf("a read after the end: error %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("all this took %v", took)
	}
}

// mustOpenWith opens while the server talks, and leaves it silent.
func mustOpenWith(t *testing.T, ctx context.Context, silent *atomic.Bool, o Options) *Dataset {
	t.Helper()
	silent.Store(false)
	defer silent.Store(true)
	d, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
