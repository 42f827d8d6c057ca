package datasets

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// TestIndexBeside: an index that was written beside its shard gives the same records,
// faults included, and is used: a sparse or doubled member is in it. A stale one, of
// another size or of the same, is not used, and verify reports it.
func TestIndexBeside(t *testing.T) {
	dir := t.TempDir()
	path := writeIn(t, dir, "s.tar", tarBytes(t, 0, file("a.png", string(dot(2, 2, 1))), file("a\tb\n.png", string(dot(2, 2, 2))),
		file("a.cls", "3"), file("a.jpg", "again"), file("c.cls", "1"), file("d/e.PNG", string(dot(2, 2, 3))), file("d/e.json", `{"label":5}`)))
	o := Options{Sources: []string{dir}, Resolution: 2, Channels: 1}
	before := mustOpen(t, o)
	paths, err := before.WriteIndexes(t.Context())
	if err != nil || !slices.Equal(paths, []string{path + ".index"}) {
		t.Fatalf("%v, %v", paths, err)
	}
	index, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	records := func(d *Dataset) []tarRecord { return d.shards[0].reader.(*tarShard).records }
	if got := records(mustOpen(t, o)); !slices.Equal(got, records(before)) || len(got) != 4 {
		t.Errorf("records %+v, want %+v", got, records(before))
	}
	stale := func(why string, want int) {
		t.Helper()
		var rows []string
		_, err := Verify(t.Context(), o, func(row VerifyRow) error {
			if strings.Contains(row.Error, "the index is not that of the shard") && strings.Contains(row.Error, "s.tar.index") {
				rows = append(rows, row.Error)
			}
			return nil
		}, nil)
		if err != nil || len(rows) != want {
			t.Errorf("%s: verify reports %d stale indices (%v), want %d", why, len(rows), err, want)
		}
	}
	stale("fresh", 0)
	// It is really what is read: an index that says otherwise, with a right checksum.
	other := mustOpen(t, Options{Sources: []string{dir}, Resolution: 2, Channels: 1})
	shard := other.shards[0].reader.(*tarShard)
	shard.records[0].key = "renamed"
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	renamed, err := shard.index(shard.file, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	writeIn(t, dir, "s.tar.index", renamed)
	if got := mustOpen(t, o).shards[0].key(0); got != "renamed" {
		t.Errorf("key %q: the index is not used", got)
	}
	stale("renamed", 1)
	for name, damaged := range map[string][]byte{"cut": index[:len(index)/2], "flipped": append([]byte("x"), index[1:]...), "empty": nil} {
		writeIn(t, dir, "s.tar.index", damaged)
		if got := records(mustOpen(t, o)); !slices.Equal(got, records(before)) {
			t.Errorf("%s: records %+v", name, got)
		}
		stale(name, 1)
	}
	writeIn(t, dir, "s.tar.index", index)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(data, "z.png") // of the same size
	copy(data[148:156], "0000000\x00")
	writeIn(t, dir, "s.tar", tarBytes(t, 0, file("z.png", string(dot(2, 2, 1))), file("a\tb\n.png", string(dot(2, 2, 2))),
		file("z.cls", "3"), file("z.jpg", "again"), file("c.cls", "1"), file("d/e.PNG", string(dot(2, 2, 3))), file("d/e.json", `{"label":5}`)))
	if got := mustOpen(t, o).shards[0].key(0); got != "z" {
		t.Errorf("a shard of the same size: key %q by a stale index", got)
	}
	stale("replaced", 1)
}

// TestIndexCached: with a cache folder, the second start reads no header but three.
func TestIndexCached(t *testing.T) {
	dir := t.TempDir()
	shardOf(t, dir, "s.tar", 50, nil)
	o := Options{Sources: []string{dir}, CacheDir: t.TempDir()}
	want := keysOf(t, mustOpen(t, o), 0, 10, 100)
	cached, err := filepath.Glob(filepath.Join(o.CacheDir, "index", "*.index"))
	if err != nil || len(cached) != 1 {
		t.Fatalf("%v, %v", cached, err)
	}
	if got := keysOf(t, mustOpen(t, o), 0, 10, 100); !slices.Equal(got, want) {
		t.Error("another order from the cached index")
	}
	shardOf(t, dir, "s.tar", 60, nil)
	if d := mustOpen(t, o); d.Len() != 60 {
		t.Errorf("%d records by a stale index, want 60", d.Len())
	}
}

// TestIndexWrittenTogether: whoever opens or indexes one shard at the same time as
// others has it whole, and leaves one index and nothing else.
func TestIndexWrittenTogether(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	path := shardOf(t, dir, "s.tar", 30, nil)
	want := keysOf(t, mustOpen(t, Options{Sources: []string{path}}), 0, 5, 30)
	inParallel(8, 40, func(i int) {
		d, err := Open(t.Context(), Options{Sources: []string{path}, CacheDir: cache})
		if err != nil {
			t.Error(err)
			return
		}
		defer d.Close()
		if i%4 == 0 {
			if _, err := d.WriteIndexes(t.Context()); err != nil {
				t.Error(err)
			}
		}
		for position := range int64(30) {
			if row, err := d.Order(position); err != nil || row.Key != want[position] {
				t.Errorf("position %d: %+v, %v", position, row, err)
			}
		}
	})
	for folder, n := range map[string]int{dir: 2, filepath.Join(cache, "index"): 1} {
		if entries, err := os.ReadDir(folder); err != nil || len(entries) != n {
			t.Errorf("%s holds %v, want %d files (%v)", folder, entries, n, err)
		}
	}
}

// TestIndexServed: an index beside a remote shard is one request.
func TestIndexServed(t *testing.T) {
	dir := t.TempDir()
	bigShard(t, dir, "r.tar", 30, 200_000)
	if _, err := mustOpen(t, Options{Sources: []string{dir}}).WriteIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	server := fileServer(t, dir, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			h.ServeHTTP(w, r)
		})
	})
	d := mustOpen(t, Options{Sources: []string{server.URL + "/r.tar"}, Resolution: 3, Channels: 1, CacheDir: NoCache, patience: hasty})
	if n := requests.Load(); n > 5 || d.Len() != 30 { // the beginning, the index, three headers
		t.Errorf("%d requests for the index of %d records", n, d.Len())
	}
}

// FuzzIndex: whatever an index says, even with a right checksum, it is refused or read
// within the shard.
func FuzzIndex(f *testing.F) {
	shard := tarBytes(f, 0, file("a.png", string(dot(2, 2, 1))), file("a.cls", "3"), file("b.jpg", "no"))
	source := tarSource{path: "s.tar", name: "s.tar", file: bytes.NewReader(shard), headers: bytes.NewReader(shard), size: int64(len(shard))}
	t, err := indexTar("s.tar", source.headers, source.size)
	if err != nil {
		f.Fatal(err)
	}
	index, err := t.index(source.headers, source.size)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(index[:bytes.LastIndex(index, []byte("sha256"))])
	f.Add([]byte("immiscible-index 1\t5\t00000000\t1\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, trusted := range []bool{false, true} {
			s, err := source.read(fmt.Appendf(bytes.Clone(body), "sha256 %x\n", sha256.Sum256(body)), trusted)
			if err == nil {
				readAll(s)
			}
		}
	})
}
