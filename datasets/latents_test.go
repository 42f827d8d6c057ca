package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"immiscible/datasets/half"
	"immiscible/datasets/rng"
)

// about is the LatentInfo of smear.
var about = LatentInfo{VAE: "smear", Channels: 2, Height: 3, Width: 3, DType: DTypeFloat32}

// smear stands for an encoder: two planes that are functions of the image and its
// mirror.
func smear(_ context.Context, pixels []float32) ([]float32, error) {
	var out []float32
	for i := 0; i+9 <= len(pixels); i += 9 {
		for c := range 2 {
			for k := range 9 {
				out = append(out, pixels[i+k]*float32(c+1)+pixels[i+(k+1)%9]/3)
			}
		}
	}
	return out, nil
}

// latentSource is two shards of 4×3 dots with labels, captions and bad records.
func latentSource(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	for s, n := range []int{23, 14} {
		var members []member
		for i := range n {
			key, picture := fmt.Sprintf("%d/%05d", s, i), dot(4, 3, uint8(20+i))
			if i%6 == 5 {
				picture = picture[:20]
			}
			members = append(members, member{name: key + ".png", data: picture}, file(key+".cls", fmt.Sprint(i%7)), file(key+".txt", "a dot of "+key))
		}
		writeIn(t, dir, fmt.Sprintf("s-%d.tar", s), tarBytes(t, 0, members...))
	}
	return Options{Sources: []string{dir}, Seed: 3, Resolution: 3, Channels: 1, Flip: true, BadRecords: BadRecordsSkip, Captions: CaptionsStored}
}

// TestLatentsAreTheEncodedExamples: from a float32 cache, each position gives to the bit
// what encoding its example gives, with its key, label, caption and skipped records; in
// float16, the nearest. So it does for both orders, and without flip.
func TestLatentsAreTheEncodedExamples(t *testing.T) {
	o := latentSource(t)
	for _, dtype := range []string{DTypeFloat32, DTypeFloat16} {
		info := about
		info.DType = dtype
		dir := filepath.Join(t.TempDir(), "cache")
		if err := mustOpen(t, o).WriteLatents(t.Context(), dir, info, 4, smear, nil); err != nil {
			t.Fatal(err)
		}
		for _, window := range []int{0, 6} {
			for _, flip := range []bool{true, false} {
				o := o
				o.Window, o.Flip = window, flip
				plain := mustOpen(t, o)
				o.Sources, o.Latents = []string{dir}, true
				cached := mustOpen(t, o)
				if cached.Len() != plain.Len() || cached.Latents() == nil || cached.Channels() != 1 || cached.Resolution() != 3 {
					t.Fatalf("%d records of %d×%d", cached.Len(), cached.Channels(), cached.Resolution())
				}
				l := cached.Loader(0, 5)
				for position := int64(0); position < 2*int64(plain.Len()); position += 5 {
					b, err := l.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					var skipped []Skip
					for i := range 5 {
						e, err := plain.Example(t.Context(), position+int64(i))
						if err != nil {
							t.Fatal(err)
						}
						want, err := smear(t.Context(), e.Pixels)
						if err != nil {
							t.Fatal(err)
						}
						for k := range want {
							if dtype == DTypeFloat16 {
								want[k] = half.Float(half.From(want[k]))
							}
						}
						if !slices.Equal(b.Pixels[i*18:(i+1)*18], want) || b.Keys[i] != e.Key || b.Labels[i] != e.Label || b.Texts[i] != e.Text {
							t.Fatalf("%s, window %d, flip %v: position %d differs", dtype, window, flip, position+int64(i))
						}
						skipped = append(skipped, e.Skipped...)
					}
					if !slices.Equal(b.Skipped, skipped) {
						t.Fatalf("skipped %v, want %v", b.Skipped, skipped)
					}
				}
				l.Close()
			}
		}
	}
}

