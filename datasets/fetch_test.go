package datasets

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"immiscible/datasets/fashionmnist"
)

// testPart rebuilds the two IDX files of the test images from the embedded shard.
func testPart(t *testing.T) (images, labels []byte) {
	t.Helper()
	data, err := fashionmnist.Shard()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []uint32{0x803, 10000, 28, 28} {
		images = binary.BigEndian.AppendUint32(images, v)
	}
	for _, v := range []uint32{0x801, 10000} {
		labels = binary.BigEndian.AppendUint32(labels, v)
	}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		head, err := r.Next()
		if err == io.EOF {
			return images, labels
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(head.Name, ".cls") {
			labels = append(labels, body[0]-'0')
			continue
		}
		p, err := decode(body)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, p.pix...)
	}
}

func zipped(data []byte) []byte {
	var buf bytes.Buffer
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed) // a level that exists
	z.Write(data)                                     // memory does not fail
	z.Close()
	return buf.Bytes()
}

// TestFetch gets the real test images from servers with each bad habit; what
// comes out is the embedded shard, byte for byte.
func TestFetch(t *testing.T) {
	imageFile, labelFile := testPart(t)
	files := map[string][]byte{"/t10k-images-idx3-ubyte.gz": zipped(imageFile), "/t10k-labels-idx1-ubyte.gz": zipped(labelFile)}
	want, err := fashionmnist.Shard()
	if err != nil {
		t.Fatal(err)
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(files[r.URL.Path]))
	}
	// cut sends a part of what is asked for and drops the connection.
	cut := func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		serve(recorder, r)
		for key, values := range recorder.Header() {
			w.Header()[key] = values
		}
		w.WriteHeader(recorder.Code)
		body := recorder.Body.Bytes()
		w.Write(body[:len(body)*2/3])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, row := range []struct {
		name    string
		handler func(count int64, w http.ResponseWriter, r *http.Request)
		most    int64 // requests
	}{
		{"a good server", func(_ int64, w http.ResponseWriter, r *http.Request) { serve(w, r) }, 2},
		{"drops connections", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n%3 != 0 {
				cut(w, r)
			}
			serve(w, r)
		}, 6},
		{"ignores ranges", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n%2 == 1 {
				cut(w, r)
			}
			w.Write(files[r.URL.Path])
		}, 4},
		{"wrong bytes once", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n%2 == 1 {
				w.Write(zipped([]byte("something else")))
				return
			}
			serve(w, r)
		}, 4},
		{"fails and recovers", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n%2 == 1 {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			serve(w, r)
		}, 4},
		{"stalls once", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n%2 == 1 {
				<-r.Context().Done()
				return
			}
			serve(w, r)
		}, 4},
		{"first mirror gone", func(_ int64, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path[:2] != "/t" {
				http.NotFound(w, r)
				return
			}
			serve(w, r)
		}, 8},
	} {
		var count atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { row.handler(count.Add(1), w, r) }))
		plan := fashionMNIST()
		plan.parts, plan.folders = plan.parts[1:], nil
		plan.mirrors = []string{server.URL + "/"}
		if row.name == "first mirror gone" {
			plan.mirrors = []string{server.URL + "/gone/", server.URL + "/"}
		}
		plan.tries, plan.pause, plan.stall = 3, time.Millisecond, 300*time.Millisecond
		dir := filepath.Join(t.TempDir(), "new")
		seen := map[string]bool{}
		paths, err := plan.fetch(t.Context(), dir, func(file string, done, all int64) {
			seen[file] = true
			if done > all {
				t.Errorf("%s: %d of %d bytes", file, done, all)
			}
		})
		server.Close()
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, fashionmnist.ShardName))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the shard differs from the embedded one (%v)", row.name, err)
		}
		if !slices.Equal(paths, []string{filepath.Join(dir, fashionmnist.ShardName)}) || len(seen) != 2 || count.Load() > row.most {
			t.Errorf("%s: paths %v, progress of %d files, %d requests, want at most %d", row.name, paths, len(seen), count.Load(), row.most)
		}
		// Everything stands: the second time asks nobody.
		if again, err := plan.fetch(t.Context(), dir, nil); err != nil || !slices.Equal(again, paths) {
			t.Errorf("%s: second time: %v, %v", row.name, again, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%s: the folder holds %v", row.name, entries)
		}
	}
}

// TestFetchFails: no server, wrong bytes for ever, an unknown name, a cancelled
// context: an error that says what to do, and no shard.
func TestFetchFails(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("no gzip")) }))
	defer server.Close()
	plan := fashionMNIST()
	plan.folders, plan.tries, plan.pause = nil, 2, time.Millisecond
	for _, mirror := range []string{server.URL + "/", "http://127.0.0.1:1/"} {
		plan.mirrors = []string{mirror}
		dir := t.TempDir()
		_, err := plan.fetch(t.Context(), dir, nil)
		if err == nil || !strings.Contains(err.Error(), "train-images-idx3-ubyte.gz cannot be fetched; put it into "+dir) {
			t.Errorf("%s: error %v", mirror, err)
		}
		if shards, _ := filepath.Glob(filepath.Join(dir, "*.tar")); shards != nil {
			t.Errorf("%s: left %v", mirror, shards)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := plan.fetch(ctx, t.TempDir(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
	if _, err := Fetch(t.Context(), "cifar11", t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "fashion-mnist, cifar10 and cifar100 can") {
		t.Errorf("unknown set: error %v", err)
	}
}

// TestFetchFromFolder splits files that lie in a folder over several shards.
func TestFetchFromFolder(t *testing.T) {
	images := []byte{0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, 28, 0, 0, 0, 28}
	labels := []byte{0, 0, 8, 1, 0, 0, 0, 6, 5, 4, 3, 2, 1, 0}
	for i := range 6 {
		images = append(images, bytes.Repeat([]byte{byte(40 * i)}, 28*28)...)
	}
	folder := t.TempDir()
	pin := func(name string, data []byte) download {
		writeIn(t, folder, name, zipped(data))
		return download{name, int64(len(data)), fmt.Sprintf("%x", sha256.Sum256(data))}
	}
	part := idxPart{images: pin("i.gz", images), labels: pin("l.gz", labels), shards: []string{"a.tar", "b.tar", "c.tar"}}
	dir := t.TempDir()
	paths, err := fetchPlan{parts: []idxPart{part}, folders: []string{t.TempDir(), folder}}.fetch(t.Context(), dir, nil)
	if err != nil || len(paths) != 3 {
		t.Fatal(paths, err)
	}
	d := mustOpen(t, Options{Sources: []string{dir}, NumClasses: 10})
	for position := range int64(6) {
		e, err := d.Example(t.Context(), position)
		if err != nil {
			t.Fatal(err)
		}
		var i int
		if _, err := fmt.Sscan(e.Key, &i); err != nil || e.Label != int64(5-i) || e.Pixels[7] != float32(float64(40*i)/127.5-1) || e.Shard != part.shards[i/2] {
			t.Errorf("record %s of %s: label %d, pixel %v", e.Key, e.Shard, e.Label, e.Pixels[7])
		}
	}
	part.shards = part.shards[:2]
	part.shards = append(part.shards, "d.tar", "e.tar") // 6 images do not split into 4
	if _, err := (fetchPlan{parts: []idxPart{part}, folders: []string{folder}}).fetch(t.Context(), t.TempDir(), nil); err == nil {
		t.Error("6 images are split over 4 shards")
	}
}
