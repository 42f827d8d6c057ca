package datasets

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// everyFormat returns the options of a data set in each format, by name.
func everyFormat(t *testing.T) map[string]Options {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	shardOf(t, path("tar"), "a.tar", 9, nil)
	shardOf(t, path("tar"), "b.tar", 4, nil)
	for i := range 7 {
		writeIn(t, path("folder"), fmt.Sprintf("class%d/%d.png", i%2, i), dot(6, 5, uint8(i)))
		writeIn(t, path("celeba"), fmt.Sprintf("img_align_celeba/%06d.png", i), dot(178, 218, uint8(i)))
	}
	writeIn(t, dir, "table.jsonl", []byte(`{"file_name": "folder/class0/0.png", "label": 3}`+"\n"+`{"file_name": "folder/class1/1.png", "label": 1}`))
	ten := func(i int) []byte { return []byte{byte(i)} }
	writeIn(t, path("cifar"), "data_batch_1.bin", cifarBatch(5, ten))
	writeIn(t, path("cifar"), "data_batch_2.bin", cifarBatch(3, ten))
	pixels := make([]byte, 6*30)
	for i := range pixels {
		pixels[i] = byte(i)
	}
	writeIn(t, path("idx"), "train-images-idx3-ubyte", idx(pixels, 6, 5, 6))
	writeIn(t, path("idx"), "train-labels-idx1-ubyte", idx([]byte{0, 1, 2, 3, 4, 5}, 6))
	latents := Options{Sources: []string{path("tar")}, Resolution: 3, Channels: 1, Flip: true}
	if err := mustOpen(t, latents).WriteLatents(t.Context(), path("latents"), about, 4, smear, nil); err != nil {
		t.Fatal(err)
	}
	latents.Sources, latents.Latents = []string{path("latents")}, true
	all := map[string]Options{"latents": latents}
	for format, source := range map[string]string{"tar": path("tar"), "folder": path("folder"), "celeba": path("celeba"), "table": path("table.jsonl"),
		"cifar": path("cifar"), "idx": path("idx"), "pickle": "testdata/cifar", "parquet": "testdata/parquet/pages.parquet", "embedded": Embedded} {
		all[format] = Options{Sources: []string{source}, Resolution: 6, Channels: 3, Pad: 1, Flip: true, Crop: CropRandom}
	}
	return all
}

// drawn is what a loader hands out in n examples from a position on: keys and
// labels, and the pixels.
func drawn(t *testing.T, options Options, from int64, batch, n int) ([]string, []float32) {
	t.Helper()
	d := mustOpen(t, options)
	l := d.Loader(from, batch)
	defer l.Close()
	var keys []string
	var pixels []float32
	for len(keys) < n {
		b, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range b.Keys {
			keys = append(keys, fmt.Sprintf("%s=%d %q", key, b.Labels[i], b.Texts[i]))
		}
		pixels = append(pixels, b.Pixels...)
	}
	return keys[:n], pixels[:n*(len(pixels)/len(keys))]
}

// TestOrderLawOfFormats, over a grid of formats, windows, seeds, workers and batches
// ahead: every record once an epoch; the same bits whoever makes them; and the rest of
// them from the middle of the second epoch on.
func TestOrderLawOfFormats(t *testing.T) {
	for format, options := range everyFormat(t) {
		for grid := range 4 {
			options.Window, options.Seed = []int{0, 4}[grid%2], []uint64{3, math.MaxUint64}[grid/2]
			options.Workers, options.Prefetch = 1, 1
			d := mustOpen(t, options)
			records := d.Len()
			n := min(2*records, 60)
			base := int64(records - n/2) // so that half of them are of the second epoch
			keys, pixels := drawn(t, options, base, 4, n)
			for epoch := range int64(2) {
				once := map[string]bool{}
				for k := range int64(records) {
					position := epoch*int64(records) + k
					row, err := d.Order(position)
					if err != nil {
						t.Fatal(err)
					}
					once[row.Shard+"/"+row.Key] = true
					if at := position - base; at >= 0 && at < int64(n) && !strings.HasPrefix(keys[at], fmt.Sprintf("%s=%d ", row.Key, row.Label)) {
						t.Fatalf("%s: position %d gives %s, want record %s of label %d", format, position, keys[at], row.Key, row.Label)
					}
				}
				if len(once) != records {
					t.Errorf("%s: epoch %d has %d of %d records", format, epoch, len(once), records)
				}
			}
			for _, workers := range []int{2, 5} {
				for _, skip := range []int{0, n * 3 / 4} {
					options.Workers, options.Prefetch = workers, 3
					gotKeys, gotPixels := drawn(t, options, base+int64(skip), 3, n-skip)
					each := len(pixels) / n
					if !slices.Equal(gotKeys, keys[skip:]) || !bytes.Equal(bitsOf(gotPixels), bitsOf(pixels[skip*each:])) {
						t.Errorf("%s, window %d, seed %d: %d workers from position %d make something else", format, options.Window, options.Seed, workers, base+int64(skip))
					}
				}
			}
		}
	}
}

// bitsOf are the bytes of floats: equal bits, not equal numbers.
func bitsOf(values []float32) []byte {
	b := make([]byte, 0, 4*len(values))
	for _, v := range values {
		u := math.Float32bits(v)
		b = append(b, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
	}
	return b
}