// TestLatentsGoOn: a cache whose writer was killed at any byte is finished by the next
// call, and is then the same, byte for byte.
func TestLatentsGoOn(t *testing.T) {
	o := latentSource(t)
	d := mustOpen(t, o)
	whole := filepath.Join(t.TempDir(), "whole")
	if err := d.WriteLatents(t.Context(), whole, about, 4, smear, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{}
	for _, name := range []string{latentManifest, "s-0.tar.latents", "s-0.tar.records", "s-1.tar.latents", "s-1.tar.records"} {
		data, err := os.ReadFile(filepath.Join(whole, name))
		if err != nil {
			t.Fatal(err)
		}
		want[name] = data
	}
	for try := range 40 {
		dir := t.TempDir()
		for name, data := range want {
			cut := len(data)
			switch {
			case name == latentManifest:
			case name == "s-1.tar.latents" || name == "s-1.tar.records" || strings.HasSuffix(name, recordSuffix):
				cut = rand.IntN(len(data) + 1)
			}
			if name == "s-1.tar.latents" { // never fewer than the lines that were written say
				cut = len(data)
			}
			writeIn(t, dir, name, data[:cut])
		}
		o := o
		o.Sources, o.Latents = []string{dir}, true
		if _, err := Open(t.Context(), o); err == nil && try > 0 {
			continue // nothing was cut off
		} else if err != nil && !strings.Contains(err.Error(), "start `data cache` again") {
			t.Fatal(err)
		}
		if err := d.WriteLatents(t.Context(), dir, about, 4, smear, nil); err != nil {
			t.Fatal(err)
		}
		for name, data := range want {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%s differs after going on: %v", name, err)
			}
		}
	}
	// Ended by its context and by its encoder, and in batches of other sizes.
	dir := filepath.Join(t.TempDir(), "cache")
	for stop := range 8 {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := d.WriteLatents(ctx, dir, about, 3+stop, func(ctx context.Context, pixels []float32) ([]float32, error) {
			if calls++; calls == 2 {
				if stop%2 == 0 {
					cancel()
					return nil, ctx.Err()
				}
				return nil, errors.New("no more")
			}
			return smear(ctx, pixels)
		}, nil)
		cancel()
		if err == nil {
			break
		}
	}
	if err := d.WriteLatents(t.Context(), dir, about, 4, smear, nil); err != nil {
		t.Fatal(err)
	}
	for name, data := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s differs after eight beginnings: %v", name, err)
		}
	}
}

