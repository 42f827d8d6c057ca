package datasets

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"
)

// everyFormat returns a source of each format, by name.
func everyFormat(t *testing.T) map[string]string {
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
	return map[string]string{"tar": path("tar"), "folder": path("folder"), "celeba": path("celeba"), "table": path("table.jsonl"),
		"cifar": path("cifar"), "idx": path("idx"), "pickle": "testdata/cifar", "parquet": "testdata/parquet/pages.parquet", "embedded": Embedded}
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

// TestOrderLawOfFormats: for each format, every record once an epoch; the same
// bits for any number of workers and batches ahead; and the rest of it from
// the middle of the second epoch on.
func TestOrderLawOfFormats(t *testing.T) {
	for format, source := range everyFormat(t) {
		options := Options{Sources: []string{source}, Seed: 3, Resolution: 6, Channels: 3, Pad: 1, Flip: true, Crop: CropRandom, Workers: 1, Prefetch: 1}
		d := mustOpen(t, options)
		records := d.Len()
		n := min(2*records, 60)
		keys, pixels := drawn(t, options, 0, 4, n)
		for epoch := range int64(2) {
			once := map[string]bool{}
			for k := range int64(records) {
				row, err := d.Order(epoch*int64(records) + k)
				if err != nil {
					t.Fatal(err)
				}
				once[row.Shard+"/"+row.Key] = true
			}
			if len(once) != records {
				t.Errorf("%s: epoch %d has %d of %d records", format, epoch, len(once), records)
			}
		}
		for _, workers := range []int{2, 5} {
			for _, from := range []int{0, n * 3 / 4} {
				options.Workers, options.Prefetch = workers, 3
				gotKeys, gotPixels := drawn(t, options, int64(from), 3, n-from)
				each := len(pixels) / n
				if !slices.Equal(gotKeys, keys[from:]) || !bytes.Equal(bitsOf(gotPixels), bitsOf(pixels[from*each:])) {
					t.Errorf("%s: %d workers from position %d make something else", format, workers, from)
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
