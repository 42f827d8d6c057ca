package datasets

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
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

// TestFetchArchive gets a small CIFAR-10 from a server that drops its connections;
// what comes out is a source, and nothing lands beside it.
func TestFetchArchive(t *testing.T) {
	ten := func(i int) []byte { return []byte{byte(i * 3 % 10)} }
	packed := gzipped(tarBytes(t, tar.FormatUSTAR,
		member{name: "cifar-10-batches-bin/", kind: tar.TypeDir}, file("cifar-10-batches-bin/readme.html", "r"),
		member{name: "../../data_batch_1.bin", data: cifarBatch(3, ten)}, member{name: "c/test_batch.bin", data: cifarBatch(1, ten)},
		member{name: "data_batch_2.bin", kind: tar.TypeSymlink}, member{name: "c/data_batch_2.bin", data: cifarBatch(2, ten)},
		file("c/batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n")))
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1) == 1 { // the first connection breaks off
			w.Header().Set("Content-Length", fmt.Sprint(len(packed)))
			w.Write(packed[:len(packed)/2])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		if count.Load() == 2 && r.Header.Get("Range") == "" {
			t.Error("the download begins anew")
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(packed))
	}))
	defer server.Close()
	plan := cifar("small.tar.gz", int64(len(packed)), fmt.Sprintf("%x", sha256.Sum256(packed)), "data_batch_1.bin", "data_batch_2.bin", "test_batch.bin", "batches.meta.txt")
	plan.mirrors, plan.pause = []string{server.URL + "/"}, time.Millisecond
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b")
	paths, err := plan.fetch(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "data_batch_1.bin"), filepath.Join(dir, "data_batch_2.bin"), filepath.Join(dir, "test_batch.bin")}
	if !slices.Equal(paths, want) || count.Load() != 2 {
		t.Errorf("%v after %d requests", paths, count.Load())
	}
	if again, err := plan.fetch(t.Context(), dir, nil); err != nil || !slices.Equal(again, want) || count.Load() != 2 {
		t.Errorf("second time: %v, %v, %d requests", again, err, count.Load())
	}
	d := mustOpen(t, Options{Sources: []string{dir}, NumClasses: 10})
	if d.Len() != 5 || d.ClassNames()[9] != "j" {
		t.Errorf("%d records, classes %v", d.Len(), d.ClassNames())
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 {
		t.Errorf("the folder holds %v", entries)
	}

	plan.archives[0].members = append(plan.archives[0].members, "data_batch_3.bin")
	if _, err := plan.fetch(t.Context(), t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "no data_batch_3.bin in it") {
		t.Errorf("error %v", err)
	}
	plan.archives[0].file.sha256, plan.tries = strings.Repeat("0", 64), 1
	if _, err := plan.fetch(t.Context(), t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "want "+fmt.Sprint(len(packed))+" with 000000") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := plan.fetch(ctx, t.TempDir(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
	for name, advice := range map[string]string{"celeba": "img_align_celeba.zip", "imagenet": "imagenet-1k"} {
		if _, err := Fetch(t.Context(), name, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), advice) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