// TestLatentErrors: what does not fit is refused by name.
func TestLatentErrors(t *testing.T) {
	o := latentSource(t)
	dir := filepath.Join(t.TempDir(), "cache")
	write := func(change func(*Options), dir string, info LatentInfo, encode Encoder) error {
		o := o
		change(&o)
		d, err := Open(t.Context(), o)
		if err != nil {
			return err
		}
		defer d.Close()
		return d.WriteLatents(t.Context(), dir, info, 4, encode, nil)
	}
	same := func(*Options) {}
	if err := write(same, dir, about, smear); err != nil {
		t.Fatal(err)
	}
	other, rounded := about, about
	other.VAE, rounded.DType = "another", DTypeFloat16
	expect := func(what string, err error, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one with %q", what, err, want)
			}
		}
	}
	expect("another VAE", write(same, dir, other, smear), "another kind: vae was smear, and is another")
	expect("another filter", write(func(o *Options) { o.Filter = FilterLanczos }, dir, about, smear), "filter was bilinear, and is lanczos")
	expect("random crop", write(func(o *Options) { o.Crop = CropRandom }, t.TempDir(), about, smear), `data.crop = "random"`)
	expect("a folder in use", write(same, o.Sources[0], about, smear), "is not empty and no latent cache")
	expect("bad record", write(func(o *Options) { o.BadRecords = BadRecordsError }, t.TempDir(), about, smear), `s-0.tar: record "0/00005"`)
	expect("bad limit", write(func(o *Options) { o.BadLimit = 2 }, t.TempDir(), about, smear), "3 bad records, more than bad_limit 2")
	expect("overflow", write(same, t.TempDir(), rounded, func(ctx context.Context, p []float32) ([]float32, error) {
		m, err := smear(ctx, p)
		m[7] = 65520
		return m, err
	}), "beyond float16", "float32")
	expect("not finite", write(same, t.TempDir(), about, func(ctx context.Context, p []float32) ([]float32, error) {
		m, err := smear(ctx, p)
		m[7] = float32(math.NaN())
		return m, err
	}), "NaN")

	open := func(change func(*Options)) error {
		o := o
		o.Sources, o.Latents = []string{dir}, true
		change(&o)
		d, err := Open(t.Context(), o)
		if err == nil {
			_, err = d.Example(t.Context(), 0)
			d.Close()
		}
		return err
	}
	if err := open(same); err != nil {
		t.Fatal(err)
	}
	expect("resolution", open(func(o *Options) { o.Resolution = 4 }), dir, "data.resolution = 3, and it is 4 now")
	expect("crop", open(func(o *Options) { o.Crop = CropRandom }), "data.crop = center, and it is random now")
	expect("filter", open(func(o *Options) { o.Filter = FilterBicubic }), "data.filter")
	expect("pad", open(func(o *Options) { o.Pad = 1 }), "data.pad")
	expect("channels", open(func(o *Options) { o.Channels = 3 }), "data.channels")
	expect("exif", open(func(o *Options) { o.ExifTranspose = true }), "data.exif_transpose")
	expect("caption key", open(func(o *Options) { o.CaptionKey = "caption" }), "data.caption_key")
	expect("pixels wanted", open(func(o *Options) { o.Latents = false }), "a latent cache holds no images")
	expect("two sources", open(func(o *Options) { o.Sources = append(o.Sources, Embedded) }), "only source")

	path := filepath.Join(dir, "s-1.tar.latents")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[4*72*2+3] ^= 4
	writeIn(t, dir, "s-1.tar.latents", data)
	var rows []VerifyRow
	total, err := Verify(t.Context(), Options{Sources: []string{dir}}, func(row VerifyRow) error {
		rows = append(rows, row)
		return nil
	}, nil)
	damaged := slices.ContainsFunc(rows, func(row VerifyRow) bool {
		return row.Shard == "s-1.tar" && row.Key == "1/00004" && strings.Contains(row.Error, "checksum")
	})
	if err != nil || total.Records != 37 || total.Bad != 6 || len(rows) != 6 || !damaged {
		t.Errorf("verify: %+v, %v, %+v", total, err, rows)
	}
	writeIn(t, dir, "s-1.tar.latents", data[:100])
	expect("cut off", open(same), "s-1.tar.latents: 14 records in 100 bytes")
}

// TestLatentMemory: reading a cache of 512 MiB keeps the heap below 64 MiB, with batches
// of 2 MiB, three ahead and four workers, given back as training gives them back.
func TestLatentMemory(t *testing.T) {
	dir := t.TempDir()
	const records = 8192 // of 64 KiB: Stable Diffusion's at 512² pixels in float16
	info := about
	info.Format, info.Channels, info.Height, info.Width, info.DType, info.Shards = latentFormat, 8, 64, 64, DTypeFloat16, []LatentShard{{"s.tar", records}}
	info.Resolution, info.ImageChannels, info.Crop, info.Filter = 512, 3, CropCenter, FilterBilinear
	writeLatentFixture(t, dir, info)
	d := mustOpen(t, Options{Sources: []string{dir}, Latents: true, Workers: 4, Prefetch: 3})
	l := d.Loader(0, 16)
	defer l.Close()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	before, most := stats.HeapAlloc, uint64(0)
	for i := range records / 16 {
		batch, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.Reuse(batch)
		if i%8 == 0 {
			runtime.ReadMemStats(&stats)
			most = max(most, stats.HeapAlloc-min(before, stats.HeapAlloc))
		}
	}
	if most > 64<<20 {
		t.Errorf("the heap grew by %d MiB", most>>20)
	}
}

