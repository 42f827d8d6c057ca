package pipeline

import (
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

	"immiscible/datasets"
)

// threeShards is a folder of three tars of 43 records, the second of which has a torn
// image.
func threeShards(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i, bad := range []int{-1, 13, -1} {
		from := tarSource(t, func(k int) int { return (k + i) % 4 }, bad)
		if err := os.Rename(from, filepath.Join(dir, fmt.Sprintf("shard-%d.tar", i))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sameBits is sameRun for runs whose settings differ in what changes no bit.
func sameBits(t *testing.T, want, got string, steps int) {
	t.Helper()
	last := fmt.Sprintf("checkpoint-%d", steps)
	w, g := files(t, filepath.Join(want, last)), files(t, filepath.Join(got, last))
	compared := 0
	for name, data := range w {
		if filepath.Ext(name) != ".safetensors" {
			continue // trainer_state.json has the settings' digest
		}
		if compared++; g[name] != data {
			t.Errorf("%s: %s is not the same", got, name)
		}
	}
	if compared < 3 {
		t.Errorf("%s has %d files of numbers, want weights, average and moments", want, compared)
	}
	if w, g := untimed(t, readLog(t, want)), untimed(t, readLog(t, got)); w != g {
		t.Errorf("the log is\n%swant\n%s", g, w)
	}
}

// A run over three shards on an HTTP server that drops every fifth connection, killed
// three times and resumed, ends in the same bits as one from the disk.
func TestRemoteRun(t *testing.T) {
	const steps = 24 // of 8: into the second epoch of 129 records
	dir := threeShards(t)
	var requests atomic.Int64
	handler := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%5 == 0 {
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	for _, window := range []string{"0", "20"} {
		more := []string{"train.max_steps=24", "checkpoint.every_steps=5", "data.window=" + window}
		want := train(t, "", tinySets(dir, more...))
		if log := readLog(t, want); len(log) != steps || !finite(log) {
			t.Fatalf("the run itself is at fault:\n%s", untimed(t, log))
		}
		sets := tinySets(server.URL+"/shard-{0..2}.tar", append(more, "data.cache_dir="+fmt.Sprintf("%q", t.TempDir()))...)
		out := filepath.Join(t.TempDir(), "run")
		for range 3 {
			killAtRandom(t, childRun{Sets: sets, Out: out}, steps)
		}
		train(t, out, sets)
		sameBits(t, want, out, steps)
	}
}

// latentSets are the settings of a run on the tiny Stable Diffusion whose latents can be
// kept, and its cache.
func latentSets(t *testing.T, dtype string) (sets []string, cache string) {
	t.Helper()
	sets = sdSets(t, "train.max_steps=6", "data.crop=center", "sample.every_steps=0", "data.pad=0")
	c, err := LoadConfig("", "", sets)
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(t.TempDir(), "latents")
	for range 2 { // the second finds nothing to do
		if err := CacheLatents(t.Context(), c, CacheOptions{Out: cache, DType: dtype, Messages: io.Discard}); err != nil {
			t.Fatal(err)
		}
	}
	return sets, cache
}

// from is sets with another source.
func from(sets []string, source string) []string {
	sets = slices.Clone(sets)
	for i, set := range sets {
		if strings.HasPrefix(set, "data.source=") {
			sets[i] = fmt.Sprintf("data.source=%q", source)
		}
	}
	return sets
}

// Training from a float32 latent cache is training from the images, to the bit: labels,
// captions, mirrored images and skipped records included. From float16 the losses are
// those of rounded moments: half a unit in the 11th digit is 2⁻¹¹ of each, and the
// loss, which is quadratic, moves by a few times that.
func TestTrainingFromLatents(t *testing.T) {
	for _, dtype := range []string{datasets.DTypeFloat32, datasets.DTypeFloat16} {
		t.Run(dtype, func(t *testing.T) {
			sets, cache := latentSets(t, dtype)
			want, got := train(t, "", sets), train(t, "", from(sets, cache))
			if dtype == datasets.DTypeFloat32 {
				sameBits(t, want, got, 6)
				return
			}
			w, g := readLog(t, want), readLog(t, got)
			for i := range w {
				a, b := float64(w[i].Loss), float64(g[i].Loss)
				if a == b || (a-b)/a > 8.0/2048 || (b-a)/a > 8.0/2048 {
					t.Errorf("step %d: loss %v, want %v within 8·2⁻¹¹, and not the same", i+1, b, a)
				}
			}
		})
	}
}

// What does not fit a latent cache is refused by name, before the run's folder exists.
func TestLatentCacheRefused(t *testing.T) {
	sets, cache := latentSets(t, datasets.DTypeFloat32)
	other := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(other, os.DirFS(sdTiny)); err != nil {
		t.Fatal(err)
	}
	poison(t, filepath.Join(other, "vae"), "encoder.conv_in.bias", 0, 1)
	for name, row := range map[string]struct {
		sets []string
		want string
	}{
		"resolution":  {append(from(sets, cache), "data.resolution=32"), "data.resolution = 16, and it is 32 now"},
		"another VAE": {append(from(sets, cache), "model.path="+other), "a latent cache of another VAE"},
		"random crop": {append(from(sets, cache), "data.crop=random"), "data.crop = center"},
		"pixels":      {tinySets(cache, "data.crop=center", "data.pad=0", "data.resolution=16", "data.channels=3", "model.unet.in_channels=3", "model.unet.out_channels=3", "model.unet.sample_size=16"), "the model sees pixels"},
	} {
		out := filepath.Join(t.TempDir(), "run")
		if err := tryTrain(t.Context(), t, out, row.sets); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, row.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: the run's folder was made", name)
		}
	}
	c, err := LoadConfig("", "", tinySets(plainSource(t), "data.crop=center"))
	if err != nil {
		t.Fatal(err)
	}
	if err := CacheLatents(t.Context(), c, CacheOptions{Out: t.TempDir(), DType: datasets.DTypeFloat16, Messages: io.Discard}); err == nil || !strings.Contains(err.Error(), "sees pixels") {
		t.Errorf("a cache for a model of pixels: error %v", err)
	}
}
