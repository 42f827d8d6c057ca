package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tarOf writes two tars of n gray images each, with labels, and returns their folder.
func tarOf(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for shard := range 2 {
		var data bytes.Buffer
		w := tar.NewWriter(&data)
		for i := range n {
			picture := image.NewGray(image.Rect(0, 0, 20, 16))
			for k := range picture.Pix {
				picture.Pix[k] = uint8(k*(i+2) + shard)
			}
			var file bytes.Buffer
			if err := png.Encode(&file, picture); err != nil {
				t.Fatal(err)
			}
			for name, content := range map[string][]byte{"png": file.Bytes(), "cls": fmt.Append(nil, i%4)} {
				if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d-%05d.%s", shard, i, name), Size: int64(len(content)), Mode: 0o644}); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(content); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("s-%d.tar", shard)), data.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A cache holds the records of its source in the same order, is whole, and is a source of
// train; what is wrong is said in one line.
func TestDataCache(t *testing.T) {
	source, cache := tarOf(t, 9), filepath.Join(t.TempDir(), "cache")
	sets := []string{"-set", "model.path=" + sdTiny, "-set", "data.resolution=16", "-set", "data.channels=3", "-set", "data.flip=true", "-set", "data.num_classes=0", "-set", "noise.per_class=false", "-set", "data.pad=0", "-set", "train.micro_batch=2", "-set", "train.batch_size=4"}
	command := append([]string{"data", "cache", "-out", cache, "-set", "data.source=" + source}, sets...)
	mustCall(t, command...)
	mustCall(t, command...) // nothing is left to do
	if stdout, _ := mustCall(t, "data", "verify", cache, "-json", "-num_classes", "4"); strings.TrimSpace(stdout) != `{"records":18,"bad":0}` {
		t.Errorf("data verify says %s", stdout)
	}
	for _, window := range []string{"0", "5"} {
		order := func(source string) string {
			stdout, _ := mustCall(t, "data", "order", source, "-n", "40", "-seed", "7", "-window", window, "-json")
			return stdout
		}
		if a, b := order(source), order(cache); a != b || strings.Count(a, "\n") != 40 {
			t.Errorf("window %s: data order says\n%sof the cache, and of its source\n%s", window, b, a)
		}
	}
	var report latentsReport
	stdout, _ := mustCall(t, "bench", "data", "-latents", cache, "-turns", "2", "-batch", "4", "-json")
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || report.Records != 18 || report.Bytes != 18*2*2*8*8*8 || report.Ratio <= 0 || report.HeapMiB <= 0 {
		t.Errorf("bench data -latents says %s (%v)", stdout, err)
	}
	out := filepath.Join(t.TempDir(), "run")
	mustCall(t, append([]string{"train", "-out", out, "-set", "data.source=" + cache, "-set", "train.max_steps=2", "-set", "sample.every_steps=0", "-set", "sample.steps=2", "-set", "noise.pool_size=4"}, sets...)...)
	for name, row := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"no out":      {[]string{"data", "cache"}, 2, "no -out"},
		"argument":    {[]string{"data", "cache", source, "-out", cache}, 2, "the data are [data] source"},
		"dtype":       {[]string{"data", "cache", "-out", cache, "-dtype", "bfloat16"}, 2, "want float16 or float32"},
		"other dtype": {append(command, "-dtype", "float32"), 1, "another kind: dtype was float16, and is float32"},
		"pixels":      {[]string{"data", "cache", "-out", t.TempDir()}, 1, "the model sees pixels"},
		"dump":        {[]string{"data", "dump", cache, "-out", t.TempDir()}, 1, "a latent cache holds no images"},
	} {
		if status, _, stderr := call(t.Context(), row.args...); status != row.status || !strings.Contains(stderr, row.want) {
			t.Errorf("%s: status %d, %s; want %d and %q", name, status, stderr, row.status, row.want)
		}
	}
}

// data index -write leaves an index beside each tar.
func TestDataIndexWrite(t *testing.T) {
	source := tarOf(t, 3)
	plain, _ := mustCall(t, "data", "index", source)
	mustCall(t, "data", "index", "-write", source)
	for _, name := range []string{"s-0.tar.index", "s-1.tar.index"} {
		if _, err := os.Stat(filepath.Join(source, name)); err != nil {
			t.Error(err)
		}
	}
	if status, _, stderr := call(t.Context(), "data", "index", "-write", "fashion-mnist"); status != 1 || !strings.Contains(stderr, "no index was written") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if again, _ := mustCall(t, "data", "index", source); again != plain || strings.Count(again, "\t3\t") != 2 {
		t.Errorf("data index says %s, and said %s", again, plain)
	}
}