// writeLatentFixture makes a cache whose moments are holes in the file, zeros.
func writeLatentFixture(t testing.TB, dir string, info LatentInfo) {
	t.Helper()
	if err := startLatents(dir, &info); err != nil {
		t.Fatal(err)
	}
	for _, s := range info.Shards {
		var lines []byte
		for i := range s.Records {
			lines = fmt.Appendf(lines, "{\"key\":\"%05d\",\"label\":%d,\"offset\":0}\n", i, i%10)
		}
		writeIn(t, dir, s.Name+recordSuffix, lines)
		path := writeIn(t, dir, s.Name+latentSuffix, nil)
		if err := os.Truncate(path, int64(s.Records)*info.stride()); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkLatents reads a cache of 256 MiB through the loader, in turns with cat, which
// sends it to /dev/null: the ratio of their best times is what counts.
func BenchmarkLatents(b *testing.B) {
	for _, dtype := range []string{DTypeFloat16, DTypeFloat32} {
		for _, window := range []int{0, 2048} {
			b.Run(fmt.Sprintf("%s/window=%d", dtype, window), func(b *testing.B) {
				dir := b.TempDir()
				info := about
				info.Format, info.Channels, info.Height, info.Width, info.DType = latentFormat, 8, 64, 64, dtype
				records := (256 << 20) / info.bytes()
				info.Resolution, info.ImageChannels, info.Crop, info.Filter = 512, 3, CropCenter, FilterBilinear
				info.Shards = []LatentShard{{"s.tar", records}}
				writeLatentFixture(b, dir, info)
				path := filepath.Join(dir, "s.tar"+latentSuffix)
				moments := make([]float32, info.values())
				rng.New(1, "bench", 0).FillNormal(moments)
				one, err := info.encode(nil, moments)
				if err != nil {
					b.Fatal(err)
				}
				data := bytes.Repeat(one, records)
				if err := os.WriteFile(path, data, 0o666); err != nil {
					b.Fatal(err)
				}
				d, err := Open(b.Context(), Options{Sources: []string{dir}, Latents: true, Window: window})
				if err != nil {
					b.Fatal(err)
				}
				defer d.Close()
				ours, cats := time.Hour, time.Hour
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					start := time.Now()
					l := d.Loader(0, 16)
					for range records / 16 {
						batch, err := l.Next(b.Context())
						if err != nil {
							b.Fatal(err)
						}
						l.Reuse(batch)
					}
					l.Close()
					ours = min(ours, time.Since(start))
					b.StopTimer()
					start = time.Now()
					if err := exec.Command("cat", path).Run(); err != nil { // to /dev/null
						b.Fatal(err)
					}
					cats = min(cats, time.Since(start))
					b.StartTimer()
				}
				b.ReportMetric(cats.Seconds()/ours.Seconds(), "of_cat")
			})
		}
	}
}

// FuzzLatents: whatever the three files of a cache say, it is refused or read.
func FuzzLatents(f *testing.F) {
	manifest := `{"format":1,"vae":"x","channels":2,"height":1,"width":1,"dtype":"float32","resolution":1,"image_channels":1,"crop":"center","filter":"bilinear","shards":[{"name":"s","records":1}]}`
	f.Add([]byte(manifest), []byte(`{"key":"a","label":1,"texts":["x"]}`+"\n"), make([]byte, 8))
	f.Add([]byte(strings.Replace(manifest, `"s"`, `"../s"`, 1)), []byte(`{}`), []byte{})
	f.Add([]byte(strings.Replace(manifest, `"channels":2`, `"channels":1e99`, 1)), []byte("{}\n"), []byte{0})
	f.Fuzz(func(t *testing.T, manifest, records, moments []byte) {
		dir := t.TempDir()
		writeIn(t, dir, latentManifest, manifest)
		writeIn(t, dir, "s"+recordSuffix, records)
		writeIn(t, dir, "s"+latentSuffix, moments)
		d, err := Open(t.Context(), Options{Sources: []string{dir}, Latents: true, BadRecords: BadRecordsSkip})
		if err != nil {
			return
		}
		defer d.Close()
		if d.latents == nil {
			return
		}
		if e, err := d.Example(t.Context(), 0); err == nil && len(e.Pixels) != d.latents.values() {
			t.Errorf("%d values", len(e.Pixels))
		}
	})
}
